//! The WAL of backups that another tool keeps: looked for in the place of that tool, as far as this configuration reads it.

use std::collections::BTreeMap;

use super::{BackupCheck, Depth, KeptState, VerifyError};
use crate::catalog::{ArchiveError, ArchiveSettings, Layout, Sentinel, WalArchive, external_layout};
use crate::error::{Classify, ErrorClass, chain};
use crate::flows::archive_map::{ArchiveMap, MapError};
use crate::postgres::{WalFileName, WalRange};
use crate::store::Store;
use crate::window::ranges;

/// Looks for the own segments of every backup that was recorded with this place: by their names, or by what is in them.
pub(super) async fn look(
    place: Option<&dyn Store>,
    map: &ArchiveMap,
    checks: &mut [BackupCheck],
    depth: Depth,
) -> Result<(), VerifyError> {
    let Some(place) = place else { return Ok(()) };
    let url = place.url();
    let is_there = |check: &&mut BackupCheck| {
        check.external.as_ref().is_some_and(|external| external.archive.place.as_deref() == Some(url.as_str()))
    };
    let checks: Vec<&mut BackupCheck> = checks.iter_mut().filter(is_there).collect();
    // A place without these backups need not even answer.
    if checks.is_empty() {
        return Ok(());
    }
    let backups = map.contents.backups.iter().map(|backup| (backup.sentinel.name.as_str(), &backup.sentinel));
    let sentinels: BTreeMap<&str, &Sentinel> = backups.collect();
    let (layout, settings): (Layout, ArchiveSettings) = (external_layout(), ArchiveSettings::default());
    let archive = WalArchive::new(place, &layout, &settings);
    let listed = match depth {
        Depth::Names => Some(list(&archive).await?),
        Depth::Contents { .. } => None,
    };
    for check in checks {
        let Some(sentinel) = sentinels.get(check.name.as_str()) else { continue };
        let (state, missing) = match &listed {
            Some(Ok(names)) => named(names, sentinel),
            Some(Err(unread)) => (unread.clone(), Vec::new()),
            None => read(&archive, sentinel).await?,
        };
        if let Some(external) = &mut check.external {
            external.state = Some(state);
        }
        check.missing = missing;
    }
    Ok(())
}

/// The names of everything that lies there, or why it is not known.
async fn list(archive: &WalArchive<'_>) -> Result<Result<Vec<WalFileName>, KeptState>, VerifyError> {
    match archive.list().await {
        Ok(files) => Ok(Ok(files.into_iter().map(|file| file.name).collect())),
        Err(error) => judge(error).map(Err),
    }
}

fn named(names: &[WalFileName], sentinel: &Sentinel) -> (KeptState, Vec<WalRange>) {
    let range = sentinel.wal_range();
    let segments = names.iter().filter(|name| matches!(name, WalFileName::Segment { .. }) && name.timeline() == range.timeline);
    let mut numbers: Vec<u64> =
        segments.filter_map(|name| name.segment(sentinel.segment_size)).map(|segment| segment.number).collect();
    numbers.sort_unstable();
    absent(ranges::missing(range.timeline, &numbers, range.first, range.last), KeptState::Present)
}

/// Reads every segment, as the backup itself did before it was published.
async fn read(archive: &WalArchive<'_>, sentinel: &Sentinel) -> Result<(KeptState, Vec<WalRange>), VerifyError> {
    let range = sentinel.wal_range();
    let mut numbers = Vec::new();
    for segment in range.segments() {
        match archive.holds_segment(segment, sentinel.segment_size, sentinel.system_identifier).await {
            Ok(true) => numbers.push(segment.number),
            Ok(false) => {}
            Err(error) => return Ok((judge(error)?, Vec::new())),
        }
    }
    Ok(absent(ranges::missing(range.timeline, &numbers, range.first, range.last), KeptState::Proven))
}

fn absent(missing: Vec<WalRange>, otherwise: KeptState) -> (KeptState, Vec<WalRange>) {
    (if missing.is_empty() { otherwise } else { KeptState::Missing }, missing)
}

/// What an error says of the WAL; a place that does not answer just now says nothing of it.
fn judge(error: ArchiveError) -> Result<KeptState, VerifyError> {
    match error.class() {
        ErrorClass::Config => Ok(KeptState::NotVerified(chain(&error))),
        ErrorClass::Corrupt | ErrorClass::Refused => Ok(KeptState::Damaged(chain(&error))),
        ErrorClass::Usage | ErrorClass::Transient | ErrorClass::Internal => Err(MapError::from(error).into()),
    }
}
