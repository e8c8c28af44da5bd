//! Proves that the archive holds what restoring needs: every backup's own segments, and from the oldest ordinary backup on
//! everything to the newest archived position of each timeline that continues it; and what leads from each backup to its increments.
//!
//! Gaps that no backup can reach are no alarm. A store that does not answer is an error and never a gap; what cannot be read
//! for want of a key is counted as not verified and never passed off as fine.

mod contents;
mod error;
mod external;
mod kept;
mod need;

pub use contents::{ContentProblem, ContentReport, ReadingProgress};
pub use error::VerifyError;
pub use kept::KeptState;

use crate::catalog::{BackupName, CatalogError, ExternalArchive, RestorePointName};
use crate::flows::archive_map::{ArchiveMap, SegmentSizeFound, SizeSource};
use crate::flows::{AnyBackupName, BackupKind, Ports};
use crate::postgres::{Lsn, SystemIdentifier, TimelineId, WalRange, WalSegmentSize};
use crate::store::Store;
use crate::window::{TimelineOrigin, ranges};
use need::{Base, Own};

/// What to verify.
#[derive(Debug, Clone, Default)]
pub struct VerifyRequest {
    /// The segment size, if the operator says it.
    pub segment_size: Option<WalSegmentSize>,
    /// Only the way to this timeline; every one otherwise.
    pub timeline: Option<TimelineId>,
    /// Only what this backup needs.
    pub backup: Option<AnyBackupName>,
    /// Where the server is, and how far the archive may be behind it.
    pub server: Option<ServerPosition>,
    /// Whether objects are read, and how many at a time.
    pub depth: Depth,
}

/// Where the server is.
#[derive(Debug, Clone, Copy)]
pub struct ServerPosition {
    /// The cluster.
    pub system_identifier: SystemIdentifier,
    /// The timeline that it writes or replays.
    pub timeline: TimelineId,
    /// Everything in the segments before this position has been finished.
    pub position: Lsn,
    /// Segment size of the cluster.
    pub segment_size: WalSegmentSize,
    /// The newest finished segments that need not be archived yet.
    pub allowed_lag: u64,
}

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// Names and timeline histories.
    #[default]
    Names,
    /// Every needed object.
    Contents {
        /// How many at a time; each takes the memory of about two segments.
        workers: usize,
    },
}

/// What was found.
#[derive(Debug)]
pub struct VerifyReport {
    /// The segment size, and how it is known.
    pub segment_size: SegmentSizeFound,
    /// What recovery may go through.
    pub needed: Vec<WalRange>,
    /// Of that, and of what the backups themselves need, how much is archived.
    pub present: u64,
    /// Of that, what is not archived.
    pub missing: Vec<WalRange>,
    /// Gaps that no backup can reach.
    pub harmless: Vec<WalRange>,
    /// Every backup that was looked at.
    pub backups: Vec<BackupCheck>,
    /// Every increment that was looked at.
    pub increments: Vec<IncrementCheck>,
    /// Timelines to which no recovery can find the way.
    pub histories: Vec<HistoryProblem>,
    /// Timelines in the archive that are newer than the server's: somebody else archives here, or the server fell behind.
    pub newer_timelines: Vec<TimelineId>,
    /// Finished segments of the server that are not archived yet, up to the newest archived one; none without a server.
    pub lag: Option<u64>,
    /// What reading the objects showed; none if they were not read.
    pub contents: Option<ContentReport>,
    /// Records of backups that could not be read: what they need is not known.
    pub unreadable: Vec<CatalogError>,
}

/// What was found about one backup's own segments.
#[derive(Debug, Clone)]
pub struct BackupCheck {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub kind: BackupKind,
    /// Its own segments, numbered by its own segment size; none when its record does not tell where it stops.
    pub range: Option<WalRange>,
    /// Their size.
    pub segment_size: WalSegmentSize,
    /// Those that are not archived.
    pub missing: Vec<WalRange>,
    /// What was found of the WAL that it keeps for itself; none of a backup whose WAL is in the archive.
    pub kept: Option<KeptState>,
    /// What was found of the WAL that another tool keeps; none of a backup whose WAL is ours.
    pub external: Option<ExternalCheck>,
}

