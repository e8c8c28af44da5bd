//! The daemon between a server and its archive: it works, nothing depends on it, and clients of WAL-G's daemon can speak to it.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use stillframe_tests::{Account, Running, Site, Stillframe, set_mode, tested_major};

/// Longest wait for a daemon or an answer of it.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often the daemon is killed while the server archives.
const KILLS: usize = 3;
/// What the client says when it does without the daemon.
const WITHOUT: &str = "is not used:";

fn site() -> Site {
    let site = Site::with_small_segments().start();
    site.cluster.sql("CREATE TABLE t (i int)");
    site
}

/// The server archives through the daemon at this socket from now on.
fn archive_through(site: &Site, socket: &Path) {
    let command = site.stillframe.command_line(&format!("wal-push --daemon {} %p", socket.display()));
    site.cluster.append_setting("archive_command", &command);
    site.cluster.reload();
    site.cluster.wait_until("SELECT current_setting('archive_command') LIKE '%--daemon%'");
}

/// Starts a daemon, and waits until it answers.
#[track_caller]
fn daemon(stillframe: &Stillframe, socket: &Path) -> Running {
    let mut daemon = stillframe.spawn(["-vv", "wal-daemon", socket.to_str().unwrap()]);
    let deadline = Instant::now() + PATIENCE;
    while !answers(socket) {
        assert!(!daemon.has_ended() && Instant::now() < deadline, "no daemon answers: {}", daemon.wait());
        thread::sleep(Duration::from_millis(5));
    }
    daemon
}

fn answers(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok_and(|mut stream| ask(&mut stream, &frame(b'C', b"CHECK")) == Some(b'O'))
}

/// A message as WAL-G's `walg_archive` library writes it: type, length of the whole in network order, body.
fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 3).unwrap().to_be_bytes();
    [&[kind][..], &length, body].concat()
}

fn fetch_frame(name: &str, destination: &str) -> Vec<u8> {
    let argument = |text: &str| [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat();
    frame(b'f', &[&[2], &argument(name)[..], &argument(destination)].concat())
}

/// The answer; none when the connection ends instead.
fn ask(stream: &mut UnixStream, message: &[u8]) -> Option<u8> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = [0];
    stream.write_all(message).and_then(|()| stream.read_exact(&mut answer)).ok().map(|()| answer[0])
}

/// Asks as a program does that runs in the server's directory and as its user; gives the answer to the last message.
///
/// Perl belongs to every Debian; whoever the tests run as, the daemon must see a client of its own user.
fn ask_in(directory: &Path, socket: &Path, messages: &[&[u8]]) -> Option<u8> {
    const CLIENT: &str = "use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => shift) or die; \
        for (@ARGV) { my $r = ''; syswrite $s, pack('H*', $_); sysread $s, $r, 1; $last = $r } print $last";
    let hex = |message: &&[u8]| {
        message.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    };
    let mut client = Command::new("perl");
    client.args(["-e", CLIENT]).arg(socket).args(messages.iter().map(hex)).current_dir(directory);
    let output = Account::unprivileged().run_as(&mut client).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout.first().copied()
}

#[test]
fn a_server_archives_and_recovers_through_daemons_alone() {
    let site = site();
    let (archiving, restoring) = (site.place("archiving.sock"), site.place("restoring.sock"));
    let _archiving = daemon(&site.stillframe, &archiving);
    archive_through(&site, &archiving);
    let backup = site.backup(&[]);
    for _ in 0..3 {
        site.cluster.sql("INSERT INTO t SELECT generate_series(1, 10)");
        site.switch_wal();
    }
    assert_eq!(site.cluster.value("SELECT failed_count FROM pg_stat_archiver"), "0", "{}", site.cluster.log());
    assert!(!site.cluster.log().contains(WITHOUT), "{}", site.cluster.log());

    let finished = site.fetch("restored", &[&backup, "--archiving", "off"]);
    assert!(finished.is_success(), "{finished}");
    let place = site.place("restored").display().to_string();
    let its = site.configured(|config| config.value("cluster", "pgdata", place.as_str()));
    let _restoring = daemon(&its, &restoring);
    let command = its.command_line(&format!("wal-fetch --daemon {} %f %p", restoring.display()));
    let settings = site.place("restored").join(site.cluster.postgres().recovery_settings());
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, format!("{text}restore_command = '{}'\n", command.replace('\'', "''"))).unwrap();
    let restored = site.recover("restored");
    assert_eq!(restored.value("SELECT count(*) FROM t"), "30");
    assert!(restored.log().contains("restored log file"), "the test can fail: {}", restored.log());
    assert!(!restored.log().contains(WITHOUT), "{}", restored.log());
}

