//! One PostgreSQL cluster of a test: its data directory, and its server while it runs.

mod builder;
mod server;
mod standby;
mod template;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) use builder::BUILT_IN_SEGMENT_MIB;
pub use builder::ClusterBuilder;
pub use server::StopMode;
pub(crate) use server::free_port;
pub use template::copy_tree;

use crate::{Account, Postgres, Row, ScratchDirectory, Session};
use server::Server;

/// How long a test waits for anything: generous, since a slow machine must not fail a correct test.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);
/// How often a condition is looked at.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A cluster; dropped, its server stops and what the harness created for it is removed.
#[derive(Debug)]
pub struct Cluster {
    // Declared first, so that the server is gone before its files are.
    server: Option<Server>,
    postgres: Postgres,
    data_directory: PathBuf,
    port: u16,
    planned_tablespaces: Vec<PathBuf>,
    variables: Vec<(String, String)>,
    socket_directory: PathBuf,
    scratch: ScratchDirectory,
}

impl Cluster {
    /// Describes a new cluster of a major version.
    pub fn builder(major: u32) -> ClusterBuilder {
        ClusterBuilder::new(major)
    }

    /// Takes a data directory that exists, a restored one for example; it is not removed in the end.
    pub fn adopt(data_directory: impl Into<PathBuf>, major: u32) -> Self {
        Self::with_directory(ScratchDirectory::create(), data_directory.into(), Postgres::of(major))
    }

    /// Creates a streaming standby of a running primary; it is not started.
    pub fn standby_of(primary: &Self) -> Self {
        standby::create(primary)
    }

    fn with_directory(scratch: ScratchDirectory, data_directory: PathBuf, postgres: Postgres) -> Self {
        let socket_directory = scratch.join("s");
        Account::unprivileged().create_directory(&socket_directory);
        Self {
            server: None,
            postgres,
            data_directory,
            port: free_port(),
            planned_tablespaces: Vec::new(),
            variables: Vec::new(),
            socket_directory,
            scratch,
        }
    }

    /// Sets a variable of the server's environment, which its commands inherit; takes hold at the next start.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Starts the server and waits until it answers; panics with its log when it does not.
    #[track_caller]
    pub fn start(&mut self) -> &mut Self {
        if let Err(log) = self.try_start() {
            panic!("PostgreSQL {} did not start on {}:\n{log}", self.postgres.major, self.data_directory.display());
        }
        self
    }

    /// Starts the server; says what it logged when it ends before it answers.
    pub fn try_start(&mut self) -> Result<(), String> {
        assert!(self.server.is_none(), "the server runs already");
        let log_file = self.log_file();
        let (server, port) =
            Server::start(&self.postgres, &self.data_directory, &self.socket_directory, &log_file, self.port, &self.variables)?;
        self.server = Some(server);
        self.port = port;
        for (index, location) in std::mem::take(&mut self.planned_tablespaces).iter().enumerate() {
            self.sql(&format!("CREATE TABLESPACE ts{} LOCATION '{}'", index + 1, location.display()));
        }
        Ok(())
    }

    /// Stops the server.
    #[track_caller]
    pub fn stop(&mut self, mode: StopMode) {
        self.server.take().expect("the server runs").stop(mode);
    }

    /// Kills the server and all of its processes without any warning.
    #[track_caller]
    pub fn kill9(&mut self) {
        self.server.take().expect("the server runs").kill();
    }

    /// Stops and starts the server.
    #[track_caller]
    pub fn restart(&mut self) {
        self.stop(StopMode::Fast);
        self.start();
    }

    /// Makes the server read its configuration files again.
    #[track_caller]
    pub fn reload(&self) {
        self.server.as_ref().expect("the server runs").reload();
    }

    /// Whether the server has been started and not stopped by the test.
    pub fn is_running(&self) -> bool {
        self.server.is_some()
    }

    /// Opens a session that stays open.
    #[track_caller]
    pub fn session(&self) -> Session {
        Session::open(&self.conninfo()).unwrap_or_else(|error| panic!("cannot connect: {error}\n{}", self.log()))
    }

    /// Runs statements in a session of their own.
    #[track_caller]
    pub fn sql(&self, statements: &str) -> Vec<Row> {
        self.session().sql(statements)
    }

    /// Runs statements in a session of their own; they may fail.
    pub fn try_sql(&self, statements: &str) -> Result<Vec<Row>, String> {
        Session::open(&self.conninfo())?.try_sql(statements)
    }

