//! Whether the place where a server has paused is its target: by the records before and behind it.
//!
//! Several timelines may have a segment for that place, and a server in recovery does not tell which it follows. Each of them is
//! read, and all must agree.

use std::collections::BTreeSet;
use std::path::Path;

use crate::data_directory::{AskedRecovery, Inclusion, RecoveryTarget};
use crate::error::chain;
use crate::files::read_if_present;
use crate::flows::Ports;
use crate::flows::wal_scan::is_target;
use crate::postgres::{
    Lsn, MarkKind, ReadingEnd, SegmentHeader, TimelineId, WalFileName, WalMark, WalReader, WalSegment, WalSegmentSize, mark,
};

/// Segments that are read at most behind the place.
const SEGMENTS_BEHIND: u64 = 16;

/// Where a server has paused.
pub(super) struct Place<'a> {
    pub(super) ports: &'a Ports<'a>,
    pub(super) data_directory: &'a Path,
    pub(super) size: WalSegmentSize,
    /// Behind the last record that was replayed.
    pub(super) replayed: Lsn,
}

/// What was found around the place on one timeline.
#[derive(Default)]
struct Around {
    /// What the last record before it tells.
    before: Option<WalMark>,
    /// Where the first record behind it begins, and what it tells.
    next: Option<(Lsn, Option<WalMark>)>,
    /// The first end of a transaction behind it.
    transaction: Option<WalMark>,
}

impl Around {
    /// Whether recovery to this target stops here; none where the WAL holds too little.
    fn is_at(&self, asked: &AskedRecovery) -> Option<bool> {
        let is_sought = |found: Option<&WalMark>| found.is_some_and(|found| is_target(found, &asked.target));
        match (&asked.target, asked.inclusive) {
            (RecoveryTarget::Time(moment), inclusion) => self.transaction.as_ref().map(|next| match inclusion {
                Inclusion::Inclusive => next.at > *moment,
                Inclusion::Exclusive => next.at >= *moment,
            }),
            (RecoveryTarget::Xid(_), Inclusion::Exclusive) => self.next.as_ref().map(|(_, next)| is_sought(next.as_ref())),
            _ => Some(is_sought(self.before.as_ref())),
        }
    }
}

impl Place<'_> {
    /// Whether recovery to this target stops here; or why that cannot be known.
    pub(super) async fn is_at(&self, asked: &AskedRecovery) -> Result<bool, String> {
        let mut verdicts = BTreeSet::new();
        for timeline in self.timelines(asked).await? {
            if let Some(around) = self.look_around(timeline).await? {
                verdicts.insert(around.is_at(asked));
            }
        }
        let first = verdicts.pop_first().unwrap_or(None);
        match first {
            Some(is_there) if verdicts.is_empty() => Ok(is_there),
            Some(_) => Err("timelines differ at this place".to_owned()),
            None => Err(format!("the WAL around {} is not in the archive, or holds too little", self.replayed)),
        }
    }

    /// Timelines from that of the backup on that have the segment.
    async fn timelines(&self, asked: &AskedRecovery) -> Result<Vec<TimelineId>, String> {
        let number = self.replayed.0 / self.size.bytes();
        let has_it = |name: WalFileName| {
            let is_segment = matches!(name, WalFileName::Segment { .. });
            is_segment && name.segment(self.size).is_some_and(|segment| segment.number == number)
        };
        let archived = self.ports.archive().list().await.map_err(|error| chain(&error))?;
        let local = std::fs::read_dir(self.data_directory.join("pg_wal")).into_iter().flatten().flatten();
        let local = local.filter_map(|entry| entry.file_name().to_str()?.parse::<WalFileName>().ok());
        let names = archived.into_iter().map(|file| file.name).chain(local).filter(|name| has_it(*name));
        let timelines: BTreeSet<TimelineId> =
            names.map(WalFileName::timeline).filter(|timeline| *timeline >= asked.backup_timeline).collect();
        Ok(timelines.into_iter().collect())
    }

    /// Reads from the segment before the place, for the record before it may have begun there.
    async fn look_around(&self, timeline: TimelineId) -> Result<Option<Around>, String> {
        let number = self.replayed.0 / self.size.bytes();
        let (mut around, mut reader, mut is_read) = (Around::default(), WalReader::default(), false);
        for number in number.saturating_sub(1)..=number + SEGMENTS_BEHIND {
            let segment = WalSegment { timeline, number };
            let content = match self.content(segment).await? {
                Some(content) => content,
                None if is_read => break,
                None => continue,
            };
            is_read = true;
            let end = reader.read(segment.begin(self.size), &content, |record| {
                let told = mark(&record);
                if record.start < self.replayed {
                    around.before = told;
                    return;
                }
                if around.transaction.is_none() {
                    let is_end = |told: &&WalMark| !matches!(told.kind, MarkKind::RestorePoint(_));
                    around.transaction = told.as_ref().filter(is_end).cloned();
                }
                around.next.get_or_insert((record.start, told));
            });
            if end == ReadingEnd::Invalid || around.transaction.is_some() {
                break;
            }
        }
        Ok(is_read.then_some(around))
    }

    /// A segment from the archive, which recovery asks first, or from `pg_wal`.
    async fn content(&self, segment: WalSegment) -> Result<Option<Vec<u8>>, String> {
        let name = segment.file_name(self.size);
        let archived = self.ports.archive().fetch(name).await.map_err(|error| chain(&error))?;
        let content = match archived {
            Some(content) => Some(content),
            None => read_if_present(&self.data_directory.join("pg_wal").join(name.to_string())).map_err(|error| chain(&error))?,
        };
        Ok(content.filter(|content| SegmentHeader::prove_beginning(name, content, content.len() as u64).is_ok()))
    }
}
