//! What passes through the socket of a session: one line of JSON from the client, and one for each thing that happens to it.

use serde::{Deserialize, Serialize};
use stillframe_core::catalog::Sentinel;
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::postgres::{BackupLabel, Lsn, TablespaceMap};

use crate::exit::Failure;

/// Longest request.
pub const MAX_REQUEST_BYTES: u64 = 64 << 10;

/// Longest answer: a map of many thousand tablespaces.
pub const MAX_MESSAGE_BYTES: u64 = 16 << 20;

/// What the owner is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Leave backup mode in good order, and publish.
    End {
        /// By what the outside tool knows its copy.
        snapshot_ids: Vec<String>,
    },
    /// Leave backup mode and forget it.
    Abort,
}

/// What the owner says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    /// Backup mode was left in good order.
    Stopped(Box<Stopped>),
    /// The backup is published.
    Published,
    /// The session was given up.
    Aborted,
    /// It did not work.
    Failed(Told),
}

impl Message {
    /// Whether the owner says nothing more.
    pub fn is_last(&self) -> bool {
        !matches!(self, Self::Stopped(_))
    }
}

/// A session that has left backup mode: what the operator's copy needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stopped {
    /// The backup that it becomes.
    pub backup_name: String,
    /// Where replay must begin.
    pub start_lsn: Lsn,
    /// Before this position a restore is not consistent.
    pub finish_lsn: Lsn,
    /// The file, byte for byte.
    pub backup_label: BackupLabel,
    /// The same; empty without tablespaces.
    pub tablespace_map: TablespaceMap,
}

impl Stopped {
    /// What a sentinel, published or not, says of it.
    pub fn of(sentinel: &Sentinel) -> Self {
        Self {
            backup_name: sentinel.name.to_string(),
            start_lsn: sentinel.start_lsn,
            finish_lsn: sentinel.stop_lsn,
            backup_label: sentinel.backup_label.clone(),
            tablespace_map: sentinel.tablespace_map.clone(),
        }
    }
}

/// An error of the owner, told to its client.
#[derive(Debug, Clone, Serialize, Deserialize, thiserror::Error)]
#[error("{}", .messages.join(": "))]
pub struct Told {
    class: String,
    messages: Vec<String>,
    hint: Option<String>,
}

/// Every class with the word for it.
const CLASSES: [(ErrorClass, &str); 6] = [
    (ErrorClass::Usage, "usage"),
    (ErrorClass::Config, "config"),
    (ErrorClass::Refused, "refused"),
    (ErrorClass::Transient, "transient"),
    (ErrorClass::Corrupt, "corrupt"),
    (ErrorClass::Internal, "internal"),
];

impl From<&Failure> for Told {
    fn from(failure: &Failure) -> Self {
        let class = CLASSES.iter().find(|(class, _)| *class == failure.class()).map_or("internal", |(_, word)| word);
        Self { class: class.to_owned(), messages: failure.chain(), hint: failure.hint().map(str::to_owned) }
    }
}

impl Told {
    /// Puts together what JSON on standard output tells of a failure.
    pub fn new(class: &str, messages: Vec<String>, hint: Option<String>) -> Self {
        Self { class: class.to_owned(), messages, hint }
    }
}

impl Classify for Told {
    fn class(&self) -> ErrorClass {
        CLASSES.iter().find(|(_, word)| *word == self.class).map_or(ErrorClass::Internal, |(class, _)| *class)
    }

    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

/// Writes one line.
pub fn to_line<T: Serialize>(message: &T) -> Vec<u8> {
    // Line breaks in texts are escaped; and there is nothing in it that JSON could not hold.
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_class_and_its_words_on_its_way() {
        for (class, word) in CLASSES {
            let told = Told::new(word, vec!["a".to_owned(), "b".to_owned()], Some("c".to_owned()));
            let line = to_line(&Message::Failed(told));
            assert_eq!(line.split(|byte| *byte == b'\n').count(), 2);
            let Message::Failed(read) = serde_json::from_slice(&line).unwrap() else { panic!("another message") };
            assert_eq!((read.class(), read.to_string(), read.hint()), (class, "a: b".to_owned(), Some("c".to_owned())));
            assert_eq!(Told::from(&Failure::from(read)).class(), class);
        }
    }
}