    /// The first column of the first row, which must not be NULL.
    #[track_caller]
    pub fn value(&self, statement: &str) -> String {
        let rows = self.sql(statement);
        let first = rows.first().and_then(|row| row.first()).cloned().flatten();
        first.unwrap_or_else(|| panic!("`{statement}` returned no value"))
    }

    /// Waits until the statement returns true.
    #[track_caller]
    pub fn wait_until(&self, statement: &str) {
        let deadline = Instant::now() + DEADLINE;
        let session = self.session();
        let mut last = Vec::new();
        while Instant::now() < deadline {
            last = session.sql(statement);
            if last.first().and_then(|row| row.first()?.as_deref()) == Some("t") {
                return;
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        panic!("`{statement}` did not become true: {last:?}\n{}", self.log());
    }

    /// Size of a segment of its WAL.
    #[track_caller]
    pub fn wal_segment_bytes(&self) -> u64 {
        self.value("SELECT pg_size_bytes(current_setting('wal_segment_size'))").parse().expect("a number")
    }

    /// Ends the current segment, which has a record of its own at least; gives its name.
    #[track_caller]
    pub fn switch_wal(&self) -> String {
        self.sql("SELECT pg_create_restore_point('end of a segment')");
        self.value("SELECT pg_walfile_name(pg_switch_wal())")
    }

    /// Waits until the server's own archiver has archived this file.
    #[track_caller]
    pub fn wait_until_archived(&self, file: &str) {
        self.wait_until(&format!("SELECT last_archived_wal >= '{file}' FROM pg_stat_archiver"));
    }

    /// Ends the recovery of a standby, as an operator does; the server answers before it takes writes.
    #[track_caller]
    pub fn promote(&self) {
        if self.postgres.major >= 12 {
            self.sql("SELECT pg_promote()");
            return;
        }
        let mut promote = Command::new(self.postgres.program("pg_ctl"));
        promote.args(["promote", "-D"]).arg(&self.data_directory).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
        let status = Account::unprivileged().run_as(&mut promote).status();
        assert!(status.as_ref().is_ok_and(std::process::ExitStatus::success), "pg_ctl promote failed: {status:?}");
    }

    /// Waits until a recovery has ended and the server takes writes.
    #[track_caller]
    pub fn wait_until_recovered(&self) {
        self.wait_until("SELECT NOT pg_is_in_recovery()");
    }

    /// Connection string through the Unix socket, as superuser.
    pub fn conninfo(&self) -> String {
        self.conninfo_to("postgres")
    }

    /// The same to another database.
    pub fn conninfo_to(&self, database: &str) -> String {
        let (directory, database) = (quoted(&self.socket_directory.display().to_string()), quoted(database));
        format!("host={directory} port={} user=postgres dbname={database}", self.port)
    }

    /// Connection string through the loopback interface, as superuser.
    pub fn tcp_conninfo(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres dbname=postgres", self.port)
    }

    /// The port that the server listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the server's Unix socket.
    pub fn socket_directory(&self) -> &Path {
        &self.socket_directory
    }

    /// The data directory.
    pub fn data_directory(&self) -> &Path {
        &self.data_directory
    }

    /// A directory of this cluster, for what the test keeps beside the data directory.
    pub fn scratch(&self) -> &ScratchDirectory {
        &self.scratch
    }

    /// The binaries that it runs with.
    pub fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// The server's process.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.server.as_ref().expect("the server runs").pid()
    }

    /// All that the server has logged.
    pub fn log(&self) -> String {
        fs::read(self.log_file()).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// Replaces `pg_hba.conf`, and reloads it when the server runs.
    pub fn write_hba(&self, contents: &str) {
        Account::unprivileged().write(&self.data_directory.join("pg_hba.conf"), contents);
        if self.is_running() {
            self.reload();
        }
    }

    /// Appends a line to `postgresql.conf`; takes hold at the next start or reload.
    pub fn append_setting(&self, name: &str, value: &str) {
        builder::append_settings(&self.data_directory, &[(name.to_owned(), value.to_owned())]);
    }

    fn log_file(&self) -> PathBuf {
        self.scratch.join("log")
    }
}

/// A value of a connection string; what needs no quotes has none.
fn quoted(value: &str) -> String {
    let is_plain = !value.is_empty() && !value.contains([' ', '\'', '\\']);
    if is_plain { value.to_owned() } else { format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'")) }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop(StopMode::Immediate);
        }
    }
}
