//! Servers of drills, and the programs of PostgreSQL that are here.
//!
//! A server is a child of this process, without a shell and without what `PG*` variables would tell it. It is stopped by its owner; when
//! that was killed, by the next one, on proof: the process works in the data directory of the drill, and its command line names the
//! socket of the drill.

mod abandoned;
mod log;
mod process;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::Signal;
use stillframe_core::postgres::{
    ConnectionError, PrivateServer, QuerySession, ServerError, ServerOrder, ServerPrograms, ShutdownMode, ToolEnd, ToolRun,
};
use stillframe_postgres::{ConnectSettings, Environment};

use crate::config::Variables;
use process::{Order, Process};

/// How long a program may take to say its version.
const VERSION_DEADLINE: Duration = Duration::from_secs(10);

/// How long a server may take to write what it has in memory, and to end at once.
const CLEAN_DEADLINE: Duration = Duration::from_mins(10);
const IMMEDIATE_DEADLINE: Duration = Duration::from_secs(30);

/// How much of what a program says is kept.
const MAX_WORDS_BYTES: usize = 4096;

/// The programs on this host.
#[derive(Debug, Clone)]
pub struct InstalledPrograms {
    /// The directory that the operator names.
    bindir: Option<PathBuf>,
}

impl InstalledPrograms {
    /// Looks in this directory, or where distributions put them.
    pub fn new(bindir: Option<PathBuf>) -> Self {
        Self { bindir }
    }

    fn directories(&self, major: u32) -> Vec<PathBuf> {
        if let Some(directory) = &self.bindir {
            return vec![directory.clone()];
        }
        let mut directories =
            vec![PathBuf::from(format!("/usr/lib/postgresql/{major}/bin")), PathBuf::from(format!("/usr/pgsql-{major}/bin"))];
        let path = std::env::var_os("PATH").unwrap_or_default();
        directories.extend(std::env::split_paths(&path).filter(|directory| directory.is_absolute()));
        directories
    }
}

#[async_trait]
impl ServerPrograms for InstalledPrograms {
    async fn find(&self, major: u32) -> Result<PathBuf, ServerError> {
        let looked = self.directories(major);
        let mut other = None;
        for directory in &looked {
            let program = directory.join("postgres");
            if !program.is_file() {
                continue;
            }
            let found = version_of(&program).await?;
            if major_in(&found) == Some(major) {
                return Ok(directory.clone());
            }
            other.get_or_insert(ServerError::OtherVersion { program, found, expected: major });
        }
        Err(other.unwrap_or(ServerError::NoPrograms { major, looked }))
    }

    async fn start(&self, order: &ServerOrder) -> Result<Box<dyn PrivateServer>, ServerError> {
        let program = order.programs.join("postgres");
        let mut arguments = vec!["-D".into(), order.data_directory.clone().into_os_string()];
        for (name, value) in &order.settings {
            arguments.push("-c".into());
            arguments.push(format!("{name}={value}").into());
        }
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&order.log);
        let log = log.map_err(|source| failed("write the log of", &program, source))?;
        // No pause between the start and what owns it: whoever stops waiting here must still have the server to stop.
        let process = Process::start(&Order { program, arguments, variables: order.variables.clone() }, log)?;
        Ok(Box::new(RunningServer { process, order: order.clone() }))
    }

    async fn run(&self, tool: &ToolRun) -> Result<ToolEnd, ServerError> {
        let program = tool.programs.join(tool.name);
        if !program.is_file() {
            return Ok(ToolEnd::Missing);
        }
        let arguments = tool.arguments.iter().map(Into::into).collect();
        let order = Order { program, arguments, variables: Vec::new() };
        Ok(match process::run(order, tool.deadline, MAX_WORDS_BYTES).await? {
            None => ToolEnd::TimedOut,
            Some((true, _)) => ToolEnd::Success,
            Some((false, words)) => ToolEnd::Failure(log::first_words(&words)),
        })
    }

    async fn stop_abandoned(&self, data_directory: &Path, socket_directory: &Path) -> Result<Option<u32>, ServerError> {
        abandoned::stop(data_directory, socket_directory, IMMEDIATE_DEADLINE).await
    }
}

