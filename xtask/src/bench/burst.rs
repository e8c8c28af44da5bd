//! A burst of ready segments: how fast an archiver that fell behind catches up.
//!
//! What PostgreSQL's archiver does is done here: one call per segment, in order, and the mark of the segment changed after each.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::figure::{Comparison, Figure, Target, measure};
use super::recording::{Recording, SEGMENTS};
use super::stage::{Codec, Stage, quiet};
use crate::failure::Failure;

/// Measures it; leaves the segments in our archive.
pub(super) fn measure_bursts(stage: &Stage<'_>, recording: &Recording, runs: usize) -> Result<Vec<Figure>, Failure> {
    let data = stage.home.join("burst");
    recording.with_ready_segments(stage, &data)?;
    let cluster = stage.cluster("burst", &data)?;
    let mut figures = Vec::new();
    for codec in [Codec::Lz4, Codec::Zstd] {
        let before = || {
            stage.forget(&cluster)?;
            recording.with_ready_segments(stage, &data)
        };
        let ours = |path: &str| stage.stillframe(&cluster, codec, &["wal-push", path]);
        let peers = |path: &str| stage.peer(&cluster, codec, &["--archive-async", "archive-push", path]);
        figures.push(measure(
            Comparison::new(
                format!("{SEGMENTS} ready segments, {}", codec.name()),
                format!("pgBackRest asynchronous {}", codec.name()),
                Target::Ratio(0.7),
            ),
            runs,
            before,
            || archive_all(recording, &data, ours),
            || archive_all(recording, &data, peers),
        )?);
    }
    stage.forget(&cluster)?;
    recording.with_ready_segments(stage, &data)?;
    archive_all(recording, &data, |path| stage.stillframe(&cluster, Codec::Zstd, &["wal-push", path]))?;
    Ok(figures)
}

fn archive_all(recording: &Recording, data: &Path, command: impl Fn(&str) -> Command) -> Result<(), Failure> {
    let status = data.join("pg_wal/archive_status");
    for name in &recording.names {
        quiet(&mut command(&format!("pg_wal/{name}")))?;
        let renamed = fs::rename(status.join(format!("{name}.ready")), status.join(format!("{name}.done")));
        renamed.map_err(Failure::io(format!("mark `{name}` as done")))?;
    }
    Ok(())
}