#[test]
fn archiving_goes_on_when_the_daemon_is_killed_and_nothing_is_lost() {
    let site = site();
    let socket = site.place("daemon.sock");
    let mut running = daemon(&site.stillframe, &socket);
    archive_through(&site, &socket);
    let backup = site.backup(&[]);
    for _ in 0..KILLS {
        let archived = site.cluster.value("SELECT archived_count FROM pg_stat_archiver");
        for _ in 0..4 {
            site.cluster.sql("INSERT INTO t SELECT generate_series(1, 5000)");
            site.cluster.sql("SELECT pg_switch_wal()");
        }
        // In the middle: it has begun with these and has not ended.
        site.cluster.wait_until(&format!("SELECT archived_count > {archived} FROM pg_stat_archiver"));
        running.kill9();
        running.wait();
        site.cluster.sql("INSERT INTO t SELECT generate_series(1, 5000)");
        site.switch_wal();
        running = daemon(&site.stillframe, &socket);
    }
    site.switch_wal();
    let rows = site.cluster.value("SELECT count(*) FROM t");
    assert_eq!(rows, (KILLS * 5 * 5000).to_string());
    assert_eq!(site.cluster.value("SELECT failed_count FROM pg_stat_archiver"), "0", "{}", site.cluster.log());
    let log = site.cluster.log();
    assert!(log.contains(WITHOUT), "the plain command took over, and said why:\n{log}");
    let restored = site.restore("restored", &[&backup, "--archiving", "off"]);
    assert_eq!(restored.value("SELECT count(*) FROM t"), rows);
}

/// A server that leaves its segments to others; gives the names of two that are complete.
fn unarchived(site: &mut Site) -> [String; 2] {
    site.cluster.append_setting("archive_command", "");
    site.cluster.restart();
    let complete = |rows: usize| {
        site.cluster.sql(&format!("INSERT INTO t SELECT generate_series(1, {rows})"));
        site.cluster.switch_wal()
    };
    [complete(10), complete(1000)]
}

