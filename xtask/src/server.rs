//! A throw-away PostgreSQL server that listens on a socket in a directory of its own and on no network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::account::Account;
use crate::failure::Failure;
use crate::prerequisites::server_programs;
use crate::run::captured;

/// Longest wait for a server to start, to archive or to end its recovery.
const DEADLINE: Duration = Duration::from_mins(1);

const POLL: Duration = Duration::from_millis(50);

/// A data directory and what it takes to run a server on it; the directory around it is swept, and the server with it.
#[derive(Debug)]
pub(crate) struct Server {
    programs: PathBuf,
    account: Account,
    /// The directory around everything; the sockets lie there.
    home: PathBuf,
    /// The data directory.
    pub(crate) data: PathBuf,
    /// Tells servers in one directory apart; no other machine or user can reach it.
    pub(crate) port: u16,
}

impl Server {
    /// A server on a data directory that exists or will; nothing is started.
    pub(crate) fn on(home: &Path, data: &Path, port: u16, account: &Account) -> Result<Self, Failure> {
        let programs = server_programs().ok_or_else(|| Failure::new("there is no PostgreSQL server on this machine"))?;
        Ok(Self { programs, account: account.clone(), home: home.to_owned(), data: data.to_owned(), port })
    }

    /// Makes the data directory, with some lines at the end of its `postgresql.conf`.
    pub(crate) fn initialise(&self, settings: &str) -> Result<(), Failure> {
        self.initialise_with(&[], settings)
    }

    /// The same, with more options for `initdb`.
    pub(crate) fn initialise_with(&self, options: &[&str], settings: &str) -> Result<(), Failure> {
        let mut initdb = self.command("initdb");
        initdb.args(["--no-sync", "--no-instructions", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--pgdata"]);
        captured(initdb.arg(&self.data).args(options))?;
        let file = self.data.join("postgresql.conf");
        let written = fs::read_to_string(&file).and_then(|text| fs::write(&file, format!("{text}\n{settings}")));
        written.map_err(Failure::io(format!("write `{}`", file.display())))
    }

    /// Starts the server and waits until it answers.
    pub(crate) fn start(&self) -> Result<(), Failure> {
        let options = format!("-c listen_addresses='' -c unix_socket_directories='{}' -c port={}", self.home.display(), self.port);
        let log = self.log();
        let mut start = self.command("pg_ctl");
        start.args(["start", "--silent", "--wait", "--pgdata"]).arg(&self.data).arg("--log").arg(&log).args(["-o", &options]);
        // Not captured: the server inherits the pipe, and reading it to its end would wait for the server's.
        let status = start.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        let status = status.map_err(Failure::io("run `pg_ctl`"))?;
        if status.success() {
            return Ok(());
        }
        let text = fs::read_to_string(&log).unwrap_or_default();
        Err(Failure::new(format!("the server on `{}` did not start; its log says:\n{text}", self.data.display())))
    }

    /// Shuts the server down and waits until it has ended.
    pub(crate) fn stop(&self) -> Result<(), Failure> {
        let mut stop = self.command("pg_ctl");
        captured(stop.args(["stop", "--silent", "--wait", "--mode=fast", "--pgdata"]).arg(&self.data)).map(|_| ())
    }

    /// Runs SQL and returns the rows, one per line, with `|` between columns.
    pub(crate) fn query(&self, sql: &str) -> Result<String, Failure> {
        Ok(captured(self.psql().args(["--tuples-only", "--no-align", "--command", sql]))?.trim_end().to_owned())
    }

    /// Runs SQL and returns what psql shows to a person.
    pub(crate) fn show(&self, sql: &str) -> Result<String, Failure> {
        captured(self.psql().args(["--pset=footer=off", "--command", sql]))
    }

    /// Waits until a query answers `t`.
    pub(crate) fn wait_until(&self, sql: &str) -> Result<(), Failure> {
        let began = Instant::now();
        while self.query(sql)? != "t" {
            if began.elapsed() > DEADLINE {
                let log = self.log_text();
                return Err(Failure::new(format!("`{sql}` was not true within {} s; the log says:\n{log}", DEADLINE.as_secs())));
            }
            sleep(POLL);
        }
        Ok(())
    }

    /// How libpq reaches it.
    pub(crate) fn conninfo(&self) -> String {
        format!("host={} port={} user=postgres dbname=postgres", self.home.display(), self.port)
    }

    /// What it has said so far.
    pub(crate) fn log_text(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn psql(&self) -> Command {
        let mut psql = self.command("psql");
        psql.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname", &self.conninfo()]);
        psql
    }

    fn command(&self, program: &str) -> Command {
        self.account.command(&self.programs.join(program), &self.home)
    }

    fn log(&self) -> PathBuf {
        self.home.join(format!("server-{}.log", self.port))
    }
}
