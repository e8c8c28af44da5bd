//! The daemon on real sockets, spoken to in bytes, as the clients of WAL-G speak.

use std::path::PathBuf;
use std::sync::Mutex;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::check::{Check, DirectoryId};
use super::protocol::{Reply, Request};
use super::{Arc, Duration, Limits, Path, Service, SocketError, serve};

const SEGMENT: &str = "000000010000000000000003";

/// Longest wait for what a test expects to happen.
const SOON: Duration = Duration::from_secs(20);

/// Archives everything, finds nothing, and hangs at one name until it is released.
struct Fake {
    pushed: Mutex<Vec<String>>,
    fetched: Mutex<Vec<(String, PathBuf)>>,
    served: Option<Check>,
    home: DirectoryId,
    /// Whether something goes on beside the connections, until it is released.
    has_work_beside: bool,
    begun: Notify,
    released: Notify,
}

impl Default for Fake {
    /// It is at home where this process works, which is its client.
    fn default() -> Self {
        Self {
            pushed: Mutex::default(),
            fetched: Mutex::default(),
            served: None,
            home: DirectoryId::of(&std::env::current_dir().unwrap()).unwrap(),
            has_work_beside: false,
            begun: Notify::new(),
            released: Notify::new(),
        }
    }
}

#[async_trait]
impl Service for Fake {
    fn check(&self, check: Check) -> Reply {
        if self.served == Some(check) { Reply::Serving } else { Reply::Failed }
    }

    fn is_home(&self, directory: DirectoryId) -> bool {
        self.home == directory
    }

    async fn push(&self, name: &str) -> Reply {
        if name == "hangs" {
            self.begun.notify_one();
            self.released.notified().await;
        }
        self.pushed.lock().unwrap().push(name.to_owned());
        Reply::Done
    }

    async fn fetch(&self, name: &str, destination: &Path) -> Reply {
        self.fetched.lock().unwrap().push((name.to_owned(), destination.to_owned()));
        Reply::Missing
    }

    fn end(&self) {}

    async fn ended(&self) {
        if self.has_work_beside {
            self.begun.notify_one();
            self.released.notified().await;
        }
    }
}

struct Daemon {
    directory: tempfile::TempDir,
    service: Arc<Fake>,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), SocketError>>,
}

impl Daemon {
    async fn start(service: Fake, limits: Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (stop, stopped) = oneshot::channel();
        let service = Arc::new(service);
        let (path, shared) = (directory.path().join("s"), Arc::clone(&service));
        let running = tokio::spawn(async move {
            let ended = async {
                let _ = stopped.await;
            };
            serve(&path, shared, limits, ended).await
        });
        let daemon = Self { directory, service, stop, running };
        while !daemon.path().exists() {
            tokio::task::yield_now().await;
        }
        daemon
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("s")
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.path()).await.unwrap()
    }

    /// Sends bytes, and returns all that is answered before the daemon closes.
    async fn say(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        read_to_end(&mut stream).await
    }
}

async fn read_to_end(stream: &mut UnixStream) -> Vec<u8> {
    let mut answer = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    answer
}

async fn read_one(stream: &mut UnixStream) -> u8 {
    tokio::time::timeout(SOON, stream.read_u8()).await.unwrap().unwrap()
}

fn push(name: &str) -> Vec<u8> {
    Request::Push(name.to_owned()).to_bytes().unwrap()
}

#[tokio::test]
async fn serves_the_archive_library_of_postgresql_which_checks_and_then_pushes() {
    let daemon = Daemon::start(Fake::default(), Limits::default()).await;
    let mut stream = daemon.connect().await;
    stream.write_all(b"C\0\x08CHECK").await.unwrap();
    assert_eq!(read_one(&mut stream).await, b'O');
    stream.write_all(b"F\0\x1b000000010000000000000003").await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, b"O", "one byte, and then the end: the library opens a connection for each file");
    assert_eq!(*daemon.service.pushed.lock().unwrap(), [SEGMENT]);
}

#[tokio::test]
async fn serves_a_shell_client_that_fetches() {
    let daemon = Daemon::start(Fake::default(), Limits::default()).await;
    let message = b"f\0\x33\x02\0\x1800000001000000000000000A\0\x13pg_wal/RECOVERYXLOG";
    assert_eq!(daemon.say(message).await, b"N");
    let expected = ("00000001000000000000000A".to_owned(), PathBuf::from("pg_wal/RECOVERYXLOG"));
    assert_eq!(*daemon.service.fetched.lock().unwrap(), [expected]);
}

