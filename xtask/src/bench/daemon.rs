//! The daemon beside the plain command: the same file, asked for in both ways.

use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::figure::{Comparison, Figure, Target, measure};
use super::stage::{Cluster, Codec, Stage, ends_with, quiet};
use crate::failure::Failure;
use crate::run::line;

/// It has to be better than what it stands for.
const TARGET: Target = Target::Ratio(1.0);

/// What `wal-fetch` ends with when the archive certainly lacks the file.
const ABSENT: i32 = 1;

/// A segment that no server of the benchmark ever comes to.
const NO_SEGMENT: &str = "0000000100000FFF00000000";

/// Longest wait until it listens.
const PATIENCE: Duration = Duration::from_secs(10);

/// Measures a push of this segment of the WAL directory, and a fetch that has nothing to do.
pub(super) fn measure_daemon(
    stage: &Stage<'_>,
    cluster: &Cluster,
    segment: &str,
    what: &str,
    runs: usize,
) -> Result<Vec<Figure>, Failure> {
    let socket = stage.home.join("daemon.socket").display().to_string();
    let _daemon = Daemon::start(stage, cluster, &socket)?;
    let segment = format!("pg_wal/{segment}");
    let plain = |arguments: &[&str]| stage.stillframe(cluster, Codec::Zstd, arguments);
    Ok(vec![
        measure(
            Comparison::new(format!("wal-push zstd by the daemon, {what}"), "wal-push zstd", TARGET),
            runs,
            || stage.forget(cluster),
            || by_the_daemon(stage, cluster, 0, &["wal-push", "--daemon", &socket, &segment]),
            || quiet(&mut plain(&["wal-push", &segment])),
        )?,
        measure(
            Comparison::new("wal-fetch of an absent file by the daemon", "wal-fetch", TARGET),
            runs,
            || Ok(()),
            || by_the_daemon(stage, cluster, ABSENT, &["wal-fetch", "--daemon", &socket, NO_SEGMENT, "pg_wal/RECOVERYXLOG"]),
            || ends_with(ABSENT, &mut plain(&["wal-fetch", NO_SEGMENT, "pg_wal/RECOVERYXLOG"])),
        )?,
    ])
}

/// Runs a client, and proves that the daemon did the work: a client that goes on without it says so.
fn by_the_daemon(stage: &Stage<'_>, cluster: &Cluster, code: i32, arguments: &[&str]) -> Result<(), Failure> {
    let mut command = stage.stillframe(cluster, Codec::Zstd, arguments);
    let output = command.stdin(Stdio::null()).output().map_err(Failure::io(format!("run `{}`", line(&command))))?;
    if output.status.code() == Some(code) && output.stderr.is_empty() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Failure::new(format!("`{}` was not served by the daemon: {said}", line(&command))))
}

/// A daemon that ends with this value.
struct Daemon(Child);

impl Daemon {
    fn start(stage: &Stage<'_>, cluster: &Cluster, socket: &str) -> Result<Self, Failure> {
        let mut command = stage.stillframe(cluster, Codec::Zstd, &["wal-daemon", socket]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let daemon = Self(command.spawn().map_err(Failure::io(format!("start `{}`", line(&command))))?);
        let begin = Instant::now();
        while !Path::new(socket).exists() {
            if begin.elapsed() > PATIENCE {
                return Err(Failure::new(format!("`{}` does not listen", line(&command))));
            }
            sleep(Duration::from_millis(10));
        }
        Ok(daemon)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Nothing of it is needed, and its files are removed with everything else.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
