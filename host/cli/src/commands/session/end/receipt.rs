//! What `session end` hands out: the label once, whole and byte for byte, or an error that says that it was not.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::Value;
use stillframe_core::error::{Classify, ErrorClass, chain};
use stillframe_core::files::{FileError, remove_file_if_present};
use stillframe_core::session_directory::{SessionId, make_output, write_private};

use crate::exit::Failure;
use crate::output::print;
use crate::session::protocol::Stopped;

/// Names that PostgreSQL looks for.
const LABEL: &str = "backup_label";
const MAP: &str = "tablespace_map";

/// What was handed out so far.
pub struct Receipt {
    id: SessionId,
    output: Option<PathBuf>,
    json: bool,
    stopped: Option<Stopped>,
    /// Why a part of it could not be written: the backup is published all the same, since the catalog holds the label as well.
    failure: Option<Failure>,
}

#[derive(Serialize)]
struct View<'a> {
    session_id: &'a SessionId,
    backup_name: &'a str,
    is_published: bool,
    start_lsn: String,
    finish_lsn: String,
    backup_label: Value,
    tablespace_map: Value,
}

impl Receipt {
    /// Nothing so far.
    pub fn new(id: &SessionId, output: Option<PathBuf>, json: bool) -> Self {
        Self { id: id.clone(), output, json, stopped: None, failure: None }
    }

    /// Hands the label out, the first time that it is told.
    pub fn hand_out(&mut self, stopped: &Stopped) {
        if self.stopped.is_some() {
            return;
        }
        if let Some(directory) = &self.output
            && let Err(error) = write_files(directory, stopped)
        {
            tracing::error!("the files are not written: {}", chain(&error));
            self.failure = Some(error.into());
        }
        if !self.json
            && let Err(source) = write_out(stopped.backup_label.as_bytes())
        {
            self.failure = Some(NotPrinted { source }.into());
        }
        self.stopped = Some(stopped.clone());
    }

    /// Tells what came of it all.
    pub fn close(self, result: Result<(), Failure>) -> Result<ExitCode, Failure> {
        let Self { id, json, stopped, failure, .. } = self;
        let Some(stopped) = stopped else { return result.map(|()| ExitCode::SUCCESS) };
        if json {
            let view = View {
                session_id: &id,
                backup_name: &stopped.backup_name,
                is_published: result.is_ok(),
                start_lsn: stopped.start_lsn.to_string(),
                finish_lsn: stopped.finish_lsn.to_string(),
                backup_label: serde_json::to_value(&stopped.backup_label).unwrap_or_default(),
                tablespace_map: serde_json::to_value(&stopped.tablespace_map).unwrap_or_default(),
            };
            print(true, &view, String::new);
        }
        match result.and(failure.map_or(Ok(()), Err)) {
            Ok(()) => {
                tracing::info!(backup = %stopped.backup_name, "published");
                Ok(ExitCode::SUCCESS)
            }
            Err(failure) => Err(failure.beside_a_result()),
        }
    }
}

/// Both files, durably; and no map of an earlier backup beside the label of this one.
fn write_files(directory: &Path, stopped: &Stopped) -> Result<(), FileError> {
    make_output(directory)?;
    let map = directory.join(MAP);
    if stopped.tablespace_map.is_empty() {
        remove_file_if_present(&map)?;
    } else {
        write_private(&map, stopped.tablespace_map.as_bytes())?;
    }
    write_private(&directory.join(LABEL), stopped.backup_label.as_bytes())
}

/// To the last byte, or with an error: a label that is cut off looks like one.
fn write_out(bytes: &[u8]) -> std::io::Result<()> {
    // Not through the buffer for lines, whose rest would be written when nobody looks any more.
    let mut output = std::io::stdout().lock();
    output.write_all(bytes)?;
    output.flush()
}

/// Standard output is full or closed.
#[derive(Debug, thiserror::Error)]
#[error("backup_label could not be written to standard output as a whole")]
struct NotPrinted {
    #[source]
    source: std::io::Error,
}

impl Classify for NotPrinted {
    fn class(&self) -> ErrorClass {
        ErrorClass::Transient
    }

    fn hint(&self) -> Option<String> {
        Some("throw away what was written of it, and run the same command again: it prints the same label".to_owned())
    }
}
