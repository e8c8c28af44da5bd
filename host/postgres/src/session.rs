//! What a session must be before a backup may trust it: one backend from start to stop, without timeouts, and of the wanted kind.

use stillframe_core::postgres::{ConnectionFault, PgVersion};
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use crate::fault;
use crate::settings::SessionKind;

/// The parameter by which a session is told from one that a pooler lends.
const MARK: &str = "stillframe.session";

/// Timeouts off, since a spread checkpoint and a slow snapshot take their time. In the startup message, so that not even the first
/// statement meets a timeout that was set for the role.
const STARTUP: &str = "-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0";

/// The timeouts that not every version has, and names that nobody can redirect.
const SETTINGS: &str = "SELECT pg_catalog.set_config(wanted.name, wanted.setting, false) \
     FROM (VALUES ('search_path', 'pg_catalog, pg_temp'), ('transaction_timeout', '0'), ('idle_session_timeout', '0')) \
     AS wanted (name, setting) \
     WHERE EXISTS (SELECT FROM pg_catalog.pg_settings AS known WHERE known.name OPERATOR(pg_catalog.=) wanted.name)";

/// Lets the server notice during a long statement that we are gone (from 14, where its system can tell); else backup mode would
/// last until the checkpoint is written.
const NOTICE_LOSS: &str = "SELECT pg_catalog.set_config('client_connection_check_interval', '5s', false) \
     FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) 'client_connection_check_interval'";

const IDENTITY: &str = "SELECT pg_catalog.pg_backend_pid(), current_user, pg_catalog.current_setting('server_version_num'), \
     pg_catalog.current_setting('transaction_read_only'), pg_catalog.pg_is_in_recovery()";

/// A random mark for one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark(String);

impl Mark {
    /// Makes one that no other session has.
    pub(crate) fn random() -> Result<Self, ConnectionFault> {
        let bytes = getrandom::u64().map_err(|error| ConnectionFault::Unexpected(format!("no random number: {error}")))?;
        Ok(Self(format!("{bytes:016x}")))
    }

    /// The user's startup options with ours and the mark behind them; the last one counts.
    pub(crate) fn appended_to(&self, options: &str) -> String {
        format!("{options} {STARTUP} -c {MARK}={}", self.0).trim_start().to_owned()
    }
}

/// Who serves the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) backend_pid: i32,
    pub(crate) role: String,
    pub(crate) version: PgVersion,
    read_only: bool,
    in_recovery: bool,
}

impl Identity {
    /// Whether `target_session_attrs` takes this session; else what it is instead.
    pub(crate) fn prove_kind(&self, kind: SessionKind) -> Result<(), ConnectionFault> {
        let fault = match kind {
            SessionKind::ReadWrite if self.read_only => "the session is read-only",
            SessionKind::ReadOnly if !self.read_only => "the session is not read-only",
            SessionKind::Primary if self.in_recovery => "the server is a standby",
            SessionKind::Standby if !self.in_recovery => "the server is not a standby",
            _ => return Ok(()),
        };
        Err(ConnectionFault::Lost(format!("{fault}, and `target_session_attrs` asks for another")))
    }
}

/// Refuses a server that is too old by what it announced at login; a pooler's version is looked at later.
pub(crate) fn refuse_too_old(announced: Option<&str>) -> Result<(), ConnectionFault> {
    let major = announced.and_then(|text| text.split(|character: char| !character.is_ascii_digit()).next()?.parse::<u32>().ok());
    match (announced, major) {
        (Some(text), Some(major)) if major < PgVersion::OLDEST_MAJOR => Err(ConnectionFault::TooOld(text.to_owned())),
        _ => Ok(()),
    }
}

/// Proves that the session is a server's own, and makes it fit for a backup.
pub(crate) async fn set_up(client: &Client, mark: &Mark) -> Result<Identity, ConnectionFault> {
    // A pooler that swallows startup parameters gives a session without our mark, or with another's.
    let found = row(client, &format!("SELECT pg_catalog.current_setting('{MARK}', true)")).await?;
    if found.get(0) != Some(mark.0.as_str()) {
        return Err(ConnectionFault::Pooler);
    }
    client.simple_query(SETTINGS).await.map_err(|error| fault_of(&error))?;
    // Refused where the server's system cannot tell; then the loss is noticed when the statement ends.
    if let Err(error) = client.simple_query(NOTICE_LOSS).await
        && error.as_db_error().is_none()
    {
        return Err(fault_of(&error));
    }
    let row = row(client, IDENTITY).await?;
    identity(&row).ok_or_else(|| ConnectionFault::Unexpected("the server does not say who it is".to_owned()))
}

fn identity(row: &SimpleQueryRow) -> Option<Identity> {
    Some(Identity {
        backend_pid: row.get(0)?.parse().ok()?,
        role: row.get(1)?.to_owned(),
        version: PgVersion(row.get(2)?.parse().ok()?),
        read_only: row.get(3)? == "on",
        in_recovery: row.get(4)? == "t",
    })
}

/// By the simple protocol, which passes through every pooler, so that the answer can be looked at.
async fn row(client: &Client, statement: &str) -> Result<SimpleQueryRow, ConnectionFault> {
    let messages = client.simple_query(statement).await.map_err(|error| fault_of(&error))?;
    let row = messages.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    row.ok_or_else(|| ConnectionFault::Unexpected("the server answered without a row".to_owned()))
}

fn fault_of(error: &tokio_postgres::Error) -> ConnectionFault {
    // Nothing here needs a right; should a server think otherwise, its words say which.
    fault::of_request(error, String::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_stands_behind_the_options_of_the_user() {
        let options = Mark("0f".to_owned()).appended_to("-c statement_timeout=1");
        assert!(options.starts_with("-c statement_timeout=1 -c statement_timeout=0 "), "{options}");
        assert!(options.ends_with(" -c stillframe.session=0f"), "{options}");
        assert_ne!(Mark::random().unwrap(), Mark::random().unwrap());
    }

    #[test]
    fn only_versions_before_10_are_too_old() {
        for (announced, too_old) in
            [("9.6.24", true), ("10.23", false), ("18beta1", false), ("15.18 (Debian 15.18-1)", false), ("x", false)]
        {
            assert_eq!(refuse_too_old(Some(announced)).is_err(), too_old, "{announced}");
        }
        assert!(refuse_too_old(None).is_ok());
    }
}
