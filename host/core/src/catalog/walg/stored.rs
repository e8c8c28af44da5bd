//! The records of a WAL-G base backup as they lie in the store: the sentinel, and `metadata.json` beside the files.
//!
//! Positions are decimal integers, identifiers exceed what a floating-point number can hold. `metadata.json` is what WAL-G goes
//! by for permanence; the sentinel's own `IsPermanent` is stale after a `backup-mark`. What only people read is read leniently;
//! what WAL is kept by is not.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{WalGBackup, WalGName};
use crate::catalog::Permanence;
use crate::postgres::{Lsn, PgVersion, SystemIdentifier, WalSegment, WalSegmentSize};

/// `<name>_backup_stop_sentinel.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StoredSentinel {
    #[serde(rename = "LSN")]
    lsn: Option<u64>,
    #[serde(rename = "FinishLSN")]
    finish_lsn: Option<u64>,
    pg_version: Option<u32>,
    system_identifier: Option<u64>,
    uncompressed_size: Option<i64>,
    compressed_size: Option<i64>,
    delta_from: Option<String>,
    user_data: Option<Value>,
    start_time: Option<Value>,
    finish_time: Option<Value>,
    hostname: Option<Value>,
    data_dir: Option<Value>,
}

/// `<name>/metadata.json`. An absent file and an empty one say the same.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StoredMetadata {
    start_lsn: Option<u64>,
    finish_lsn: Option<u64>,
    is_permanent: bool,
    pg_version: Option<u32>,
    system_identifier: Option<u64>,
    uncompressed_size: Option<i64>,
    compressed_size: Option<i64>,
    user_data: Option<Value>,
    start_time: Option<Value>,
    finish_time: Option<Value>,
    hostname: Option<Value>,
    data_dir: Option<Value>,
}

/// Puts both together, and says what contradicts what.
///
/// Where the two differ about a position, the wider range counts: nothing that either of them may need is given up.
pub(super) fn assemble(name: &WalGName, sentinel: StoredSentinel, metadata: Option<StoredMetadata>) -> Result<WalGBackup, String> {
    let has_metadata = metadata.is_some();
    let metadata = metadata.unwrap_or_default();
    let starts = [sentinel.lsn, metadata.start_lsn].into_iter().flatten().filter_map(position);
    let stops = [sentinel.finish_lsn, metadata.finish_lsn].into_iter().flatten().filter_map(position);
    let (start_lsn, finish_lsn) = (starts.clone().min(), stops.clone().max());
    for start in starts {
        if segment_sizes(name, start).next().is_none() {
            return Err(format!("it starts at {start}, which does not lie in the segment of its name"));
        }
        if let Some(stop) = stops.clone().find(|stop| *stop < start) {
            return Err(format!("it stops at {stop} before it starts at {start}"));
        }
    }
    Ok(WalGBackup {
        name: name.clone(),
        start_lsn,
        finish_lsn,
        permanence: if metadata.is_permanent { Permanence::Permanent } else { Permanence::Ordinary },
        has_metadata,
        version: metadata.pg_version.or(sentinel.pg_version).filter(|number| *number > 0).map(PgVersion),
        system_identifier: sentinel
            .system_identifier
            .or(metadata.system_identifier)
            .filter(|number| *number > 0)
            .map(SystemIdentifier),
        started_at: moment(metadata.start_time.as_ref()).or_else(|| moment(sentinel.start_time.as_ref())),
        finished_at: moment(metadata.finish_time.as_ref()).or_else(|| moment(sentinel.finish_time.as_ref())),
        hostname: text(metadata.hostname.as_ref()).or_else(|| text(sentinel.hostname.as_ref())),
        data_directory: text(metadata.data_dir.as_ref()).or_else(|| text(sentinel.data_dir.as_ref())).map(PathBuf::from),
        uncompressed_bytes: size(metadata.uncompressed_size).or_else(|| size(sentinel.uncompressed_size)),
        compressed_bytes: size(metadata.compressed_size).or_else(|| size(sentinel.compressed_size)),
        delta_from: sentinel.delta_from.filter(|parent| !parent.is_empty()),
        user_data: metadata.user_data.or(sentinel.user_data),
    })
}

/// Segment sizes under which a backup of this name can start at this position.
///
/// On a primary the name is that of the segment with the position, on a standby that of the byte before it.
pub(super) fn segment_sizes(name: &WalGName, start: Lsn) -> impl Iterator<Item = WalSegmentSize> {
    let (timeline, file) = (name.timeline(), name.start_file());
    WalSegmentSize::every().filter(move |size| {
        let holds = [WalSegment::containing(timeline, start, *size), WalSegment::ending_at(timeline, start, *size)];
        holds.iter().any(|segment| segment.file_name(*size) == file)
    })
}

/// No WAL begins at 0: WAL-G writes it for what it does not know.
fn position(decimal: u64) -> Option<Lsn> {
    (decimal != 0).then_some(Lsn(decimal))
}

/// WAL-G writes Go's zero time, in the year 1, for what it does not know.
fn moment(value: Option<&Value>) -> Option<Timestamp> {
    value?.as_str()?.parse().ok().filter(|moment: &Timestamp| moment.as_second() > 0)
}

fn text(value: Option<&Value>) -> Option<String> {
    value?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn size(bytes: Option<i64>) -> Option<u64> {
    bytes.and_then(|bytes| u64::try_from(bytes).ok()).filter(|bytes| *bytes > 0)
}
