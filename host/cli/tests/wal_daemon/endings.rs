//! What is left behind when a client or the daemon ends in the middle of a fetch.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Instant;

use crate::site::{SOON, Site, said, segment};

/// A pair of keys for tests.
const RECIPIENT: &str = "age1g9j5fuzgas3tavdfwqrt4tdhfjncx58dky2qv46x7prxcevtvcfqgpp2mj";
const IDENTITY: &str = "AGE-SECRET-KEY-1Y33XH0TTUSY6SAXJZJ3WPYNYSA6TH4FXZP2VKL497AM48N74U7TSSTZ2JW";

/// A program that prints the private key, and not before it may.
struct HeldKey {
    asked: PathBuf,
    allowed: PathBuf,
}

impl HeldKey {
    /// Archives segment 3 plain and segment 5 encrypted, and configures what decrypts it.
    fn configure(site: &Site) -> Self {
        let (program, asked, allowed) = (site.path("program"), site.path("asked"), site.path("allowed"));
        let (begun, held) = (asked.display(), allowed.display());
        let script = format!("#!/bin/sh\n: > '{begun}'\nuntil test -e '{held}'; do sleep 0.01; done\necho {IDENTITY}\n");
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, Permissions::from_mode(0o700)).unwrap();
        assert!(site.run(&["wal-push", &site.segment(3)]).status.success());
        site.configure("stillframe.toml", "store", &format!("[archive]\nrecipients = [\"{RECIPIENT}\"]\n"));
        assert!(site.run(&["wal-push", &site.segment(5)]).status.success());
        let more = format!("[archive]\nfetch_ahead = 0\nidentity_command = [\"{}\"]\n", program.display());
        site.configure("stillframe.toml", "store", &more);
        Self { asked, allowed }
    }

    /// A fetch of the encrypted segment, when it waits for the key.
    fn waiting_fetch(&self, site: &Site) -> Child {
        let socket = site.path("socket");
        let fetch = ["wal-fetch", "--daemon", socket.to_str().unwrap(), "000000010000000000000005", "pg_wal/RECOVERYXLOG"];
        let waiting = site.command(&fetch).spawn().unwrap();
        let begin = Instant::now();
        while !self.asked.exists() {
            assert!(begin.elapsed() < SOON, "nobody asks for the key");
            std::thread::yield_now();
        }
        waiting
    }

    fn give(&self) {
        std::fs::write(&self.allowed, "").unwrap();
    }
}

#[test]
fn a_fetch_of_a_client_that_has_died_gives_nothing_a_name() {
    let site = Site::new();
    let key = HeldKey::configure(&site);
    let daemon = site.daemon_with(&[("PATH", "/usr/bin:/bin".as_ref())]);
    // The server is stopped at once, and what recovers for it with it.
    let mut died = key.waiting_fetch(&site);
    died.kill().unwrap();
    died.wait().unwrap();
    // It is started again, and asks for another file in the same place.
    let fetched = site.through_daemon(&["wal-fetch", "000000010000000000000003", "pg_wal/RECOVERYXLOG"]);
    assert_eq!((fetched.status.code(), said(&fetched)), (Some(0), String::new()));
    key.give();
    // Its end waits for all that it still works on.
    daemon.ends();
    assert!(std::fs::read(site.path("data/pg_wal/RECOVERYXLOG")).unwrap() == segment(3), "another segment has taken its place");
}

#[test]
fn of_two_fetches_to_one_place_the_later_one_counts() {
    let site = Site::new();
    let key = HeldKey::configure(&site);
    let daemon = site.daemon_with(&[("PATH", "/usr/bin:/bin".as_ref())]);
    let mut earlier = key.waiting_fetch(&site);
    let connected = daemon.sockets();
    let socket = site.path("socket");
    let fetch = ["wal-fetch", "--daemon", socket.to_str().unwrap(), "000000010000000000000003", "pg_wal/RECOVERYXLOG"];
    let mut later = site.command(&fetch).spawn().unwrap();
    let begin = Instant::now();
    while daemon.sockets() <= connected && later.try_wait().unwrap().is_none() {
        assert!(begin.elapsed() < SOON, "it never asks");
    }
    key.give();
    assert!(earlier.wait().unwrap().success() && later.wait().unwrap().success());
    daemon.ends();
    assert!(std::fs::read(site.path("data/pg_wal/RECOVERYXLOG")).unwrap() == segment(3), "the earlier one has taken its place");
}

#[test]
fn a_daemon_that_ends_leaves_no_prefetched_segments_behind() {
    let site = Site::new();
    let spool = site.path("spool");
    site.configure("stillframe.toml", "store", &format!("[archive]\nspool = \"{}\"\n", spool.display()));
    for number in 3..12 {
        assert!(site.run(&["wal-push", &site.segment(number)]).status.success());
    }
    for _ in 0..10 {
        let daemon = site.daemon();
        let fetched = site.through_daemon(&["wal-fetch", "000000010000000000000003", "pg_wal/RECOVERYXLOG"]);
        assert_eq!((fetched.status.code(), said(&fetched)), (Some(0), String::new()));
        let begin = Instant::now();
        while prefetched(&spool).is_empty() {
            assert!(begin.elapsed() < SOON, "nothing is prefetched");
        }
        daemon.ends();
        assert_eq!(prefetched(&spool), Vec::<PathBuf>::new());
    }
}

/// Segments that lie in the spool, or are on their way there.
fn prefetched(spool: &Path) -> Vec<PathBuf> {
    let below = |directory: PathBuf| std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let places = below(spool.to_owned()).flat_map(below);
    let fetched = places.filter(|place| place.file_name().unwrap().to_string_lossy().starts_with("fetched-"));
    fetched.flat_map(below).filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("00000001")).collect()
}
