//! A server that nobody but us may reach, as a seam: started on a copy for a trial, asked, and stopped.
//!
//! Whoever starts one owns it until it is stopped, and what an owner that was killed has left is stopped only on proof that it was his.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

use crate::error::{Classify, ErrorClass};
use crate::postgres::ConnectionError;

/// The programs of PostgreSQL on this host.
#[async_trait]
pub trait ServerPrograms: Send + Sync {
    /// Finds the directory with the programs of a major version, and proves that they are of it.
    async fn find(&self, major: u32) -> Result<PathBuf, ServerError>;

    /// Starts a server; returns without waiting until it answers.
    async fn start(&self, order: &ServerOrder) -> Result<Box<dyn PrivateServer>, ServerError>;

    /// Runs a program of PostgreSQL to its end, or up to its deadline.
    async fn run(&self, tool: &ToolRun) -> Result<ToolEnd, ServerError>;

    /// Stops the server that a killed owner has left on this data directory, and waits until none of its processes is there.
    ///
    /// Only one whose command line names the directory of its socket is his; any other is refused. None is a success.
    async fn stop_abandoned(&self, data_directory: &Path, socket_directory: &Path) -> Result<Option<u32>, ServerError>;
}

/// A server that has been started. Dropped, it is not stopped.
#[async_trait]
pub trait PrivateServer: Send + Sync {
    /// What it said last, once it has ended; none while it runs.
    async fn ended(&mut self) -> Option<String>;

    /// Opens a session.
    async fn connect(&self, database: &str) -> Result<Box<dyn QuerySession>, ConnectionError>;

    /// Stops it and returns when it and all of its processes are gone. One that has ended is stopped.
    async fn stop(&mut self, mode: ShutdownMode) -> Result<(), ServerError>;
}

/// A session for questions.
#[async_trait]
pub trait QuerySession: Send {
    /// Runs statements; gives the results of those that have any.
    async fn query(&mut self, statements: &str) -> Result<Vec<ResultSet>, ConnectionError>;
}

/// Rows of values as text.
pub type ResultSet = Vec<Vec<Option<String>>>;

/// How a server is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownMode {
    /// In order: its files are as after a shutdown.
    Clean,
    /// At once: nobody needs its files any more.
    Immediate,
}

/// A server to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerOrder {
    /// The programs.
    pub programs: PathBuf,
    /// On which files.
    pub data_directory: PathBuf,
    /// Settings that overrule every file, in order.
    pub settings: Vec<(String, String)>,
    /// Variables of its environment, in place of what this process has; what it runs inherits them.
    pub variables: Vec<(String, String)>,
    /// Where its only socket lies.
    pub socket_directory: PathBuf,
    /// Which name the socket has.
    pub port: u16,
    /// Role of the sessions.
    pub user: String,
    /// Where it writes what it has to say.
    pub log: PathBuf,
}

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolRun {
    /// The programs.
    pub programs: PathBuf,
    /// Its name.
    pub name: &'static str,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// How long it may take.
    pub deadline: Duration,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolEnd {
    /// There is no such program.
    Missing,
    /// It found nothing wrong.
    Success,
    /// It did, and said this.
    Failure(String),
    /// It was stopped at its deadline.
    TimedOut,
}

/// Why a private server, or a program, could not be had.
#[derive(Debug, Error)]
pub enum ServerError {
    /// No programs of the version are here.
    #[error("there are no programs of PostgreSQL {major} in {}", listed(looked))]
    NoPrograms {
        /// The version.
        major: u32,
        /// Where they were looked for.
        looked: Vec<PathBuf>,
    },
    /// They are of another version.
    #[error("`{}` is PostgreSQL {found}, and the backup is of PostgreSQL {expected}", program.display())]
    OtherVersion {
        /// The program.
        program: PathBuf,
        /// What it says.
        found: String,
        /// What is needed.
        expected: u32,
    },
    /// The system refuses.
    #[error("cannot {operation} `{}`", program.display())]
    Process {
        /// `start`, `stop`, ...
        operation: &'static str,
        /// The program.
        program: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It does not end.
    #[error("the process {pid} on `{}` does not end", data_directory.display())]
    WillNotStop {
        /// The process.
        pid: u32,
        /// Its files.
        data_directory: PathBuf,
    },
    /// Somebody else has started it.
    #[error("the process {pid} on `{}` was started by somebody else", data_directory.display())]
    NotOurs {
        /// The process.
        pid: u32,
        /// Its files.
        data_directory: PathBuf,
    },
}

fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(", ")
}

impl Classify for ServerError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::NoPrograms { .. } | Self::OtherVersion { .. } => ErrorClass::Config,
            Self::Process { .. } | Self::WillNotStop { .. } => ErrorClass::Transient,
            Self::NotOurs { .. } => ErrorClass::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoPrograms { major, .. } | Self::OtherVersion { expected: major, .. } => {
                format!(
                    "install the server of PostgreSQL {major} here, or name the directory of its programs: `bindir` under `[drill]`"
                )
            }
            Self::Process { .. } => return None,
            Self::WillNotStop { pid, .. } => format!("look at what keeps the process {pid}, and run it again when it is gone"),
            Self::NotOurs { pid, .. } => format!("stop the process {pid} if it is not needed, and run it again"),
        })
    }
}
