//! Makes the sentinel of a backup that has none: from what its snapshots carry, and from the history file that the server archived.
//!
//! Neither is enough alone. The snapshots were made before the backup stopped; the file tells where and when it stopped, and the
//! lines of `backup_label`. Both bear the name of the backup. What a push proves before it publishes is proven here as well: every
//! set is whole, ready and isolated, and every segment is in the archive and this cluster's.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::evidence::Listed;
use super::labels::owner;
use crate::catalog::{ArchivedFile, BackupName, BackupSet, Passport, PassportPart, PassportProblem, Sentinel};
use crate::error::chain;
use crate::flows::Ports;
use crate::flows::snapshot_push::consistency;
use crate::postgres::{BackupHistory, WalFileName, WalSegment};
use crate::provider::{MemberState, OWNER_LABEL, SnapshotSet};

/// Why a backup cannot be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// Not now; it may be possible later, or on another host.
    Later(String),
    /// What it carries cannot be read here, or contradicts itself: it may be a backup all the same.
    Unclear(String),
    /// It is not a backup, and never will be.
    Never(String),
}

/// Makes sentinels; lists the archive at most once.
pub(super) struct Rebuilder<'a> {
    ports: &'a Ports<'a>,
    /// Whether all providers have answered: what is not listed is not there.
    is_complete: bool,
    histories: Option<Vec<WalFileName>>,
}

impl<'a> Rebuilder<'a> {
    pub(super) fn new(ports: &'a Ports<'a>, is_complete: bool) -> Self {
        Self { ports, is_complete, histories: None }
    }

