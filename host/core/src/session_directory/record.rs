//! The record of one session: what it is, and what became of it.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::catalog::{BackupName, process_space};
use crate::hex::{from_hex, to_hex};
use crate::postgres::Lsn;

/// Version of the record. A reader refuses what it does not know.
const FORMAT_VERSION: u32 = 1;

/// The id of a session: 128 random bits, which nobody can guess.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId(String);

impl SessionId {
    /// Makes an id of random bytes.
    #[must_use]
    pub fn new(random: [u8; 16]) -> Self {
        Self(to_hex(&random))
    }
}

/// A text that is no id of a session. The text may be the id of another one, mistyped: it is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not the id of a session: it has 32 hexadecimal digits, as `session begin` printed them")]
pub struct InvalidSessionId;

impl FromStr for SessionId {
    type Err = InvalidSessionId;

    fn from_str(text: &str) -> Result<Self, InvalidSessionId> {
        from_hex::<16>(text).map(Self::new).ok_or(InvalidSessionId)
    }
}

impl TryFrom<String> for SessionId {
    type Error = InvalidSessionId;

    fn try_from(text: String) -> Result<Self, InvalidSessionId> {
        text.parse()
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> Self {
        id.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What a session does, or did last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionState {
    /// The server enters backup mode.
    Starting,
    /// Backup mode is held.
    Running,
    /// Backup mode was left in good order, and the backup is not published yet.
    Stopped,
    /// It is a backup.
    Published,
    /// The operator gave it up.
    Aborted,
    /// It took too long.
    TimedOut,
    /// The server, or the connection to it, was lost.
    Lost,
    /// Backup mode could not be entered, or not be left in good order.
    Failed,
    /// Its owner was killed in backup mode, or the host went down.
    Killed,
}

impl SessionState {
    /// One word, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Published => "published",
            Self::Aborted => "aborted",
            Self::TimedOut => "timed-out",
            Self::Lost => "lost",
            Self::Failed => "failed",
            Self::Killed => "killed",
        }
    }

    /// Whether nothing more will become of it.
    #[must_use]
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Starting | Self::Running | Self::Stopped)
    }

    /// Whether what was copied in it can never be a backup.
    #[must_use]
    pub fn is_void(self) -> bool {
        self.is_over() && self != Self::Published
    }
}

/// Where the backup of a session is announced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionHome {
    /// URL of the store.
    pub store: String,
    /// Name of the cluster in it.
    pub cluster: String,
}

impl fmt::Display for SessionHome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} in {}", self.cluster, self.store)
    }
}

/// The record of one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionRecord {
    format_version: u32,
    /// Its id.
    pub id: SessionId,
    /// The backup that it shall become.
    pub backup_name: BackupName,
    /// Where its backup is announced: the store, and the name of the cluster there.
    pub home: SessionHome,
    /// Host that holds it.
    pub hostname: String,
    /// The processes among which its owner is one; those of another boot say nothing.
    pub process_space: Option<String>,
    /// When it was begun.
    pub begun_at: Timestamp,
    /// How long backup mode is held at most; none without a limit.
    pub timeout_secs: Option<u64>,
    /// Where replay must begin, once that is known.
    pub start_lsn: Option<Lsn>,
    /// What it does, or did last.
    pub state: SessionState,
    /// Why, where there is more to say than the state.
    pub reason: Option<String>,
    /// When it came to that.
    pub changed_at: Timestamp,
}

