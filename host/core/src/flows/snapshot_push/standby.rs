//! What a standby and its primary must be to each other, so that a backup of the one can rely on the other.
//!
//! A restore point in a foreign cluster, or a label of one that the standby does not follow, would do harm and prove nothing. So both
//! are asked, the standby first: whatever it has replayed, its primary has written before.

use std::pin::pin;
use std::time::Duration;

use thiserror::Error;

use crate::clock::Clock;
use crate::error::{Classify, ErrorClass};
use crate::postgres::{ArchiveMode, BackupSession, Connection, Lsn, ServerFacts, SystemIdentifier, TimelineId};

/// What the primary of a standby does for a backup.
pub enum Primary {
    /// Nothing: nobody has named it, or the server is no standby.
    Unknown,
    /// It ends the last segment of the backup, which a standby cannot do.
    EndsSegment(Box<dyn Connection>),
    /// It is in backup mode, while the files of the standby are cut.
    InBackupMode(Box<dyn Connection>),
}

impl Primary {
    /// The session on it.
    pub(super) fn connection(&mut self) -> Option<&mut Box<dyn Connection>> {
        match self {
            Self::Unknown => None,
            Self::EndsSegment(connection) | Self::InBackupMode(connection) => Some(connection),
        }
    }

    /// Whether the backup begins and ends on it.
    pub(super) fn is_in_backup_mode(&self) -> bool {
        matches!(self, Self::InBackupMode(_))
    }
}

/// Why a primary is not the primary of a standby, or the standby does not follow it.
#[derive(Debug, Error)]
pub enum StandbyError {
    /// The server whose files are to be cut replays nothing.
    #[error("the server of `conninfo` is not a standby")]
    NotAStandby,
    /// The other one replays as well.
    #[error("the server of `primary_conninfo` is itself a standby")]
    NotAPrimary,
    /// Two clusters.
    #[error("the standby is of the cluster {standby}, and the server of `primary_conninfo` of the cluster {primary}")]
    OtherCluster {
        /// Of the standby.
        standby: SystemIdentifier,
        /// Of the other server.
        primary: SystemIdentifier,
    },
    /// One was promoted, and the other has not followed.
    #[error("the standby is on timeline {standby}, and the server of `primary_conninfo` on timeline {primary}")]
    OtherTimeline {
        /// Of the standby.
        standby: TimelineId,
        /// Of the other server.
        primary: TimelineId,
    },
    /// It follows somebody else, or the primary was rolled back.
    #[error("the standby has replayed up to {standby}, and the primary has written up to {primary} only: it does not follow it")]
    Ahead {
        /// Where the standby is.
        standby: Lsn,
        /// Where the primary is.
        primary: Lsn,
    },
    /// The standby lags, stands still, or follows nobody.
    #[error(
        "the standby has not reached the start of the backup within {} s: it begins at {start}, the standby has replayed up to \
         {replayed}, and its files hold all changes up to {restartpoint}",
        .waited.as_secs()
    )]
    Behind {
        /// Start of the backup.
        start: Lsn,
        /// Where replay is.
        replayed: Lsn,
        /// Where its last restartpoint begins.
        restartpoint: Lsn,
        /// Deadline.
        waited: Duration,
    },
}

impl Classify for StandbyError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::NotAStandby | Self::NotAPrimary | Self::OtherCluster { .. } => ErrorClass::Config,
            Self::OtherTimeline { .. } | Self::Ahead { .. } => ErrorClass::Refused,
            Self::Behind { .. } => ErrorClass::Transient,
        }
    }

    fn hint(&self) -> Option<String> {
        let advice = match self {
            Self::NotAStandby => "a server that was promoted is backed up with `--session server`, as any primary",
            Self::NotAPrimary => "`primary_conninfo` under `[cluster]` must name the primary, also for a standby of a standby",
            Self::OtherCluster { .. } => "correct `primary_conninfo` under `[cluster]`",
            Self::OtherTimeline { .. } | Self::Ahead { .. } => {
                "let the standby follow the primary that `primary_conninfo` names; a standby of another history has to be made anew"
            }
            Self::Behind { .. } => {
                "is replay paused or delayed, does the standby stream? Look into its log, or raise `cut_timeout_secs` under `[backup]`"
            }
        };
        Some(advice.to_owned())
    }
}

