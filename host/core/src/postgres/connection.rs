//! The connection to a server, as a seam: one session that stays the same from the start of a backup to its stop.

use async_trait::async_trait;
use thiserror::Error;

use crate::error::{Classify, ErrorClass};
use crate::postgres::{ArchiverStatus, Lsn, ServerFacts};

/// How the checkpoint that begins a backup is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CheckpointMode {
    /// As fast as the disks can.
    #[default]
    Fast,
    /// Spread over `checkpoint_completion_target`; can take minutes.
    Spread,
}

/// What the server says when it leaves backup mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoppedBackup {
    /// Position of the end of the backup.
    pub stop_lsn: Lsn,
    /// Contents of `backup_label`, in the server's own bytes.
    pub label_file: Vec<u8>,
    /// Contents of `tablespace_map`, in the server's own bytes; empty without tablespaces.
    pub tablespace_map_file: Vec<u8>,
}

/// One session on a PostgreSQL server. Closing or dropping it ends backup mode, if it was in it.
#[async_trait]
pub trait Connection: Send {
    /// Asks for everything that a backup must know before it begins.
    async fn facts(&mut self) -> Result<ServerFacts, ConnectionError>;

    /// Enters backup mode, non-exclusive; returns the start position.
    async fn start_backup(&mut self, label: &str, checkpoint: CheckpointMode) -> Result<Lsn, ConnectionError>;

    /// Leaves backup mode without waiting for the archive.
    async fn stop_backup(&mut self) -> Result<StoppedBackup, ConnectionError>;

    /// Proves that the session still lives.
    async fn ping(&mut self) -> Result<(), ConnectionError>;

    /// What a superuser must run so that the role can take backups; empty when it has every right.
    async fn missing_grants(&mut self) -> Result<Vec<String>, ConnectionError>;

    /// Asks how archiving goes.
    async fn archiver(&mut self) -> Result<ArchiverStatus, ConnectionError>;

    /// Writes a restore point and switches to a new segment, so that the current one is archived even without traffic.
    ///
    /// Returns the position of the restore point. Fails on a standby.
    async fn create_restore_point_and_switch(&mut self, name: &str) -> Result<Lsn, ConnectionError>;
}

/// One failed request to a server.
#[derive(Debug, Error)]
#[error("cannot {operation} on the server {server}")]
pub struct ConnectionError {
    /// Host, port and database; never a password.
    pub server: String,
    /// `connect`, `start the backup`, ...
    pub operation: &'static str,
    /// The cause.
    #[source]
    pub fault: ConnectionFault,
}

/// Why a request failed.
#[derive(Debug, Error)]
pub enum ConnectionFault {
    /// The connection string, a password file, a service file or a certificate is wrong.
    #[error("{0}")]
    Settings(String),
    /// The server does not answer, or the session is lost. Backup mode, if any, has ended.
    #[error("{0}")]
    Lost(String),
    /// The server refused the role or the password.
    #[error("{0}")]
    Authentication(String),
    /// The role lacks a right.
    #[error("{message}")]
    MissingRight {
        /// The server's words.
        message: String,
        /// What an administrator must run.
        grant: String,
    },
    /// The session goes through a pooler, which may give each statement to another one.
    #[error("the connection passes through a connection pooler")]
    Pooler,
    /// The server is too old.
    #[error("PostgreSQL {0} is older than 10")]
    TooOld(String),
    /// The server answered with another error.
    #[error("{message} (SQLSTATE {code})")]
    Server {
        /// SQLSTATE.
        code: String,
        /// The server's words.
        message: String,
        /// What the server advises.
        hint: Option<String>,
    },
    /// The server answered what this version does not expect.
    #[error("{0}")]
    Unexpected(String),
}

impl Classify for ConnectionError {
    fn class(&self) -> ErrorClass {
        match self.fault {
            ConnectionFault::Settings(_)
            | ConnectionFault::Authentication(_)
            | ConnectionFault::MissingRight { .. }
            | ConnectionFault::Pooler
            | ConnectionFault::TooOld(_) => ErrorClass::Config,
            ConnectionFault::Lost(_) => ErrorClass::Transient,
            ConnectionFault::Server { .. } => ErrorClass::Refused,
            ConnectionFault::Unexpected(_) => ErrorClass::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match &self.fault {
            ConnectionFault::Settings(_) => Some("check `conninfo` under `[cluster]` and the PG* variables".to_owned()),
            ConnectionFault::Lost(_) if self.operation == "connect" => {
                Some("check that the server runs and that `conninfo` names its host and port".to_owned())
            }
            ConnectionFault::Lost(_) => {
                Some("the backup is void, since backup mode ends with its session; run it again".to_owned())
            }
            ConnectionFault::Authentication(_) => Some("check the role, `.pgpass` and pg_hba.conf".to_owned()),
            ConnectionFault::MissingRight { grant, .. } => Some(format!("run as a superuser: {grant}")),
            ConnectionFault::Pooler => Some("connect to the server itself: backup mode belongs to one session".to_owned()),
            ConnectionFault::Server { hint, .. } => hint.clone(),
            ConnectionFault::TooOld(_) | ConnectionFault::Unexpected(_) => None,
        }
    }
}
