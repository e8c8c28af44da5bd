//! A recovery from the archive: how fast a server replays the segments that `restore_command` gives it.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::figure::{Comparison, Figure, Target, milliseconds};
use super::recording::{Recording, SEGMENTS, copy};
use super::stage::{Codec, Stage, remove};
use crate::failure::Failure;
use crate::run::line;

/// Longest wait for the end of a recovery.
const DEADLINE: Duration = Duration::from_mins(15);

/// Too short to be seen in a figure.
const POLL: Duration = Duration::from_millis(1);

/// Measures it with our archive, which a burst has filled, and with `cp` from a directory of plain segments.
pub(super) fn measure_replay(stage: &Stage<'_>, recording: &Recording, runs: usize) -> Result<Figure, Failure> {
    let ours = line(&stage.stillframe(&recording.cluster, Codec::Zstd, &["wal-fetch", "%f", "%p"]));
    let copying = line(stage.program("cp").arg(recording.plain.join("%f")).arg("%p"));
    let (mut measured, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        measured.push(replay(stage, recording, &ours)?);
        beside.push(replay(stage, recording, &copying)?);
    }
    Ok(Figure::new(Comparison::new(format!("replay of {SEGMENTS} segments"), "cp", Target::Ratio(1.0)), "ms", measured, beside))
}

/// From the start of the server to the end of its recovery.
fn replay(stage: &Stage<'_>, recording: &Recording, restore_command: &str) -> Result<f64, Failure> {
    let data = stage.home.join("replayed");
    remove(&data)?;
    copy(stage, &recording.base, &data)?;
    let setting = format!("archive_mode = off\nrestore_command = '{}'\n", restore_command.replace('\'', "''"));
    let written = OpenOptions::new()
        .append(true)
        .open(data.join("postgresql.conf"))
        .and_then(|mut file| file.write_all(setting.as_bytes()))
        .and_then(|()| fs::write(data.join("recovery.signal"), ""));
    written.map_err(Failure::io("write the recovery settings"))?;
    stage.account.own(&data.join("recovery.signal"))?;
    let server = stage.server(&data)?;
    let time = milliseconds(&mut || {
        server.start()?;
        // Started, it has only begun.
        recovered(&data)
    })?;
    let rows = server.query("SELECT count(*) > 0 FROM recorded")?;
    server.stop()?;
    if rows == "t" { Ok(time) } else { Err(Failure::new("the replayed server has not what was recorded")) }
}

/// Waits until the server on this directory says in its lock file that it takes connections: without hot standby, after its recovery.
fn recovered(data: &Path) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        let file = data.join("postmaster.pid");
        let text = fs::read_to_string(&file).map_err(Failure::io(format!("read `{}`: the server has ended", file.display())))?;
        if text.lines().any(|line| line.trim() == "ready") {
            return Ok(());
        }
        if began.elapsed() > DEADLINE {
            return Err(Failure::new(format!("the recovery did not end within {} s", DEADLINE.as_secs())));
        }
        sleep(POLL);
    }
}
