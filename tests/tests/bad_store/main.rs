//! Stores that are full, read-only, slow or dishonest, under every command, on real servers.
//!
//! What must hold: a failure has one of our codes and says why; nothing is called absent, archived or published that may not be;
//! backup mode ends; no snapshot is in no record; nothing is deleted on a doubt; and when the store is well, the next run is.
//!
//! | fault | push | wal | restore, window | delete, mark | reconcile | check |
//! |---|---|---|---|---|---|---|
//! | full, no inodes | disks: room for so many pages | `wal_faults` | `wal_faults` | disks: room is made | disks: afterwards | – |
//! | read-only disk | disks | `wal_faults` | disks | disks | disks | disks |
//! | dead disk (EIO) | real storage: `dying_disk` | the same | the same | the same | the same | the same |
//! | no rights to write, delete, list | rights | rights, `object_store` | rights | rights | rights | rights |
//! | 500, 503, 507 | slow: passing and lasting | `object_store`, store's repetition | slow | slow | slow | – |
//! | silent, trickling | slow: ends, backup mode too | slow | slow | slow | slow | – |
//! | reset, cut off, without a length | slow | store's faults, `object_store` | slow | – | – | – |
//! | another bit, a page for an object | lies: sentinel | core's wal, lies | lies | lies | lies | – |
//! | acknowledged and lost | lies, core's `lying_store` | – (1) | – | – | lies: finishes | – |
//! | listing lags, shows deleted | core's `lying_store` | – | – | core's `lying_store` | core's `lying_store` | – |
//! | listing endless, twice, of others | lies | lies | lies | lies | lies | – |
//! | conditions ignored | `object_store`: refused (2) | `wal_race` | – | – | – | lies |
//!
//! (1) A segment is acknowledged on the store's word; `wal-verify` and the wait of each backup find one that is missing.
//! (2) A server that stops to honour them later is told of by `check` only.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

mod disks;
mod lies;
mod rights;
mod slow;

use std::collections::BTreeSet;

use stillframe_tests::{ConfigFile, FaultProxy, Finished, OwnServer, Site, Stillframe};

/// A server whose store speaks S3, and the way to it that lies.
struct Remote {
    site: Site,
    proxy: FaultProxy,
    server: OwnServer,
    /// The binary on the way that lies.
    behind: Stillframe,
}

impl Remote {
    fn start() -> Self {
        use stillframe_tests::{Dialect, Precondition};
        let server = OwnServer::start(Dialect::S3, Precondition::Honoured);
        let site = Site::with_small_segments().own_s3(&server).value("backup", "archive_timeout_secs", 3).start();
        let proxy = FaultProxy::before(server.endpoint());
        let behind = site.configured(|config| impatient(config).value("store", "endpoint", proxy.endpoint()));
        Self { site, proxy, server, behind }
    }

    /// Objects and snapshots, without the leases, which every deletion takes.
    fn everything(&self) -> (Vec<(String, Vec<u8>)>, BTreeSet<String>) {
        let objects = self.server.objects().into_iter().filter(|(name, _)| !name.contains("/lease_001/"));
        (objects.collect(), self.site.snapshots())
    }
}

/// Tries nothing twice, so that a test of failures ends soon; and waits long enough for a server on a loaded machine.
fn impatient(config: ConfigFile) -> ConfigFile {
    config.value("store", "max_attempts", 1).value("store", "timeout_secs", 20).value("archive", "fetch_ahead", 0)
}

/// It failed with one of our codes, and says these words.
#[track_caller]
fn assert_says(what: &str, finished: &Finished, codes: &[i32], words: &str) {
    assert!(finished.code().is_some_and(|code| codes.contains(&code)), "{what}: {finished}");
    assert!(finished.stderr.contains("error:") && finished.stderr.contains(words), "{what}: `{words}`: {finished}");
}

/// Every snapshot is of a backup or of one that was announced, every backup has its snapshot, and nobody is in backup mode.
#[track_caller]
fn assert_accounted(what: &str, site: &Site) {
    site.wait_until_no_session_is_left();
    let (backups, intents) = (site.backups(), site.intents());
    let snapshots = site.snapshots();
    assert!(backups.iter().all(|name| snapshots.contains(name)), "{what}: sentinel_names_existing_snapshots: {backups:?}");
    let known: BTreeSet<String> = backups.into_iter().chain(intents).collect();
    assert!(snapshots.is_subset(&known), "{what}: no_unaccounted_snapshot: {snapshots:?} {known:?}");
}

/// After everything is well again, what was left is settled and the next backup is one.
#[track_caller]
fn assert_goes_on(what: &str, site: &Site) {
    let settled = site.stillframe.run(["reconcile", "--confirm"]);
    assert!(settled.is_success(), "{what}: {settled}");
    let name = site.backup(&[]);
    assert_accounted(what, site);
    assert!(site.backups().contains(&name), "{what}");
}
