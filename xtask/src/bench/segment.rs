//! One segment, archived and restored synchronously: what a server waits for when it archives one at a time.
//!
//! Three contents (rows of a table, random bytes, rows in the first half and nothing in the second) and two sizes of segments.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::daemon::measure_daemon;
use super::figure::{Comparison, Figure, Target, measure};
use super::stage::{Cluster, Codec, Stage, quiet};
use crate::failure::Failure;

/// Bytes of the first page, whose header both programs look at.
const PAGE: usize = 8192;

/// What a segment is filled with.
const CONTENTS: [&str; 3] = ["rows", "random", "half-empty"];

/// Measures every content in segments of this size.
pub(super) fn measure_segments(stage: &Stage<'_>, mebibytes: usize, runs: usize) -> Result<Vec<Figure>, Failure> {
    let name = format!("segments{mebibytes}");
    let data = stage.home.join(&name);
    let full = full_segment(stage, &data, mebibytes)?;
    let cluster = stage.cluster(&name, &data)?;
    let mut figures = Vec::new();
    for content in CONTENTS {
        let path = fill(stage, &data, &full, content)?;
        figures.extend(pushes(stage, &cluster, &path, &format!("{mebibytes} MiB of {content}"), runs)?);
        figures.push(fetch(stage, &cluster, &path, &format!("{mebibytes} MiB of {content}"), runs)?);
        if content == CONTENTS[0] {
            let segment = full.file_name().unwrap_or_default().to_string_lossy();
            figures.extend(measure_daemon(stage, &cluster, &segment, &format!("{mebibytes} MiB of {content}"), runs)?);
        }
    }
    Ok(figures)
}

fn pushes(stage: &Stage<'_>, cluster: &Cluster, path: &Path, what: &str, runs: usize) -> Result<Vec<Figure>, Failure> {
    let segment = path.display().to_string();
    let copy = stage.home.join("compressed").display().to_string();
    let push = |codec: Codec| quiet(&mut stage.stillframe(cluster, codec, &["wal-push", &segment]));
    let peer = |codec: Codec| quiet(&mut stage.peer(cluster, codec, &["archive-push", &segment]));
    let synced = |program: &str, arguments: &[&str]| {
        quiet(stage.program(program).args(arguments))?;
        quiet(stage.program("sync").arg(&copy))
    };
    let forget = || stage.forget(cluster);
    let zstd = || synced("zstd", &["-1", "--quiet", "--force", &segment, "-o", &copy]);
    let cp = || synced("cp", &[&segment, &copy]);
    let against = |name: &str, reference: &str, target| Comparison::new(format!("{name}, {what}"), reference, target);
    let beside_the_peer = |ours: &str, peers: &str, codec: Codec| {
        measure(against(ours, peers, Target::Ratio(0.5)), runs, forget, || push(codec), || peer(codec))
    };
    Ok(vec![
        beside_the_peer("wal-push as it is", "pgBackRest as it is", Codec::Default)?,
        beside_the_peer("wal-push zstd", "pgBackRest zst", Codec::Zstd)?,
        measure(against("wal-push zstd", "zstd -1, sync", Target::Ratio(1.2)), runs, forget, || push(Codec::Zstd), zstd)?,
        beside_the_peer("wal-push lz4", "pgBackRest lz4", Codec::Lz4)?,
        measure(against("wal-push zstd", "cp, sync", Target::Untargeted), runs, forget, || push(Codec::Zstd), cp)?,
    ])
}

fn fetch(stage: &Stage<'_>, cluster: &Cluster, path: &Path, what: &str, runs: usize) -> Result<Figure, Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let destination = stage.home.join("fetched").display().to_string();
    stage.forget(cluster)?;
    quiet(&mut stage.stillframe(cluster, Codec::Zstd, &["wal-push", &path.display().to_string()]))?;
    quiet(&mut stage.peer(cluster, Codec::Zstd, &["archive-push", &path.display().to_string()]))?;
    let figure = measure(
        Comparison::new(format!("wal-fetch zstd, {what}"), "pgBackRest zst", Target::Untargeted),
        runs,
        || Ok(()),
        || quiet(&mut stage.stillframe(cluster, Codec::Zstd, &["wal-fetch", &name, &destination])),
        || quiet(&mut stage.peer(cluster, Codec::Zstd, &["archive-get", &name, &destination])),
    )?;
    let same = fs::read(path).ok() == fs::read(&destination).ok();
    if same { Ok(figure) } else { Err(Failure::new(format!("`{name}` did not come back as it was"))) }
}

/// A segment of this content, in a directory of its own, under the name of the full one.
fn fill(stage: &Stage<'_>, data: &Path, full: &Path, content: &str) -> Result<PathBuf, Failure> {
    let directory = data.join(content);
    fs::create_dir(&directory).map_err(Failure::io(format!("create `{}`", directory.display())))?;
    let path = directory.join(full.file_name().unwrap_or_default());
    let mut bytes = fs::read(full).map_err(Failure::io(format!("read `{}`", full.display())))?;
    let middle = bytes.len() / 2;
    match content {
        "random" => {
            let random = File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes[PAGE..]));
            random.map_err(Failure::io("read random bytes"))?;
        }
        "half-empty" => bytes[middle..].fill(0),
        _ => {}
    }
    fs::write(&path, bytes).map_err(Failure::io(format!("write `{}`", path.display())))?;
    stage.account.own(&directory)?;
    stage.account.own(&path)?;
    Ok(path)
}

/// Runs a server long enough to fill a segment, and returns the path of the first full one.
fn full_segment(stage: &Stage<'_>, data: &Path, mebibytes: usize) -> Result<PathBuf, Failure> {
    let server = stage.server(data)?;
    server.initialise_with(&[&format!("--wal-segsize={mebibytes}")], "fsync = off\nwal_keep_size = 512MB\nmax_wal_size = 2GB\n")?;
    server.start()?;
    server.query("CREATE TABLE filler AS SELECT n, md5(n::text) AS text FROM generate_series(1, 10000) n")?;
    let segment = server.query(&format!("SELECT pg_walfile_name(pg_switch_wal() + {})", mebibytes << 20))?;
    server
        .query(&format!("CREATE TABLE more AS SELECT n, md5(n::text) AS text FROM generate_series(1, {}) n", mebibytes * 30_000))?;
    server.stop()?;
    Ok(data.join("pg_wal").join(segment))
}
