//! The primary of a standby: without it a backup of the standby rests on what others do.

use super::server::check_archiving;
use super::{Failed, Finding, Subject};
use crate::flows::snapshot_push::standby::{must_archive, prove};
use crate::postgres::{ArchiveMode, Connection, ServerFacts};

/// Looks at the primary; gives it back if the standby belongs to it.
pub(super) async fn check_primary(
    standby: &ServerFacts,
    primary: Option<Result<Box<dyn Connection>, Failed>>,
    findings: &mut Vec<Finding>,
) -> Option<(Box<dyn Connection>, ServerFacts)> {
    let mut connection = match primary {
        Some(Ok(connection)) => connection,
        Some(Err(failed)) => {
            findings.push(failed.critical(Subject::Primary));
            return None;
        }
        None => {
            let message = "nobody says where the primary is: while it is idle, a backup of this standby waits for WAL in vain";
            let finding = Finding::warning(Subject::Primary, message);
            findings.push(finding.with_hint("set `primary_conninfo` under `[cluster]`"));
            return None;
        }
    };
    let facts = match connection.facts().await {
        Ok(facts) => facts,
        Err(error) => {
            findings.push(Finding::failed(Subject::Primary, &error));
            return None;
        }
    };
    if let Err(error) = prove(standby, &facts) {
        findings.push(Finding::failed(Subject::Primary, &error));
        return None;
    }
    findings.push(rights(&mut *connection, &facts).await);
    if must_archive(&facts) || standby.archive_mode != ArchiveMode::Always {
        findings.push(check_archiving(&mut *connection, &facts).await);
    }
    Some((connection, facts))
}

/// It ends segments, and may be asked for backup mode.
async fn rights(connection: &mut dyn Connection, facts: &ServerFacts) -> Finding {
    match connection.missing_grants().await {
        Ok(missing) if missing.is_empty() => Finding::ok(
            Subject::Primary,
            format!("PostgreSQL {}, and the standby follows it on timeline {}", facts.version, facts.timeline),
        ),
        Ok(missing) => {
            let message = format!("the role lacks {} of the rights that it needs on the primary", missing.len());
            Finding::critical(Subject::Primary, message).with_hint(format!("run there as a superuser: {}", missing.join(" ")))
        }
        Err(error) => Finding::failed(Subject::Primary, &error),
    }
}
