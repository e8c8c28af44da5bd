//! The end of a lock-out, on a fake session: at whatever step the server or the file system says no, the server stays locked, and the
//! same command ends it later.
//!
//! What could go wrong: the server reads half a file and admits everybody or nobody; a server is opened that nobody named; a start after
//! a failure finds no file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use async_trait::async_trait;
use stillframe_core::data_directory::InstalledLockOut;
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::flows::{AcceptedRecovery, RecoveryAcceptError, recovery_accept};
use stillframe_core::postgres::{
    ConnectionError, ConnectionFault, Lsn, PgControl, QuerySession, ResultSet, SystemIdentifier, WalSegmentSize,
};
use stillframe_core::testing::control_file;

/// What locks out.
const LOCK: &[u8] = b"local all \"dba\" peer\n";

/// The server's own file.
const OWN: &[u8] = b"local all all peer\n";

/// A locked data directory.
struct Locked {
    _root: tempfile::TempDir,
    directory: PathBuf,
    own: PathBuf,
}

impl Locked {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().canonicalize().unwrap().join("data");
        fs::create_dir_all(directory.join("global")).unwrap();
        let control = control_file(SystemIdentifier(42), WalSegmentSize::default(), 6, Lsn(0x200_0028));
        fs::write(directory.join(PgControl::PATH), control).unwrap();
        let locked = Self { own: directory.join("pg_hba.conf"), directory, _root: root };
        fs::write(&locked.own, OWN).unwrap();
        fs::write(locked.lock(), LOCK).unwrap();
        fs::write(locked.settings(), format!("work_mem = '4MB'\nhba_file = '{}'\n", locked.lock().display())).unwrap();
        locked
    }

    fn lock(&self) -> PathBuf {
        InstalledLockOut::of(&self.directory).file()
    }

    fn settings(&self) -> PathBuf {
        self.directory.join("postgresql.auto.conf")
    }

    fn server(&self) -> FakeSession {
        FakeSession {
            reads: self.lock(),
            data: self.directory.clone(),
            named: None,
            fault: None,
            asked: Vec::new(),
            fails_at: None,
        }
    }

    async fn accept(&self, server: &mut FakeSession, own: Option<&Path>) -> Result<AcceptedRecovery, RecoveryAcceptError> {
        recovery_accept(&self.directory, Some(server), own).await
    }

    #[track_caller]
    fn assert_locked(&self, situation: &str) {
        let installed = InstalledLockOut::of(&self.directory);
        assert!(installed.is_closed() && installed.is_set().unwrap(), "{situation}: it is open");
        assert_eq!(fs::read(self.lock()).unwrap(), LOCK, "{situation}");
    }

    #[track_caller]
    fn assert_open(&self, situation: &str) {
        assert_eq!(fs::read_link(self.lock()).unwrap(), self.own, "{situation}");
        assert_eq!(fs::read(self.settings()).unwrap(), b"work_mem = '4MB'\n", "{situation}");
        assert_eq!(fs::read(&self.own).unwrap(), OWN, "{situation}");
    }
}

/// A session on the locked server.
struct FakeSession {
    /// The file that the server was started with.
    reads: PathBuf,
    data: PathBuf,
    /// What another configuration file names.
    named: Option<PathBuf>,
    /// Line and words, when the server is asked to read the file.
    fault: Option<(&'static str, &'static str)>,
    asked: Vec<&'static str>,
    /// The question at which the session is lost, counted from zero.
    fails_at: Option<usize>,
}

#[async_trait]
impl QuerySession for FakeSession {
    async fn query(&mut self, statements: &str) -> Result<Vec<ResultSet>, ConnectionError> {
        let about = ["current_setting", "pg_file_settings", "pg_hba_file_rules", "pg_reload_conf"];
        let about = about.into_iter().find(|name| statements.contains(name)).unwrap();
        if self.fails_at == Some(self.asked.len()) {
            let fault = ConnectionFault::Lost("the connection was reset".to_owned());
            return Err(ConnectionError { server: "fake".to_owned(), operation: "ask", fault });
        }
        self.asked.push(about);
        let text = |path: &Path| Some(path.display().to_string());
        let rows = match about {
            "current_setting" => vec![vec![text(&self.reads), text(&self.data), text(&self.data.join("postgresql.conf"))]],
            "pg_file_settings" => {
                [Some(&self.reads), self.named.as_ref()].into_iter().flatten().map(|path| vec![text(path)]).collect()
            }
            "pg_hba_file_rules" => {
                self.fault.iter().map(|(line, error)| vec![Some((*line).to_owned()), Some((*error).to_owned())]).collect()
            }
            _ => vec![vec![Some("t".to_owned())]],
        };
        Ok(vec![rows])
    }
}

#[tokio::test]
async fn the_server_reads_its_own_file_before_the_setting_goes_and_the_reload_comes_last() {
    let locked = Locked::new();
    let mut server = locked.server();
    let accepted = locked.accept(&mut server, None).await.unwrap();
    assert_eq!(accepted, AcceptedRecovery::Opened { own: locked.own.clone() });
    assert_eq!(server.asked, ["current_setting", "pg_file_settings", "pg_hba_file_rules", "pg_reload_conf"]);
    locked.assert_open("accepted");
}