fn failed(operation: &'static str, program: &Path, source: std::io::Error) -> ServerError {
    ServerError::Process { operation, program: program.to_owned(), source }
}

async fn version_of(program: &Path) -> Result<String, ServerError> {
    let order = Order { program: program.to_owned(), arguments: vec!["--version".into()], variables: Vec::new() };
    let words = process::run(order, VERSION_DEADLINE, MAX_WORDS_BYTES).await?.map(|(_, words)| words);
    Ok(log::first_words(&words.unwrap_or_default()))
}

/// The major version in `postgres (PostgreSQL) 15.18 (Debian 15.18-1)`, or in `18beta1`.
fn major_in(words: &str) -> Option<u32> {
    let version = words.split("(PostgreSQL) ").nth(1)?;
    version.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// A server that this process has started.
#[derive(Debug)]
struct RunningServer {
    process: Process,
    order: ServerOrder,
}

#[async_trait]
impl PrivateServer for RunningServer {
    async fn ended(&mut self) -> Option<String> {
        match self.process.ended() {
            Ok(None) => None,
            Ok(Some(status)) => Some(log::last_words(&self.order.log).unwrap_or_else(|| status.to_string())),
            Err(error) => Some(error.to_string()),
        }
    }

    async fn connect(&self, database: &str) -> Result<Box<dyn QuerySession>, ConnectionError> {
        let socket = self.order.socket_directory.display().to_string();
        let conninfo = format!(
            "host={} port={} user={} dbname={} sslmode=disable connect_timeout=10",
            quoted(&socket),
            self.order.port,
            quoted(&self.order.user),
            quoted(database)
        );
        // Nothing of the environment: a variable may lead to the living server.
        let settings = ConnectSettings::resolve(&conninfo, &Environment::new(Variables::default()))?;
        Ok(Box::new(stillframe_postgres::connect(&settings).await?))
    }

    async fn stop(&mut self, mode: ShutdownMode) -> Result<(), ServerError> {
        let (signal, deadline) = match mode {
            ShutdownMode::Clean => (Signal::INT, CLEAN_DEADLINE),
            ShutdownMode::Immediate => (Signal::QUIT, IMMEDIATE_DEADLINE),
        };
        if !self.process.end(signal, deadline).await? {
            self.process.end(Signal::KILL, IMMEDIATE_DEADLINE).await?;
        }
        // Its processes go when it has gone, and what they run with them.
        abandoned::wait_until_nobody_is_in(&self.order.data_directory, IMMEDIATE_DEADLINE).await
    }
}

/// A value in a connection string.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_what_the_program_says_and_nothing_else() {
        for (words, major) in [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-1.pgdg12+1)", Some(15)),
            ("postgres (PostgreSQL) 18beta1", Some(18)),
            ("postgres (PostgreSQL) 9.6.24", Some(9)),
            ("15", None),
            ("", None),
        ] {
            assert_eq!(major_in(words), major, "{words}");
        }
    }

    #[tokio::test]
    async fn programs_of_another_version_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("postgres");
        std::fs::write(&program, "#!/bin/sh\necho 'postgres (PostgreSQL) 14.2'\n").unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let programs = InstalledPrograms::new(Some(directory.path().to_owned()));
        assert_eq!(programs.find(14).await.unwrap(), directory.path());
        assert!(matches!(programs.find(15).await, Err(ServerError::OtherVersion { expected: 15, .. })));
        std::fs::remove_file(&program).unwrap();
        assert!(matches!(programs.find(14).await, Err(ServerError::NoPrograms { .. })));
    }

    #[test]
    fn names_in_a_connection_string_mean_themselves() {
        assert_eq!(quoted(r"it's a \ name"), r"'it\'s a \\ name'");
    }
}
