//! Which backup a restore point continues, and where what lies before it ends.

use std::time::Duration;

use super::RestorePointError;
use crate::catalog::age::oldest_first;
use crate::catalog::{Backup, BackupName, BackupState, CatalogContents};
use crate::data_directory::{RecoveryTarget, TargetTimeline};
use crate::flows::{Ports, archive_map};
use crate::postgres::{Lsn, ServerFacts, TimelineHistory, TimelineId};
use crate::window::{Question, WantedBackup, WindowInput, can_restore};

/// Between two looks for a history.
const PAUSE: Duration = Duration::from_millis(500);

/// The backup that is named, or the newest from which this server's WAL can be replayed now.
///
/// Right after a promotion the history of the new timeline is still on its way into the archive.
pub(super) async fn choose(
    ports: &Ports<'_>,
    contents: &CatalogContents,
    facts: &ServerFacts,
    named: Option<&BackupName>,
    deadline: Duration,
) -> Result<BackupName, RestorePointError> {
    match look(ports, contents, facts, named).await {
        Err(error) if error.lacks_history() => {
            let ends_at = ports.clock.uptime().saturating_add(deadline);
            while ports.archive().history(facts.timeline).await?.is_none() && ports.clock.uptime() < ends_at {
                ports.clock.sleep(PAUSE).await;
            }
            look(ports, contents, facts, named).await
        }
        chosen => chosen,
    }
}

async fn look(
    ports: &Ports<'_>,
    contents: &CatalogContents,
    facts: &ServerFacts,
    named: Option<&BackupName>,
) -> Result<BackupName, RestorePointError> {
    let files = ports.archive().list().await?;
    let input = archive_map::window_input(ports, contents, &files, facts.segment_size).await?;
    if let Some(name) = named {
        let backup = contents.find(name).ok_or_else(|| RestorePointError::NoSuchBackup(name.clone()))?;
        check(ports, &input, backup, facts)?;
        return Ok(name.clone());
    }
    let mut reason = None;
    for backup in oldest_first(&contents.backups, |backup| backup.sentinel.age(), ports.clock.now()).into_iter().rev() {
        match check(ports, &input, backup, facts) {
            Ok(()) => return Ok(backup.sentinel.name.clone()),
            // The newest one's says most.
            Err(error) => reason = reason.or(Some(error)),
        }
    }
    Err(RestorePointError::NoParent { newest: reason.map(Box::new) })
}

/// Whether a backup can be restored, and the WAL that the server writes now be replayed from it.
fn check(ports: &Ports<'_>, input: &WindowInput, backup: &Backup, facts: &ServerFacts) -> Result<(), RestorePointError> {
    let sentinel = &backup.sentinel;
    let name = || sentinel.name.clone();
    if sentinel.system_identifier != facts.system_identifier {
        return Err(RestorePointError::OtherCluster {
            name: name(),
            found: facts.system_identifier,
            expected: sentinel.system_identifier,
        });
    }
    if backup.state == BackupState::Cut || !sentinel.is_isolated() {
        return Err(RestorePointError::NotRestorable(name()));
    }
    if backup.is_standalone {
        return Err(RestorePointError::Standalone(name()));
    }
    // To its own end: what lies behind it may still be on its way into the archive.
    let question = Question {
        target: &RecoveryTarget::Immediate,
        timeline: TargetTimeline::Number(facts.timeline),
        backup: WantedBackup::Named(&sentinel.name),
        now: ports.clock.now(),
    };
    can_restore(input, &question).map_err(|refusal| RestorePointError::refused(refusal, facts.segment_size))?;
    if sentinel.stop_lsn > facts.wal_position {
        return Err(RestorePointError::ServerIsBehind { name: name(), stop: sentinel.stop_lsn, position: facts.wal_position });
    }
    Ok(())
}

/// Where the newest increment of the same parent ends that lies before this point on its way, or else the parent itself.
pub(super) async fn end_before(
    ports: &Ports<'_>,
    parent: &Backup,
    timeline: TimelineId,
    to: Lsn,
) -> Result<Lsn, RestorePointError> {
    let history = ports.archive().history(timeline).await?.unwrap_or_else(|| TimelineHistory::root(timeline));
    let before = parent.increments.iter().filter(|other| other.to <= to && history.contains(other.timeline, other.to));
    Ok(before.map(|other| other.to).max().unwrap_or(parent.sentinel.stop_lsn))
}