#[tokio::test]
async fn wherever_the_session_is_lost_the_server_is_locked_or_open_and_the_same_command_ends_it() {
    let (mut stayed, mut went) = (0, 0);
    for place in 0..4 {
        let situation = format!("lost at question {place}");
        let locked = Locked::new();
        let mut server = locked.server();
        server.fails_at = Some(place);
        let error = locked.accept(&mut server, None).await.unwrap_err();
        assert!(error.hint().unwrap().contains("stop the server"), "{situation}: {error}");
        // Only the reload is left after the server has proven that it can read the file.
        if place < 3 {
            locked.assert_locked(&situation);
            stayed += 1;
        } else {
            locked.assert_open(&situation);
            went += 1;
        }
        locked.accept(&mut locked.server(), None).await.unwrap();
        locked.assert_open(&situation);
    }
    assert_eq!((stayed, went), (3, 1));
}

#[tokio::test]
async fn a_file_that_the_server_cannot_read_as_a_whole_leaves_it_locked() {
    let locked = Locked::new();
    let mut server = locked.server();
    server.fault = Some(("7", "invalid authentication method"));
    let error = locked.accept(&mut server, None).await.unwrap_err();
    assert!(matches!(&error, RecoveryAcceptError::Faulty { line, .. } if line == "7"), "{error}");
    assert_eq!(error.class(), ErrorClass::Refused);
    assert!(!server.asked.contains(&"pg_reload_conf"), "it must not read anything anew: {:?}", server.asked);
    locked.assert_locked("faulty");
}

#[tokio::test]
async fn a_server_whose_own_file_is_nowhere_stays_locked_until_it_is_named() {
    let locked = Locked::new();
    let elsewhere = locked.directory.join("elsewhere.conf");
    fs::rename(&locked.own, &elsewhere).unwrap();
    let absent = locked.directory.join("absent.conf");
    for named in [None, Some(absent.as_path())] {
        let mut server = locked.server();
        let error = locked.accept(&mut server, named).await.unwrap_err();
        assert!(matches!(error, RecoveryAcceptError::NoOwnFile { .. }), "{error}");
        assert!(error.hint().unwrap().contains("--hba-file"));
        locked.assert_locked("no file");
    }
    let accepted = locked.accept(&mut locked.server(), Some(&elsewhere)).await.unwrap();
    assert_eq!(accepted, AcceptedRecovery::Opened { own: elsewhere.clone() });
    assert_eq!(fs::read_link(locked.lock()).unwrap(), elsewhere);
}

#[tokio::test]
async fn the_file_that_another_configuration_file_names_is_the_servers_own() {
    let locked = Locked::new();
    let named = locked.directory.join("conf.d hba.conf");
    fs::write(&named, OWN).unwrap();
    let mut server = locked.server();
    server.named = Some(PathBuf::from("conf.d hba.conf"));
    let accepted = locked.accept(&mut server, None).await.unwrap();
    assert_eq!(accepted, AcceptedRecovery::Opened { own: named });
}

#[tokio::test]
async fn a_session_on_another_server_opens_nothing() {
    let (locked, other) = (Locked::new(), Locked::new());
    let mut server = other.server();
    let error = locked.accept(&mut server, None).await.unwrap_err();
    assert!(matches!(error, RecoveryAcceptError::OtherServer { .. }), "{error}");
    assert_eq!(server.asked, ["current_setting"]);
    for directory in [&locked, &other] {
        directory.assert_locked("another server");
    }
}

#[tokio::test]
async fn a_server_that_was_not_started_with_the_lock_is_told_so_and_its_next_start_has_none() {
    let locked = Locked::new();
    let mut server = locked.server();
    server.reads = locked.own.clone();
    assert_eq!(locked.accept(&mut server, None).await.unwrap(), AcceptedRecovery::NotLocked);
    assert_eq!(server.asked, ["current_setting"], "nothing is read anew");
    assert!(!InstalledLockOut::of(&locked.directory).is_set().unwrap());
}

#[tokio::test]
async fn without_a_session_only_a_server_that_is_down_is_opened() {
    let locked = Locked::new();
    // A server's processes have its data directory as their own; this one ends with its input.
    let process = Command::new("cat").current_dir(&locked.directory).stdin(Stdio::piped()).spawn().unwrap();
    let pid_file = locked.directory.join("postmaster.pid");
    fs::write(&pid_file, format!("{}\n{}\n", process.id(), locked.directory.display())).unwrap();
    let error = recovery_accept(&locked.directory, None, None).await.unwrap_err();
    assert!(matches!(error, RecoveryAcceptError::Running { pid, .. } if pid == process.id()), "{error}");
    locked.assert_locked("it runs");
    process.wait_with_output().unwrap();
    fs::remove_file(pid_file).unwrap();
    assert_eq!(recovery_accept(&locked.directory, None, None).await.unwrap(), AcceptedRecovery::AtNextStart);
    assert!(!locked.lock().exists());
    assert_eq!(fs::read(locked.settings()).unwrap(), b"work_mem = '4MB'\n");
    assert_eq!(recovery_accept(&locked.directory, None, None).await.unwrap(), AcceptedRecovery::NotLocked);
    let error = recovery_accept(&locked.directory.join("global"), None, None).await.unwrap_err();
    assert!(matches!(error, RecoveryAcceptError::NotACluster(_)), "{error}");
}