#[tokio::test]
async fn a_message_may_come_in_pieces() {
    let daemon = Daemon::start(Fake::default(), Limits::default()).await;
    let mut stream = daemon.connect().await;
    for byte in push(SEGMENT) {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(read_to_end(&mut stream).await, b"O");
}

#[tokio::test]
async fn what_cannot_be_understood_is_an_error_and_closes_and_harms_nobody() {
    let limits = Limits { message: Duration::from_millis(50), ..Limits::default() };
    let daemon = Daemon::start(Fake::default(), limits).await;
    for message in [
        &b"X\0\x03"[..],
        b"F\0\0",
        b"f\0\x04\xff",
        b"f\0\x05\0\0",
        b"f\0\x0b\x02\0\x01X\0\x02/x",
        b"F\0\x04\xff",
        b"F",
        b"F\xff\xffcut off",
    ] {
        assert_eq!(daemon.say(message).await, b"E", "{message:?}");
    }
    assert_eq!(daemon.say(&push(SEGMENT)).await, b"O");
    assert_eq!(*daemon.service.pushed.lock().unwrap(), [SEGMENT]);
}

#[tokio::test]
async fn our_client_is_served_by_its_check_wherever_it_works_and_nobody_else_is() {
    let [ours, other] = ["1 2 3 4 5 6 7", "1 2 3 4 5 6 8"].map(|text| Check::parse(text).unwrap());
    let elsewhere = DirectoryId::of(Path::new("/proc")).unwrap();
    let daemon = Daemon::start(Fake { served: Some(ours), home: elsewhere, ..Fake::default() }, Limits::default()).await;
    let check = |check| Request::Check(Some(check)).to_bytes().unwrap();
    assert_eq!(daemon.say(&[&b"C\0\x08CHECK"[..], &push(SEGMENT)].concat()).await, b"OE", "it works elsewhere");
    assert_eq!(daemon.say(b"f\0\x11\x02\0\x01X\0\x08pg_wal/x").await, b"E");
    assert_eq!(daemon.say(&[check(ours), check(other), push(SEGMENT)].concat()).await, b"SEE", "the last check counts");
    assert!(daemon.service.pushed.lock().unwrap().is_empty() && daemon.service.fetched.lock().unwrap().is_empty());
    assert_eq!(daemon.say(&[check(other), check(ours), push(SEGMENT)].concat()).await, b"ESO");
}

#[tokio::test]
async fn who_was_refused_by_its_check_is_not_served_for_where_it_works() {
    let daemon = Daemon::start(Fake::default(), Limits::default()).await;
    let check = Request::Check(Check::parse("1 2 3 4 5 6 7")).to_bytes().unwrap();
    assert_eq!(daemon.say(&[check, push(SEGMENT)].concat()).await, b"EE");
    assert!(daemon.service.pushed.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered_as_an_error() {
    let limits = Limits { request: Duration::from_millis(20), ..Limits::default() };
    let daemon = Daemon::start(Fake::default(), limits).await;
    assert_eq!(daemon.say(&push("hangs")).await, b"E");
    assert_eq!(daemon.say(&push(SEGMENT)).await, b"O");
}

#[tokio::test]
async fn nothing_is_finished_for_a_client_that_has_died_or_closed_its_half() {
    for is_half in [false, true] {
        for more in [&b""[..], b"more than anybody reads"] {
            for is_ready_meanwhile in [false, true] {
                let daemon = Daemon::start(Fake::default(), Limits::default()).await;
                let mut client = daemon.connect().await;
                client.write_all(&[&push("hangs"), more].concat()).await.unwrap();
                daemon.service.begun.notified().await;
                let kept = if is_half {
                    client.shutdown().await.unwrap();
                    Some(client)
                } else {
                    drop(client);
                    None
                };
                // The runtime has had no time to look at the connection: what is ready now wakes the request first.
                if is_ready_meanwhile {
                    daemon.service.released.notify_one();
                }
                daemon.stop.send(()).unwrap();
                tokio::time::timeout(SOON, daemon.running).await.unwrap().unwrap().unwrap();
                let pushed = daemon.service.pushed.lock().unwrap();
                assert!(pushed.is_empty(), "{pushed:?}: {is_half}, {more:?}, {is_ready_meanwhile}");
                drop(kept);
            }
        }
    }
}

#[tokio::test]
async fn what_goes_on_beside_the_connections_is_waited_for() {
    let daemon = Daemon::start(Fake { has_work_beside: true, ..Fake::default() }, Limits::default()).await;
    daemon.stop.send(()).unwrap();
    tokio::time::timeout(SOON, daemon.service.begun.notified()).await.unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!daemon.running.is_finished());
    daemon.service.released.notify_one();
    tokio::time::timeout(SOON, daemon.running).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let daemon = Daemon::start(Fake::default(), Limits { idle: Duration::from_millis(20), ..Limits::default() }).await;
    assert_eq!(read_to_end(&mut daemon.connect().await).await, b"");
}

#[tokio::test]
async fn one_connection_too_many_is_refused_and_not_kept_waiting() {
    let daemon = Daemon::start(Fake::default(), Limits::default()).await;
    let mut kept = Vec::new();
    for _ in 0..super::CONNECTIONS {
        let mut stream = daemon.connect().await;
        stream.write_all(b"C\0\x03").await.unwrap();
        assert_eq!(read_one(&mut stream).await, b'O');
        kept.push(stream);
    }
    assert_eq!(read_to_end(&mut daemon.connect().await).await, b"E");
    drop(kept.pop());
    let again = async {
        while daemon.say(&push(SEGMENT)).await != b"O" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, again).await.unwrap();
}

#[tokio::test]
async fn ends_after_what_is_under_way_and_takes_nothing_new() {
    let daemon = Daemon::start(Fake::default(), Limits::default()).await;
    let mut under_way = daemon.connect().await;
    under_way.write_all(&push("hangs")).await.unwrap();
    daemon.service.begun.notified().await;
    let mut idle = daemon.connect().await;
    idle.write_all(b"C\0\x03").await.unwrap();
    assert_eq!(read_one(&mut idle).await, b'O');
    let path = daemon.path();
    daemon.stop.send(()).unwrap();
    assert_eq!(read_to_end(&mut idle).await, b"", "nobody waits for a client that asks nothing");
    let removed = async {
        while path.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, removed).await.unwrap();
    UnixStream::connect(&path).await.unwrap_err();
    assert!(!daemon.running.is_finished());
    daemon.service.released.notify_one();
    assert_eq!(read_to_end(&mut under_way).await, b"O");
    tokio::time::timeout(SOON, daemon.running).await.unwrap().unwrap().unwrap();
}