impl SessionRecord {
    /// A session that begins.
    #[must_use]
    pub fn starting(
        id: SessionId,
        backup_name: BackupName,
        home: SessionHome,
        hostname: &str,
        timeout_secs: Option<u64>,
        now: Timestamp,
    ) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            id,
            backup_name,
            home,
            hostname: hostname.to_owned(),
            process_space: process_space(),
            begun_at: now,
            timeout_secs,
            start_lsn: None,
            state: SessionState::Starting,
            reason: None,
            changed_at: now,
        }
    }

    /// Whether its owner was a process of this very boot. After another one, or in a copy of the machine, a lock that is free does
    /// not prove that the owner is dead: it may go on elsewhere.
    #[must_use]
    pub fn is_of_this_boot(&self) -> bool {
        self.process_space.is_some() && self.process_space == process_space()
    }

    /// The same session, in backup mode.
    #[must_use]
    pub fn running(self, start_lsn: Lsn, now: Timestamp) -> Self {
        Self { start_lsn: Some(start_lsn), state: SessionState::Running, changed_at: now, ..self }
    }

    /// The same session, in another state.
    #[must_use]
    pub fn ended(self, state: SessionState, reason: Option<String>, now: Timestamp) -> Self {
        Self { state, reason, changed_at: now, ..self }
    }

    /// The same session as it is once its owner is known to be dead: what was in backup mode then, is not any more.
    #[must_use]
    pub fn without_owner(self, now: Timestamp) -> Self {
        match self.state {
            SessionState::Starting | SessionState::Running => {
                let reason = "the process that held backup mode is gone, and backup mode ended with it".to_owned();
                self.ended(SessionState::Killed, Some(reason), now)
            }
            _ => self,
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // Texts, numbers and names: there is nothing that JSON could not hold.
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    pub(super) fn from_bytes(body: &[u8], id: &SessionId) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Versioned {
            format_version: u32,
        }
        let Versioned { format_version } = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        if format_version != FORMAT_VERSION {
            return Err(format!("it has the format version {format_version}, and this program knows {FORMAT_VERSION}"));
        }
        let record: Self = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        if record.id == *id { Ok(record) } else { Err("it is about another session".to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> SessionHome {
        SessionHome { store: "file:///s".to_owned(), cluster: "main".to_owned() }
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_only_under_its_own_id() {
        let now: Timestamp = "2026-11-21T08:00:00Z".parse().unwrap();
        let (id, other) = (SessionId::new([7; 16]), SessionId::new([8; 16]));
        let record = SessionRecord::starting(id.clone(), BackupName::new(now, [1; 5]), home(), "db1", None, now);
        let record = record.running(Lsn(0x300_0028), now).ended(SessionState::Lost, Some("gone".to_owned()), now);
        let bytes = record.to_bytes();
        assert_eq!(SessionRecord::from_bytes(&bytes, &id).unwrap(), record);
        SessionRecord::from_bytes(&bytes, &other).unwrap_err();
        let newer = String::from_utf8(bytes).unwrap().replace("\"format_version\": 1", "\"format_version\": 2");
        assert!(SessionRecord::from_bytes(newer.as_bytes(), &id).unwrap_err().contains("format version 2"));
    }

    #[test]
    fn an_id_is_32_digits_and_nothing_else() {
        let id = SessionId::new([0xAB; 16]).to_string();
        assert_eq!(id, "ab".repeat(16));
        assert_eq!(id.parse::<SessionId>().unwrap().to_string(), id);
        for text in ["", "ab", "../../../etc/passwd", &id.to_uppercase(), &format!("{id}0"), &id.replace('a', "g")] {
            assert_eq!(text.parse::<SessionId>(), Err(InvalidSessionId), "{text}");
        }
    }

    #[test]
    fn who_died_in_backup_mode_has_left_it() {
        let now: Timestamp = "2026-11-21T08:00:00Z".parse().unwrap();
        let record = SessionRecord::starting(SessionId::new([7; 16]), BackupName::new(now, [1; 5]), home(), "db1", None, now);
        for (state, after) in [
            (SessionState::Starting, SessionState::Killed),
            (SessionState::Running, SessionState::Killed),
            (SessionState::Stopped, SessionState::Stopped),
            (SessionState::Published, SessionState::Published),
            (SessionState::TimedOut, SessionState::TimedOut),
        ] {
            assert_eq!(record.clone().ended(state, None, now).without_owner(now).state, after, "{state:?}");
        }
    }
}
