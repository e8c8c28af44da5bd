//! A server's work, recorded: its data directory before, and every segment that it wrote afterwards.

use std::fs;
use std::path::{Path, PathBuf};

use super::stage::{Cluster, Stage, quiet, remove};
use crate::failure::Failure;
use crate::run::line;

/// Segments that a burst archives and a recovery replays.
pub(super) const SEGMENTS: usize = 200;

/// Rows per round: a round writes some ten segments.
const ROUND: usize = 500_000;

/// What was recorded.
pub(super) struct Recording {
    /// The data directory as it was before, shut down cleanly.
    pub(super) base: PathBuf,
    /// Where `cp` archived the segments.
    pub(super) plain: PathBuf,
    /// Their names, in order.
    pub(super) names: Vec<String>,
    /// Where all of them wait in `pg_wal`.
    pub(super) cluster: Cluster,
}

impl Recording {
    /// Runs a server until it has filled the segments.
    pub(super) fn make(stage: &Stage<'_>) -> Result<Self, Failure> {
        let (base, data, plain) = (stage.home.join("base"), stage.home.join("recorded"), stage.home.join("plain"));
        fs::create_dir(&plain).map_err(Failure::io(format!("create `{}`", plain.display())))?;
        stage.account.own(&plain)?;
        let server = stage.server(&data)?;
        let archive = line(stage.program("cp").arg("%p").arg(plain.join("%f")));
        // What the server flushes and when must not decide how long a replay takes.
        server.initialise(&format!(
            "fsync = off\nsynchronous_commit = off\nshared_buffers = 512MB\nmax_wal_size = 20GB\ncheckpoint_timeout = 1h\n\
             hot_standby = off\narchive_mode = on\narchive_command = '{}'\n",
            archive.replace('\'', "''")
        ))?;
        copy(stage, &data, &base)?;
        server.start()?;
        server.query("CREATE TABLE recorded (n bigint PRIMARY KEY, text text)")?;
        let mut round = 0;
        while segments(&plain)?.len() < SEGMENTS {
            let first = round * ROUND;
            server.query(&format!(
                "INSERT INTO recorded SELECT n, md5(n::text) FROM generate_series({first}, {}) n",
                first + ROUND - 1
            ))?;
            round += 1;
        }
        server.stop()?;
        let mut names = segments(&plain)?;
        for name in names.split_off(SEGMENTS) {
            fs::remove_file(plain.join(&name)).map_err(Failure::io(format!("remove `{name}`")))?;
        }
        remove(&data.join("pg_wal"))?;
        let behind = stage.home.join("behind");
        copy(stage, &base, &behind)?;
        // With the beginning of the first one in it.
        let pg_wal = behind.join("pg_wal");
        remove(&pg_wal)?;
        fs::create_dir(&pg_wal).map_err(Failure::io(format!("create `{}`", pg_wal.display())))?;
        stage.account.own(&pg_wal)?;
        for name in &names {
            let linked = fs::hard_link(plain.join(name), pg_wal.join(name));
            linked.map_err(Failure::io(format!("link `{name}`")))?;
        }
        let cluster = stage.cluster("behind", &behind)?;
        Ok(Self { base, plain, names, cluster })
    }

    /// Where the marks are of what waits.
    pub(super) fn archive_status(&self) -> PathBuf {
        self.cluster.data.join("pg_wal/archive_status")
    }

    /// Empties the archives, and marks every segment as ready.
    pub(super) fn fall_behind(&self, stage: &Stage<'_>) -> Result<(), Failure> {
        stage.forget(&self.cluster)?;
        let status = self.archive_status();
        remove(&status)?;
        fs::create_dir(&status).map_err(Failure::io(format!("create `{}`", status.display())))?;
        stage.account.own(&status)?;
        for name in &self.names {
            let ready = status.join(format!("{name}.ready"));
            fs::write(&ready, "").map_err(Failure::io(format!("write `{}`", ready.display())))?;
            stage.account.own(&ready)?;
        }
        Ok(())
    }
}

/// Copies a data directory.
pub(super) fn copy(stage: &Stage<'_>, from: &Path, to: &Path) -> Result<(), Failure> {
    quiet(stage.program("cp").args(["--archive"]).arg(from).arg(to))
}

fn segments(directory: &Path) -> Result<Vec<String>, Failure> {
    let entries = fs::read_dir(directory).map_err(Failure::io(format!("list `{}`", directory.display())))?;
    let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.retain(|name| name.len() == 24);
    names.sort();
    Ok(names)
}