/// What was found of WAL that another tool keeps.
#[derive(Debug, Clone)]
pub struct ExternalCheck {
    /// Which tool, and where.
    pub archive: ExternalArchive,
    /// What is there of the backup's own segments; none where nobody reads the place.
    pub state: Option<KeptState>,
}

impl BackupCheck {
    /// Its own segments, as far as they must be in the archive.
    fn archived(&self) -> Option<WalRange> {
        self.range.filter(|_| self.kept.is_none() && self.external.is_none())
    }

    /// What was found of its own segments where they are not in the archive; none where they are, or where nobody reads them.
    #[must_use]
    pub fn elsewhere(&self) -> Option<&KeptState> {
        self.kept.as_ref().or_else(|| self.external.as_ref()?.state.as_ref())
    }

    /// Whether nothing that it needs for itself is known to be missing or damaged; none when its record does not tell what that is.
    #[must_use]
    pub fn is_whole(&self) -> Option<bool> {
        if self.kept.is_some() || self.external.is_some() {
            return self.elsewhere().map(KeptState::is_good);
        }
        self.range.map(|_| self.missing.is_empty())
    }
}

/// What was found about the segments between a backup and one of its increments.
#[derive(Debug, Clone)]
pub struct IncrementCheck {
    /// Its name.
    pub name: RestorePointName,
    /// Its parent.
    pub parent: BackupName,
    /// Everything that recovery from its parent to it replays.
    pub replay: Vec<WalRange>,
    /// What of that is not archived.
    pub missing: Vec<WalRange>,
}

/// A timeline whose history is needed and is not there.
#[derive(Debug, Clone)]
pub struct HistoryProblem {
    /// The timeline.
    pub timeline: TimelineId,
    /// What is wrong with its history.
    pub origin: TimelineOrigin,
}

/// Verifies; changes nothing. What is wrong stands in the report, whose [`VerifyReport::verdict`] decides the exit code.
///
/// `external` is the place in which another tool keeps the WAL of some backups, for reading; none when there is none.
pub async fn wal_verify(
    ports: &Ports<'_>,
    request: &VerifyRequest,
    external: Option<&dyn Store>,
    progress: &(dyn Fn(ReadingProgress) + Send + Sync),
) -> Result<VerifyReport, VerifyError> {
    let given = request.segment_size.or(request.server.map(|server| server.segment_size));
    let map = ArchiveMap::read(ports, given).await?;
    let own = need::backups(&map, request)?;
    let cluster = own.iter().rev().find(|own| own.is_of_newest_cluster).and_then(|own| own.system_identifier);
    if let (Some(server), Some(expected)) = (request.server, cluster)
        && server.system_identifier != expected
    {
        return Err(VerifyError::OtherCluster { found: server.system_identifier, expected });
    }
    // A size that is merely likely could hide a gap.
    if map.size.source == SizeSource::Assumed && !own.is_empty() {
        return Err(VerifyError::UnknownSegmentSize);
    }
    if let Some(timeline) = request.timeline.filter(|timeline| !map.timelines.contains_key(timeline)) {
        return Err(VerifyError::NoSuchTimeline(timeline));
    }

    let bases: Vec<Base> = own.iter().filter_map(Own::base).collect();
    let needed = need::lines(&map, &bases, request);
    let mut backups: Vec<BackupCheck> = own.iter().map(|own| need::check_own(&map, own)).collect();
    for check in &mut backups {
        check.kept = kept::look(ports, &map, &check.name, request.depth).await?;
    }
    let increments = need::increments(&map, request);
    let same_size = |check: &&BackupCheck| check.segment_size == map.size.size;
    let own_ranges = backups.iter().filter(same_size).filter_map(BackupCheck::archived);
    let to_increments = increments.iter().flat_map(|check| check.replay.iter().copied());
    let all = ranges::union(needed.iter().copied().chain(own_ranges).chain(to_increments).collect());
    let gaps =
        needed.iter().flat_map(|range| ranges::missing(range.timeline, map.numbers(range.timeline), range.first, range.last));
    let own_gaps = backups.iter().filter(same_size).flat_map(|check| check.missing.clone());
    let gaps_to_increments = increments.iter().flat_map(|check| check.missing.clone());
    let missing = ranges::union(gaps.chain(own_gaps).chain(gaps_to_increments).collect());
    external::look(external, &map, &mut backups, request.depth).await?;
    let contents = match request.depth {
        Depth::Names => None,
        Depth::Contents { workers } => Some(contents::read(ports, &map, &all, cluster, workers, progress).await),
    };
    Ok(VerifyReport {
        segment_size: map.size,
        present: all.iter().map(|range| need::present(&map, *range).len() as u64).sum(),
        harmless: need::harmless(&map, &all),
        histories: need::histories(&map, &bases, request),
        newer_timelines: request
            .server
            .map_or_else(Vec::new, |server| map.timelines.keys().copied().filter(|timeline| *timeline > server.timeline).collect()),
        lag: request.server.map(|server| need::lag(&map, &server)),
        needed,
        missing,
        backups,
        increments,
        contents,
        unreadable: map.contents.unreadable.into_iter().chain(map.walg.unreadable).collect(),
    })
}

