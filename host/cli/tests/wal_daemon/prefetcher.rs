//! The process that fetches ahead when there is no daemon.

use std::fs::File;
use std::path::PathBuf;

use std::time::Instant;

use rustix::io::{FdFlags, fcntl_setfd};

use crate::site::{SOON, Site, said};

/// The process that fetches ahead for a site; it is not our child.
struct Prefetcher {
    process: PathBuf,
}

impl Prefetcher {
    fn find(site: &Site) -> Self {
        let begin = Instant::now();
        while begin.elapsed() < SOON {
            if let Some(found) = Self::look_for(site) {
                return found;
            }
        }
        panic!("nothing is prefetched");
    }

    fn look_for(site: &Site) -> Option<Self> {
        let config = site.path("stillframe.toml");
        let mut processes = std::fs::read_dir("/proc").unwrap().map(|entry| Self { process: entry.unwrap().path() });
        processes.find(|found| {
            let line = found.command_line();
            line.contains("\0wal-prefetch\0") && line.contains(config.to_str().unwrap())
        })
    }

    /// Empty when it has ended.
    fn command_line(&self) -> String {
        std::fs::read_to_string(self.process.join("cmdline")).unwrap_or_default()
    }

    fn open_files(&self) -> Vec<PathBuf> {
        let descriptors = std::fs::read_dir(self.process.join("fd")).unwrap();
        descriptors.filter_map(|descriptor| std::fs::read_link(descriptor.unwrap().path()).ok()).collect()
    }
}

#[test]
fn the_prefetcher_keeps_nothing_of_the_server_and_ends_with_it() {
    let site = Site::new();
    site.configure("stillframe.toml", "store", &format!("[archive]\nspool = \"{}\"\n", site.path("spool").display()));
    for number in 3..9 {
        assert!(site.run(&["wal-push", &site.segment(number)]).status.success());
    }
    std::fs::write(site.path("data/postmaster.pid"), format!("{}\n", std::process::id())).unwrap();
    std::fs::write(site.path("data/relation"), "").unwrap();
    // As PostgreSQL hands on its files to what it starts, with several under one number or another.
    let files = [(); 3].map(|()| File::open(site.path("data/relation")).unwrap());
    for file in &files {
        fcntl_setfd(file, FdFlags::empty()).unwrap();
    }
    let fetched = site.run(&["wal-fetch", "000000010000000000000003", "pg_wal/RECOVERYXLOG"]);
    drop(files);
    assert!(fetched.status.success(), "{fetched:?}");
    let prefetcher = Prefetcher::find(&site);
    // It has looked for the server before it opens anything in the spool.
    let begin = Instant::now();
    while !prefetcher.open_files().iter().any(|file| file.starts_with(site.path("spool"))) {
        assert!(begin.elapsed() < SOON, "it never works");
    }
    let data = site.path("data").canonicalize().unwrap();
    let kept: Vec<PathBuf> = prefetcher.open_files().into_iter().filter(|file| file.starts_with(&data)).collect();
    assert!(kept.is_empty(), "{kept:?}");
    // Without anybody who takes the segments it would wait much longer.
    let begin = Instant::now();
    std::fs::remove_file(site.path("data/postmaster.pid")).unwrap();
    while !prefetcher.command_line().is_empty() {
        assert!(begin.elapsed() < SOON / 2, "it goes on without its server");
        std::thread::yield_now();
    }
}

#[test]
fn nothing_is_left_to_a_server_that_is_process_1_for_it_would_take_its_death_for_a_crash() {
    let site = Site::new();
    site.configure("stillframe.toml", "store", &format!("[archive]\nspool = \"{}\"\n", site.path("spool").display()));
    for number in 3..6 {
        assert!(site.run(&["wal-push", &site.segment(number)]).status.success());
    }
    std::fs::write(site.path("data/postmaster.pid"), format!("1\n{}\n", site.path("data").display())).unwrap();
    let fetch = ["-v", "wal-fetch", "000000010000000000000003", "pg_wal/RECOVERYXLOG"];
    let fetched = site.run(&fetch);
    assert_eq!(fetched.status.code(), Some(0));
    assert_eq!(said(&fetched).matches("the server is process 1").count(), 1, "{}", said(&fetched));
    assert!(Prefetcher::look_for(&site).is_none());
    std::fs::write(site.path("data/postmaster.pid"), "10\n").unwrap();
    assert!(!said(&site.run(&fetch)).contains("process 1"));
    Prefetcher::find(&site);
    std::fs::remove_file(site.path("data/postmaster.pid")).unwrap();
}

#[test]
fn a_prefetcher_that_fails_ends_without_a_code_and_nobody_takes_it_for_a_push() {
    let site = Site::new();
    let destination = site.path("data/pg_wal/RECOVERYXLOG");
    let destination = destination.to_str().unwrap();
    let good = ["wal-prefetch", "000000010000000000000003", "16777216", destination];
    let code = |config: &str, arguments: &[&str]| site.configured(config, arguments).output().unwrap().status.code();
    assert_eq!(code("absent.toml", &good), Some(0), "no configuration");
    site.configure("gone.toml", "gone", "");
    std::fs::remove_dir_all(site.path("gone")).unwrap();
    assert_eq!(code("gone.toml", &good), Some(0), "no store");
    for bad in [["wal-prefetch", "3", "16777216", destination], ["wal-prefetch", good[1], "17", destination]] {
        assert_eq!(code("stillframe.toml", &bad), Some(0), "{bad:?}");
    }
    assert_eq!(code("stillframe.toml", &[&good[..], &["--of-a-later-version", "x"]].concat()), Some(0));
    assert_eq!(code("stillframe.toml", &["wal-prefetch", &site.segment(3)]), Some(2), "an archive_command");
    assert_eq!(code("stillframe.toml", &["wal-prefetch", good[1], destination]), Some(202), "a restore_command");
}