#[test]
fn a_client_of_walgs_daemon_pushes_and_fetches() {
    let mut site = site();
    let [first, second] = unarchived(&mut site);
    let socket = site.place("daemon.sock");
    let _daemon = daemon(&site.stillframe, &socket);
    // As that library does it: a connection for each file, and a check first.
    let data = site.cluster.data_directory().to_owned();
    let check = frame(b'C', b"CHECK");
    let ask = |message: &[u8]| ask_in(&data, &socket, &[&check, message]);
    let push = |name: &str| ask(&frame(b'F', name.as_bytes()));
    let fetch = |name: &str| ask(&fetch_frame(name, "pg_wal/RECOVERYXLOG"));
    // A client in another directory may belong to another server.
    assert_eq!(ask_in(Path::new("/"), &socket, &[&check, &frame(b'F', first.as_bytes())]), Some(b'E'));
    assert!(!site.archived().contains(&first), "{:?}", site.archived());
    assert_eq!(ask(&fetch_frame(&first, "/tmp/RECOVERYXLOG")), Some(b'E'), "only into pg_wal");
    assert_eq!(push(&first), Some(b'O'));
    assert!(site.archived().contains(&first), "{:?}", site.archived());
    assert_eq!(push(&first), Some(b'O'), "again");
    assert_eq!(push(&second), Some(b'O'));

    let wal = site.cluster.data_directory().join("pg_wal");
    assert_eq!(fetch(&second), Some(b'O'));
    let fetched = wal.join("RECOVERYXLOG");
    assert!(fs::read(&fetched).unwrap() == fs::read(wal.join(&second)).unwrap());
    fs::remove_file(&fetched).unwrap();
    for absent in ["0000000100000000000000FF", "00000009.history"] {
        assert_eq!(fetch(absent), Some(b'N'), "{absent}");
    }
    // What is wrong is neither done nor absent, and ends no daemon.
    let before = site.everything();
    for name in ["0000000100000000000000FE", "../postgresql.conf", "/etc/passwd", ""] {
        assert_eq!(push(name), Some(b'E'), "{name}");
        assert_ne!(fetch(name), Some(b'O'), "{name}");
    }
    for message in [&frame(b'X', b"")[..], b"F\0\x01", &frame(b'f', b"\x02\0\xffshort")] {
        assert_eq!(ask(message), Some(b'E'), "{message:?}");
    }
    assert_eq!(site.everything(), before);
    assert!(!fetched.exists());
    // An archive that cannot be asked says nothing of what is absent.
    let archive = site.place("store/main/wal_005");
    set_mode(&archive, 0o000);
    for name in [&second, "0000000100000000000000FF"] {
        assert_eq!(fetch(name), Some(b'E'), "{name}");
    }
    set_mode(&archive, 0o700);
    assert!(answers(&socket));
}

#[test]
fn a_living_daemon_keeps_its_socket_and_a_dead_ones_is_replaced() {
    let site = site();
    let socket = site.place("daemon.sock");
    let assert_is_private = || {
        let found = fs::symlink_metadata(&socket).unwrap();
        assert!(found.file_type().is_socket() && found.permissions().mode() & 0o777 == 0o600, "{found:?}");
    };
    let first = daemon(&site.stillframe, &socket);
    assert_is_private();
    let refused = site.stillframe.run(["wal-daemon", socket.to_str().unwrap()]);
    assert_eq!(refused.code(), Some(4), "{refused}");
    assert!(refused.stderr.contains(socket.to_str().unwrap()) && refused.stderr.contains("hint:"), "{refused}");
    assert!(answers(&socket), "the first one goes on");

    first.kill9();
    first.wait();
    assert!(socket.exists() && !answers(&socket), "a killed one leaves it behind");
    let second = daemon(&site.stillframe, &socket);
    assert_is_private();
    second.terminate();
    let ended = second.wait();
    assert_eq!(ended.code(), Some(0), "{ended}");
    assert!(!socket.exists(), "who is told to end takes it along");
}

#[test]
fn a_daemon_that_is_told_to_end_as_soon_as_it_is_ready_ends_in_order() {
    let site = site();
    let socket = site.place("daemon.sock");
    for round in 0..30 {
        let daemon = daemon(&site.stillframe, &socket);
        daemon.terminate();
        let ended = daemon.wait();
        assert_eq!(ended.code(), Some(0), "round {round}: {ended}");
        assert!(!socket.exists(), "round {round}");
    }
}

#[test]
fn a_daemon_of_another_server_is_not_used() {
    let site = site();
    let other = Site::builder(tested_major()).cluster(|cluster| cluster.small_segments().fresh_initdb()).start();
    let socket = other.place("daemon.sock");
    let _daemon = daemon(&other.stillframe, &socket);
    let before = other.archived();
    archive_through(&site, &socket);
    let file = site.switch_wal();
    assert!(site.archived().contains(&file), "{:?}", site.archived());
    assert_eq!(other.archived(), before, "WAL of one cluster is not told to be in the archive of another");
}