/// Works, and lets nothing on the way take the session on the primary for an idle one meanwhile. A session that is lost all the same is
/// found when the primary is asked for something.
pub(super) async fn awake_during<Done>(primary: &mut dyn Connection, clock: &dyn Clock, work: impl Future<Output = Done>) -> Done {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = clock.sleep(BackupSession::PING_INTERVAL) => {}
        }
        let mut ping = primary.ping();
        let is_lost = tokio::select! {
            lives = &mut ping => lives.is_err(),
            done = &mut work => {
                // An answer that nobody takes costs the session.
                let _found_when_it_is_asked = ping.await;
                return done;
            }
        };
        drop(ping);
        if is_lost {
            return work.await;
        }
    }
}

/// Proves that the standby replays what this primary writes. The standby was asked first.
pub(in crate::flows) fn prove(standby: &ServerFacts, primary: &ServerFacts) -> Result<(), StandbyError> {
    if !standby.in_recovery {
        return Err(StandbyError::NotAStandby);
    }
    prove_primary(standby.system_identifier, standby.timeline, primary)?;
    prove_not_ahead(standby.replayed.unwrap_or(standby.wal_position), primary.wal_position)
}

/// Proves that this is the primary of a standby of this cluster, on this timeline.
pub(in crate::flows) fn prove_primary(
    cluster: SystemIdentifier,
    timeline: TimelineId,
    primary: &ServerFacts,
) -> Result<(), StandbyError> {
    if primary.in_recovery {
        return Err(StandbyError::NotAPrimary);
    }
    if cluster != primary.system_identifier {
        return Err(StandbyError::OtherCluster { standby: cluster, primary: primary.system_identifier });
    }
    if timeline != primary.timeline {
        return Err(StandbyError::OtherTimeline { standby: timeline, primary: primary.timeline });
    }
    Ok(())
}

/// Proves that what a standby has replayed lies before where its primary is.
pub(super) fn prove_not_ahead(standby: Lsn, primary: Lsn) -> Result<(), StandbyError> {
    if standby > primary { Err(StandbyError::Ahead { standby, primary }) } else { Ok(()) }
}

/// What a backup of the standby's files goes by when its session is on the primary: where they lie is the standby's, and where the
/// backup begins the primary's.
pub(super) fn of_both(standby: &ServerFacts, primary: &ServerFacts) -> ServerFacts {
    ServerFacts { wal_position: primary.wal_position, now: primary.now, ..standby.clone() }
}

/// Whether the archiver of a server has to archive the WAL of a backup: of a primary that archives nothing, a standby may.
pub(in crate::flows) fn must_archive(primary: &ServerFacts) -> bool {
    primary.archive_mode != ArchiveMode::Off && primary.archiver_is_set
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::testing::{FakeServer, ManualClock};

    /// Work that takes as long as so many pings.
    async fn work(clock: &ManualClock, pings: u32) -> &'static str {
        for _ in 0..pings {
            clock.sleep(BackupSession::PING_INTERVAL).await;
            tokio::task::yield_now().await;
        }
        "done"
    }

    #[tokio::test]
    async fn the_session_on_the_primary_is_no_idle_one_however_long_the_cut_takes_and_its_loss_does_not_end_the_cut() {
        let (server, clock) = (FakeServer::new(Timestamp::UNIX_EPOCH), ManualClock::new(Timestamp::UNIX_EPOCH));
        let mut primary = server.connect();
        assert_eq!(awake_during(&mut *primary, &clock, work(&clock, 10)).await, "done");
        assert!(server.calls() >= 5, "{}", server.calls());
        primary.facts().await.unwrap();
        server.lose_at(server.calls() + 2);
        assert_eq!(awake_during(&mut *primary, &clock, work(&clock, 10)).await, "done");
        primary.facts().await.unwrap_err();
    }
}
