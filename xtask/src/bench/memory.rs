//! Peak memory of one call, against what the documentation promises: 64 MiB and two segments per worker.

use std::fs;

use super::figure::{Comparison, Figure, Target};
use super::recording::Recording;
use super::stage::{Cluster, Codec, Stage, quiet};
use crate::failure::Failure;

/// Workers of a call by default.
const WORKERS: usize = 4;

/// The promise, in MiB, for segments of 16 MiB.
const PROMISED: usize = 64 + 2 * 16 * WORKERS;

/// Measures a push that takes other ready segments along, and a fetch.
pub(super) fn measure_memory(stage: &Stage<'_>, recording: &Recording) -> Result<Vec<Figure>, Failure> {
    let (cluster, first) = (&recording.cluster, &recording.names[0]);
    let mut figures = Vec::new();
    for codec in [Codec::Zstd, Codec::Lz4] {
        recording.fall_behind(stage)?;
        let pushed = peak(stage, cluster, codec, &["wal-push", &format!("pg_wal/{first}")])?;
        figures.push(figure(&format!("peak memory of wal-push {} with {WORKERS} workers", codec.name()), pushed));
    }
    let destination = stage.home.join("fetched").display().to_string();
    let fetched = peak(stage, cluster, Codec::Lz4, &["wal-fetch", first, &destination])?;
    figures.push(figure("peak memory of wal-fetch", fetched));
    Ok(figures)
}

#[expect(clippy::cast_precision_loss, reason = "mebibytes of memory are few")]
fn figure(name: &str, mebibytes: f64) -> Figure {
    let promise = Comparison::new(name, "the promise", Target::Ratio(1.0));
    Figure::new(promise, "MiB", vec![mebibytes], vec![PROMISED as f64])
}

fn peak(stage: &Stage<'_>, cluster: &Cluster, codec: Codec, arguments: &[&str]) -> Result<f64, Failure> {
    let report = stage.home.join("peak");
    let inner = stage.stillframe(cluster, codec, arguments);
    let mut command = stage.program("time");
    command.args(["--format=%M", "--output"]).arg(&report).arg(inner.get_program()).args(inner.get_args());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(&cluster.data);
    quiet(&mut command)?;
    let text = fs::read_to_string(&report).map_err(Failure::io(format!("read `{}`", report.display())))?;
    let kibibytes: f64 = text.trim().parse().map_err(|_| Failure::new(format!("`{}` is no amount of memory", text.trim())))?;
    Ok(kibibytes / 1024.0)
}