impl VerifyReport {
    /// Segments that are needed and are not archived.
    #[must_use]
    pub fn missing_count(&self) -> u64 {
        let is_apart = |check: &&BackupCheck| check.external.is_some() || check.segment_size != self.segment_size.size;
        let foreign = self.backups.iter().filter(is_apart);
        ranges::count(&self.missing) + foreign.map(|check| ranges::count(&check.missing)).sum::<u64>()
    }

    /// Fails with the worst of what was found: damage, then absence, then what could not be found out, then that there is no backup.
    pub fn verdict(&self) -> Result<(), VerifyError> {
        let histories =
            |wanted: fn(&TimelineOrigin) -> bool| self.histories.iter().filter(move |problem| wanted(&problem.origin)).count();
        let damaged_histories = histories(|origin| matches!(origin, TimelineOrigin::Damaged(_))) as u64;
        let kept = |is_meant: fn(&KeptState) -> bool| {
            self.backups.iter().filter_map(|check| check.kept.as_ref()).filter(|kept| is_meant(kept)).count() as u64
        };
        let elsewhere = self.backups.iter().filter_map(BackupCheck::elsewhere);
        let damaged_elsewhere = elsewhere.filter(|state| matches!(state, KeptState::Damaged(_))).count() as u64;
        let damaged_objects = self.contents.as_ref().map_or(0, |contents| contents.damaged);
        let damaged = damaged_objects + damaged_histories + damaged_elsewhere;
        if damaged > 0 {
            return Err(VerifyError::Damaged { count: damaged, missing: self.missing_count() });
        }
        if let Some(error) = self.unreadable.first() {
            return Err(VerifyError::unreadable(error));
        }
        let missing_histories = histories(|origin| matches!(origin, TimelineOrigin::Missing)) as u64;
        let missing = self.missing_count() + self.contents.as_ref().map_or(0, |contents| contents.vanished) + missing_histories;
        let missing = missing + kept(|kept| matches!(kept, KeptState::Missing));
        if missing > 0 {
            return Err(VerifyError::Missing { count: missing });
        }
        if let Some(newest) = self.newer_timelines.last() {
            return Err(VerifyError::NewerTimeline(*newest));
        }
        if let Some(error) = self.contents.as_ref().and_then(|contents| contents.stopped_by.as_ref()) {
            return Err(VerifyError::stopped(error));
        }
        let unreadable_histories = histories(|origin| matches!(origin, TimelineOrigin::Unreadable(_))) as u64;
        let not_verified = self.contents.as_ref().map_or(0, |contents| contents.not_verified) + unreadable_histories;
        let is_unverified = |external: &&ExternalCheck| matches!(external.state, None | Some(KeptState::NotVerified(_)));
        let external = self.backups.iter().filter_map(|check| check.external.as_ref()).filter(is_unverified).count() as u64;
        if external > 0 && not_verified == 0 {
            return Err(VerifyError::External { count: external });
        }
        let not_verified = not_verified + kept(|kept| matches!(kept, KeptState::NotVerified(_)));
        if not_verified > 0 {
            return Err(VerifyError::NotVerified { count: not_verified });
        }
        // Nothing is needed, and nothing can be restored: that is no success, whoever watches over it must know.
        if self.backups.is_empty() { Err(VerifyError::NoBackups) } else { Ok(()) }
    }
}
