//! Proves one WAL file and archives it; several of them may be under way at once.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::guard::{self, GuardError, Verdict};
use super::{Pusher, WalPushError};
use crate::catalog::{ArchiveError, Content, Instance, InstanceError, PushOutcome};
use crate::error::Classify;
use crate::flows::Ports;
use crate::postgres::{SegmentHeader, TimelineHistory, WalFileName};

/// Longest `.history` or `.backup` file that makes sense.
const MAX_TEXT_BYTES: u64 = 1 << 20;

/// Archives the file `name` that lies at `path`; returns when it is durable.
pub(super) async fn archive_file(
    ports: &Ports<'_>,
    pusher: &Pusher<'_>,
    name: WalFileName,
    path: &Path,
) -> Result<PushOutcome, WalPushError> {
    let unreadable = |source| WalPushError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let instance = Instance::observe(pusher.data_directory, pusher.name);
    let (content, instance): (Content, _) = match name {
        WalFileName::Segment { .. } | WalFileName::Partial { .. } => {
            // Its first page tells; the rest is read once, while it is compressed.
            let mut beginning = [0; SegmentHeader::LENGTH];
            let (length, size_bytes) = read_beginning(&file, &mut beginning).map_err(unreadable)?;
            let instance = check_segment(name, &beginning[..length], size_bytes, instance)?;
            (Content::from_file(file).map_err(unreadable)?, Some(instance))
        }
        WalFileName::History { .. } | WalFileName::BackupHistory { .. } => {
            let mut text = Vec::new();
            file.take(MAX_TEXT_BYTES + 1).read_to_end(&mut text).map_err(unreadable)?;
            check_text(name, &text)?;
            (text.into(), instance.ok())
        }
    };
    // Shares the open file.
    let parked = matches!(name, WalFileName::Partial { .. }).then(|| content.clone());
    // A text may be archived by hand, on a host without the cluster.
    let Some(instance) = instance else { return Ok(ports.archive().push(name, content).await?) };
    let admission = async { Ok(guard::admit(ports, pusher.guarding, &instance, name).await?) };
    match ports.archive().push_if(name, content, admission).await {
        Err(WalPushError::Archive(ArchiveError::Conflict { .. })) => {
            let verdict = guard::explain(ports, &instance, name).await;
            match parked {
                Some(content) => Ok(park(ports, &verdict, content).await?),
                None => Err(GuardError::Refused(Box::new(verdict)).into()),
            }
        }
        outcome => outcome,
    }
}

/// Keeps a `.partial` whose name is taken, as two promotions from one timeline in one segment leave it. Neither server has done wrong,
/// and PostgreSQL would ask for it for ever, before everything else that the new primary has to archive.
async fn park(ports: &Ports<'_>, verdict: &Verdict, content: Content) -> Result<PushOutcome, ArchiveError> {
    let key = ports.archive().park(verdict.name, content).await?;
    tracing::warn!(hint = verdict.hint(), %key, "{verdict}; it is kept beside the archive");
    Ok(PushOutcome::Parked)
}

/// Reads as much as a segment is known by; returns how much that is, and the size of the file.
fn read_beginning(file: &File, buffer: &mut [u8]) -> io::Result<(usize, u64)> {
    let size_bytes = file.metadata()?.len();
    let length = usize::try_from(size_bytes).unwrap_or(usize::MAX).min(buffer.len());
    file.read_exact_at(&mut buffer[..length], 0)?;
    Ok((length, size_bytes))
}

/// Refuses a segment that is not what its name says, or is of another cluster; gives the instance that it is of.
fn check_segment(
    name: WalFileName,
    beginning: &[u8],
    size_bytes: u64,
    instance: Result<Instance, InstanceError>,
) -> Result<Instance, WalPushError> {
    let header =
        SegmentHeader::prove_beginning(name, beginning, size_bytes).map_err(|source| WalPushError::Header { name, source })?;
    let instance = instance?;
    let (found, ours) = (header.system_identifier, instance.system_identifier);
    if found == ours { Ok(instance) } else { Err(WalPushError::ForeignCluster { name, found, ours }) }
}

/// Refuses a text that is not what its name says.
fn check_text(name: WalFileName, text: &[u8]) -> Result<(), WalPushError> {
    if text.len() as u64 > MAX_TEXT_BYTES {
        return Err(WalPushError::TooLong { name });
    }
    if let WalFileName::History { timeline } = name {
        let text = String::from_utf8_lossy(text);
        TimelineHistory::parse(timeline, &text).map_err(|source| WalPushError::History { name, source })?;
    }
    Ok(())
}
