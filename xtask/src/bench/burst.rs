//! A burst of ready segments: how fast an archiver that fell behind catches up.
//!
//! What PostgreSQL's archiver does is done here: one call per segment, in order, and the mark of the segment changed after each.

use std::fs;
use std::process::Command;

use super::figure::{Comparison, Figure, Target, measure};
use super::recording::{Recording, SEGMENTS};
use super::stage::{Codec, Stage, quiet};
use crate::failure::Failure;

/// Measures it; leaves the segments in our archive.
pub(super) fn measure_bursts(stage: &Stage<'_>, recording: &Recording, runs: usize) -> Result<Vec<Figure>, Failure> {
    let cluster = &recording.cluster;
    let mut figures = Vec::new();
    for codec in [Codec::Lz4, Codec::Zstd] {
        let ours = |path: &str| stage.stillframe(cluster, codec, &["wal-push", path]);
        let peers = |path: &str| stage.peer(cluster, codec, &["--archive-async", "archive-push", path]);
        figures.push(measure(
            Comparison::new(
                format!("{SEGMENTS} ready segments, {}", codec.name()),
                format!("pgBackRest asynchronous {}", codec.name()),
                Target::Ratio(0.7),
            ),
            runs,
            || recording.fall_behind(stage),
            || archive_all(recording, ours),
            || archive_all(recording, peers),
        )?);
    }
    recording.fall_behind(stage)?;
    archive_all(recording, |path| stage.stillframe(cluster, Codec::Zstd, &["wal-push", path]))?;
    Ok(figures)
}

fn archive_all(recording: &Recording, command: impl Fn(&str) -> Command) -> Result<(), Failure> {
    let status = recording.archive_status();
    for name in &recording.names {
        quiet(&mut command(&format!("pg_wal/{name}")))?;
        let renamed = fs::rename(status.join(format!("{name}.ready")), status.join(format!("{name}.done")));
        renamed.map_err(Failure::io(format!("mark `{name}` as done")))?;
    }
    Ok(())
}