    /// Makes the sentinel of the backup of this name, of which these sets are known.
    pub(super) async fn rebuild(&mut self, name: &BackupName, sets: &[Listed<'_>]) -> Result<Sentinel, Obstacle> {
        let Some((_, any)) = sets.first() else { return Err(Obstacle::Never("nothing of it is left".to_owned())) };
        let passport = Passport::from_labels(&any.labels).map_err(|problem| match problem {
            PassportProblem::Missing => Obstacle::Never(problem.to_string()),
            // Of a later version, perhaps.
            PassportProblem::Damaged(_) => Obstacle::Unclear(problem.to_string()),
        })?;
        if passport.name != *name {
            return Err(Obstacle::Unclear(format!("the record that it carries is of `{}`", passport.name)));
        }
        let owner = owner(self.ports.layout, passport.system_identifier);
        if sets.iter().any(|(_, set)| set.labels.get(OWNER_LABEL) != Some(&owner)) {
            return Err(Obstacle::Unclear("the record that it carries is of another cluster".to_owned()));
        }
        let snapshots: Vec<BackupSet> = passport.parts.iter().map(|part| self.set_of(part, sets)).collect::<Result<_, _>>()?;
        let history = self.history(&passport).await?;
        let cuts: Vec<SnapshotSet> = snapshots.iter().map(|set| set.snapshot.clone()).collect();
        let sentinel = Sentinel {
            name: name.clone(),
            start_lsn: history.label().start(),
            stop_lsn: history.stop(),
            timeline: passport.timeline,
            segment_size: passport.segment_size,
            version: passport.version,
            system_identifier: passport.system_identifier,
            started_at: passport.started_at,
            finished_at: finished_at(&passport, &history, &cuts)?,
            hostname: passport.hostname,
            data_directory: passport.data_directory,
            backup_label: history.label().clone(),
            tablespace_map: passport.tablespaces,
            permanence: passport.permanence,
            user_data: passport.user_data,
            consistency: consistency(&cuts),
            sets: snapshots,
            paths: passport.paths,
            from_standby: passport.from_standby,
            outside: None,
            // Such a one is never made again: that the server stayed down meanwhile only its own push has seen.
            is_cold: false,
            external_archive: None,
        };
        sentinel.check().map_err(Obstacle::Never)?;
        self.prove_archived(&sentinel).await?;
        Ok(sentinel)
    }

    /// The set of one provider: all that was asked for, ready, and nothing else.
    fn set_of(&self, part: &PassportPart, sets: &[Listed<'_>]) -> Result<BackupSet, Obstacle> {
        let never = |reason: String| Err(Obstacle::Never(reason));
        let mut of_token = sets.iter().filter(|(_, set)| set.token == part.token);
        let Some((provider, set)) = of_token.next() else {
            let reason = format!("the provider `{}` lists no snapshot of it", part.provider);
            return if self.is_complete { never(reason) } else { Err(Obstacle::Later(reason)) };
        };
        if !set.isolated {
            return never("its snapshot changes with the live cluster".to_owned());
        }
        let asked: BTreeSet<&str> = part.volumes.iter().map(|volume| volume.id.as_str()).collect();
        let cut: BTreeSet<&str> = set.members.iter().map(|member| member.volume.as_str()).collect();
        if asked != cut {
            return never("its snapshots are not of the volumes that were to be cut".to_owned());
        }
        for member in &set.members {
            match &member.state {
                MemberState::Ready => {}
                MemberState::Cut => return Err(Obstacle::Later("its snapshots are not ready yet".to_owned())),
                MemberState::Cutting => return never("its cut was not completed".to_owned()),
                MemberState::Failed(reason) => return never(format!("its snapshot failed: {reason}")),
                MemberState::Deleting | MemberState::Absent => return never("its snapshot is being deleted".to_owned()),
            }
        }
        Ok(BackupSet { provider: (*provider).clone(), snapshot: (*set).clone(), volumes: part.volumes.clone() })
    }

    /// The history file that bears the name of the backup.
    async fn history(&mut self, passport: &Passport) -> Result<BackupHistory, Obstacle> {
        let archive = self.ports.archive();
        let earliest = WalSegment::containing(passport.timeline, passport.wal_position, passport.segment_size);
        let may_be = |name: &&WalFileName| name.segment(passport.segment_size).is_some_and(|segment| segment >= earliest);
        let names: Vec<WalFileName> = self.histories().await?.iter().filter(may_be).copied().collect();
        for name in names.into_iter().filter(|name| name.timeline() == passport.timeline) {
            let content = archive.fetch(name).await.map_err(|error| Obstacle::Later(chain(&error)))?;
            let Some(Ok(history)) = content.map(|content| BackupHistory::parse(&content)) else { continue };
            if history.name() != passport.name.as_str() {
                continue;
            }
            let label = history.label();
            if label.timeline() != passport.timeline || history.stop_timeline() != passport.timeline {
                return Err(Obstacle::Never("the server was promoted while it was taken".to_owned()));
            }
            if label.start() < passport.wal_position {
                return Err(Obstacle::Never(format!("it started at {}, before {}", label.start(), passport.wal_position)));
            }
            return Ok(history);
        }
        let reason = if passport.from_standby {
            "a standby archives no history file, and none of its primary bears this name"
        } else {
            "where it stopped is not in the archive"
        };
        Err(Obstacle::Never(reason.to_owned()))
    }

    async fn histories(&mut self) -> Result<&[WalFileName], Obstacle> {
        if self.histories.is_none() {
            let files = self.ports.archive().list().await.map_err(|error| Obstacle::Later(chain(&error)))?;
            let is_history = |file: &ArchivedFile| matches!(file.name, WalFileName::BackupHistory { .. });
            self.histories = Some(files.into_iter().filter(is_history).map(|file| file.name).collect());
        }
        Ok(self.histories.as_deref().unwrap_or_default())
    }

    async fn prove_archived(&self, sentinel: &Sentinel) -> Result<(), Obstacle> {
        for segment in sentinel.wal_range().segments() {
            let held = self.ports.archive().holds_segment(segment, sentinel.segment_size, sentinel.system_identifier).await;
            if !held.map_err(|error| Obstacle::Later(chain(&error)))? {
                return Err(Obstacle::Never(format!(
                    "its WAL is not in the archive: {}",
                    segment.file_name(sentinel.segment_size)
                )));
            }
        }
        Ok(())
    }
}

/// A moment at which it had certainly stopped: who restores to a time counts on it.
fn finished_at(passport: &Passport, history: &BackupHistory, sets: &[SnapshotSet]) -> Result<Timestamp, Obstacle> {
    let cut = sets.iter().map(|set| set.cut_end).chain([passport.started_at]).max().unwrap_or(passport.started_at);
    let stopped = history.stopped_by(cut).ok_or_else(|| Obstacle::Never("when it stopped cannot be read".to_owned()))?;
    Ok(stopped.max(cut))
}
