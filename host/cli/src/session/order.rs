//! What the owner of a session is told when it is started.
//!
//! It comes through standard input, and not as arguments, which every user of the machine can read.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use stillframe_core::catalog::Permanence;
use stillframe_core::postgres::Lsn;
use stillframe_core::session_directory::SessionId;

/// A session to begin.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Its id.
    pub id: SessionId,
    /// File that shall hold it.
    pub id_file: Option<PathBuf>,
    /// How long it lasts, in seconds, where the configuration is overruled; 0 for no limit.
    pub timeout_secs: Option<u64>,
    /// Whether no rule of retention may delete its backup.
    pub is_permanent: bool,
    /// What the operator wants to find with its backup.
    pub user_data: Option<serde_json::Value>,
}

impl Order {
    /// Whether retention may delete its backup.
    pub fn permanence(&self) -> Permanence {
        if self.is_permanent { Permanence::Permanent } else { Permanence::Ordinary }
    }
}

/// How a session is begun.
#[derive(Debug, Args)]
pub struct BeginOptions {
    /// Write the id of the session into this file, for the other commands
    ///
    /// Refused as long as the file holds the id of a session that is not over.
    #[arg(long, value_name = "FILE")]
    pub id_file: Option<PathBuf>,
    /// End the session after so many seconds, and call its copy void; 0 for no limit [default: `timeout_secs` under `[session]`]
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u32>,
    /// No retention rule deletes this backup
    #[arg(long, short)]
    pub permanent: bool,
    /// Keep this JSON value with the backup
    #[arg(long, value_name = "JSON", value_parser = crate::commands::snapshot_push::json_value)]
    pub add_user_data: Option<serde_json::Value>,
}

impl BeginOptions {
    /// The order for a session of this id.
    pub fn order(&self, id: SessionId) -> std::io::Result<Order> {
        Ok(Order {
            id,
            // The owner works in another directory.
            id_file: self.id_file.as_deref().map(std::path::absolute).transpose()?,
            timeout_secs: self.timeout.map(u64::from),
            is_permanent: self.permanent,
            user_data: self.add_user_data.clone(),
        })
    }
}

/// A session that has begun, as its owner and `session begin` tell it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Begun {
    /// Its id.
    pub session_id: SessionId,
    /// The backup that it shall become.
    pub backup_name: String,
    /// Where replay must begin.
    pub start_lsn: Lsn,
    /// How long it lasts; null without a limit.
    pub timeout_secs: Option<u64>,
}

impl Begun {
    /// For scripts: the position, and the id on a line of its own.
    pub fn text(&self) -> String {
        format!("{}\n{}", self.start_lsn, self.session_id)
    }
}
