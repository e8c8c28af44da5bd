//! A whole installation: a server that archives through the binary, a store, and a provider with its snapshots.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{
    Account, BUCKET, Cluster, ClusterBuilder, ConfigFile, Finished, ObjectStoreServer, OwnServer, ScratchDirectory, Stillframe,
    file_name, files, places, tested_major,
};

/// Length of a segment's name, with which the names of the files about it begin.
pub(crate) const SEGMENT_DIGITS: usize = 24;

/// Behind everything that says whose segment it is.
const FORGED_BYTE: usize = 5000;

/// Where a store on S3 lies in its bucket.
const S3_PREFIX: &str = "an/archive";

/// What the provider leaves beside the snapshots, by which it tells their directory from that under a missing mount.
const SNAPSHOTS_MARKER: &str = "stillframe-snapshots.json";

/// What a new installation shall be.
#[must_use]
pub struct SiteBuilder {
    cluster: ClusterBuilder,
    config: ConfigFile,
    variables: Vec<(String, String)>,
    has_hardlink: bool,
    name_end: String,
}

impl SiteBuilder {
    /// Changes the cluster.
    pub fn cluster(mut self, change: impl FnOnce(ClusterBuilder) -> ClusterBuilder) -> Self {
        self.cluster = change(self.cluster);
        self
    }

    /// Sets a key of the configuration.
    pub fn value(mut self, table: &str, key: &str, value: impl Into<toml::Value>) -> Self {
        self.config = self.config.value(table, key, value);
        self
    }

    /// Sets a variable in the environment of the binary, be it called by the test or by a server.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lets the name of the directory of configuration, store, snapshots and restores end like this.
    pub fn in_directory_ending(mut self, end: &str) -> Self {
        end.clone_into(&mut self.name_end);
        self
    }

    /// Leaves the provider out that every installation has: a provider that never had a backup does not answer `reconcile`.
    pub fn without_hardlink(mut self) -> Self {
        self.has_hardlink = false;
        self
    }

    /// Keeps the store in a server that speaks S3, whose credentials the test has to name.
    pub fn s3(self, server: &ObjectStoreServer) -> Self {
        let url = format!("s3://{BUCKET}/{S3_PREFIX}");
        // Nobody shall look for an instance that gives credentials.
        self.value("store", "url", url).value("store", "endpoint", server.endpoint()).variable("AWS_EC2_METADATA_DISABLED", "true")
    }

    /// Keeps the store in our own server of objects.
    pub fn own_s3(self, server: &OwnServer) -> Self {
        let url = format!("s3://{BUCKET}/{S3_PREFIX}");
        let site = self.value("store", "url", url).value("store", "endpoint", server.endpoint());
        let keys = [("AWS_EC2_METADATA_DISABLED", "true"), ("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", "B")];
        keys.into_iter().fold(site, |site, (name, value)| site.variable(name, value))
    }

    /// Starts the server, with an empty store.
    #[track_caller]
    pub fn start(self) -> Site {
        let directory = ScratchDirectory::create_ending_with(&self.name_end);
        let mut stillframe = Stillframe::new(directory.join("stillframe.toml"));
        let mut cluster = self.cluster.archive_command(&stillframe.command_line("wal-push %p")).create();
        let snapshots = directory.join("snapshots");
        Account::unprivileged().create_directory(&snapshots);
        let cache = places::compiled_cache().display().to_string();
        let config = self.config.cluster("main", &cluster).default_value("runtime", "cache", cache);
        let hardlink = |config: ConfigFile| config.default_value("provider.hardlink", "root", snapshots.display().to_string());
        let config = if self.has_hardlink { hardlink(config) } else { config };
        let config = config.default_value("store", "url", format!("file://{}", directory.join("store").display()));
        let config = config.default_value("archive", "spool", directory.join("spool").display().to_string());
        let config = config.default_value("session", "directory", directory.join("sessions").display().to_string());
        config.write(directory.path());
        for (name, value) in &self.variables {
            stillframe = stillframe.env(name, value);
            cluster.set_variable(name, value);
        }
        stillframe.succeed(["store", "create"]);
        cluster.start();
        Site { cluster, stillframe, directory, config, variables: self.variables }
    }
}

/// A server that archives, a store, and the hardlink provider. The server goes before its directories.
pub struct Site {
    /// The server.
    pub cluster: Cluster,
    /// The binary with the configuration of this installation.
    pub stillframe: Stillframe,
    /// Where everything but the data lies.
    pub directory: ScratchDirectory,
    config: ConfigFile,
    variables: Vec<(String, String)>,
}

impl Site {
    /// Describes an installation of this major version.
    pub fn builder(major: u32) -> SiteBuilder {
        let (cluster, config) = (Cluster::builder(major), ConfigFile::new());
        SiteBuilder { cluster, config, variables: Vec::new(), has_hardlink: true, name_end: String::new() }
    }

    /// Starts an installation of this major version.
    #[track_caller]
    pub fn start(major: u32) -> Self {
        Self::builder(major).start()
    }

    /// Describes an installation with the smallest segments that its version has, and a server that writes nothing by itself.
    pub fn with_small_segments() -> SiteBuilder {
        Self::builder(tested_major()).cluster(|cluster| cluster.small_segments().setting("autovacuum", "off"))
    }

    /// The binary with another configuration of the same installation.
    pub fn configured(&self, change: impl FnOnce(ConfigFile) -> ConfigFile) -> Stillframe {
        let directory = tempfile::Builder::new().prefix("config-").tempdir_in(self.directory.path()).unwrap().keep();
        Account::unprivileged().own(&directory);
        self.stillframe.with_config(change(self.config.clone()).write(&directory))
    }

    /// Names the programs of the server for drills, where they are not those of a distribution, which are found by their version.
    pub fn name_programs_of_drills(&mut self) {
        let programs = self.cluster.postgres().binaries.clone();
        if !programs.starts_with("/usr/lib/postgresql") {
            self.reconfigure(|config| config.value("drill", "bindir", programs.display().to_string()));
        }
    }

    /// Changes the configuration of the installation itself, which the server's commands read as well.
    pub fn reconfigure(&mut self, change: impl FnOnce(ConfigFile) -> ConfigFile) {
        self.config = change(self.config.clone());
        self.config.write(self.directory.path());
    }

    /// Takes a backup; gives its name.
    #[track_caller]
    pub fn backup(&self, arguments: &[&str]) -> String {
        self.backup_by("hardlink", arguments)
    }

    /// Takes a backup with this provider; gives its name.
    #[track_caller]
    pub fn backup_by(&self, provider: &str, arguments: &[&str]) -> String {
        let mut all = vec!["--json", "snapshot-push", "--provider", provider];
        all.extend(arguments);
        let result = self.stillframe.succeed(all).json();
        result["backup_name"].as_str().expect("a name").to_owned()
    }

    /// Everything about one backup.
    #[track_caller]
    pub fn show(&self, name: &str) -> Value {
        self.stillframe.succeed(["--json", "backup-show", name]).json()
    }

    /// Names of the backups, oldest first.
    #[track_caller]
    pub fn backups(&self) -> Vec<String> {
        names(&self.listing()["backups"])
    }

    /// Names of the backups that were announced and are not published.
    #[track_caller]
    pub fn intents(&self) -> Vec<String> {
        names(&self.listing()["intents"])
    }

    #[track_caller]
    fn listing(&self) -> Value {
        self.stillframe.succeed(["--json", "backup-list"]).json()
    }

    /// A path for a restore.
    pub fn place(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Restores to a place of this name, with further arguments.
    #[track_caller]
    pub fn fetch(&self, name: &str, arguments: &[&str]) -> Finished {
        let place = self.place(name).display().to_string();
        let mut all = vec!["snapshot-fetch", place.as_str()];
        all.extend(arguments);
        self.stillframe.run(all)
    }

    /// Restores, starts a server there, and waits until it takes writes.
    #[track_caller]
    pub fn restore(&self, name: &str, arguments: &[&str]) -> Cluster {
        let finished = self.fetch(name, arguments);
        assert!(finished.is_success(), "{finished}");
        self.recover(name)
    }

    /// Says that what was restored to a place of this name needs its backup no more.
    #[track_caller]
    pub fn release(&self, name: &str) {
        self.stillframe.succeed(["snapshot-release", &self.place(name).display().to_string()]);
    }

    /// Starts a server on a restored place, and waits until it takes writes.
    #[track_caller]
    pub fn recover(&self, name: &str) -> Cluster {
        let mut restored = self.adopt(name);
        restored.start();
        restored.wait_until_recovered();
        restored
    }

    /// A server on a restored place; not started.
    pub fn adopt(&self, name: &str) -> Cluster {
        let mut cluster = Cluster::adopt(self.place(name), self.cluster.postgres().major);
        for (name, value) in &self.variables {
            cluster.set_variable(name, value);
        }
        cluster
    }

    /// Ends the current segment and waits until it is in the archive; gives its name.
    #[track_caller]
    pub fn switch_wal(&self) -> String {
        let file = self.cluster.switch_wal();
        self.cluster.wait_until_archived(&file);
        file
    }

    /// Archives a segment; gives a copy of what the server wrote, which recycles its own.
    #[track_caller]
    pub fn archived_segment(&self) -> PathBuf {
        let file = self.switch_wal();
        let written = fs::read(self.cluster.data_directory().join("pg_wal").join(&file));
        let copy = self.place(&file);
        Account::unprivileged().write(&copy, written.unwrap_or_else(|error| panic!("{file} is gone already: {error}")));
        copy
    }

    /// Names of the files in the WAL archive, without the extension of their compression.
    pub fn archived(&self) -> BTreeSet<String> {
        let names = entries(&self.directory.join("store/main/wal_005")).into_iter();
        names.map(|name| name.trim_end_matches(".zst").to_owned()).collect()
    }

    /// A copy of a segment with other content under the same name: one byte in the middle of a page.
    #[track_caller]
    pub fn forged(&self, segment: &Path) -> PathBuf {
        let mut content = fs::read(segment).unwrap_or_else(|error| panic!("{}: {error}", segment.display()));
        content[FORGED_BYTE] ^= 0xFF;
        let directory = self.place("forged");
        Account::unprivileged().create_directory(&directory);
        let copy = directory.join(file_name(segment));
        Account::unprivileged().write(&copy, content);
        copy
    }

    /// What must be left of the archive when these backups stay, from their records and the names of the files alone: recovery
    /// from an ordinary backup needs everything from its first file on, a permanent one its own files, and histories always stay.
    /// For an archive of one timeline.
    #[track_caller]
    pub fn wal_needed_by(&self, ordinary: &[&str], permanent: &[&str]) -> BTreeSet<String> {
        let file = |name: &str, key: &str| self.show(name)[key].as_str().expect("a file name").to_owned();
        let open = ordinary.iter().map(|name| (file(name, "first_wal_file"), None));
        let closed = permanent.iter().map(|name| (file(name, "first_wal_file"), Some(file(name, "last_wal_file"))));
        let ranges: Vec<(String, Option<String>)> = open.chain(closed).collect();
        let is_needed = |name: &String| {
            let segment = name.get(..SEGMENT_DIGITS);
            let within = |(first, last): &(String, Option<String>)| {
                segment.is_some_and(|segment| segment >= first.as_str() && last.as_deref().is_none_or(|last| segment <= last))
            };
            name.ends_with(".history") || ranges.iter().any(within)
        };
        self.archived().into_iter().filter(is_needed).collect()
    }

    /// Names of the snapshot sets that the provider keeps.
    pub fn snapshots(&self) -> BTreeSet<String> {
        let mut names = entries(&self.directory.join("snapshots"));
        names.remove(SNAPSHOTS_MARKER);
        names
    }

    /// Every file of store and snapshots with its content, for comparing before and after; but not the lease, which each deletion
    /// takes.
    pub fn everything(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let paths = ["snapshots", "store"].into_iter().flat_map(|directory| files(&self.directory.join(directory)));
        let is_lease = |path: &PathBuf| path.components().any(|part| part.as_os_str() == "lease_001");
        paths.filter(|path| !is_lease(path)).map(|path| (path.clone(), fs::read(&path).unwrap_or_default())).collect()
    }

    /// Sessions of ours on the server. Backup mode belongs to its session: without one there is no backup mode.
    #[track_caller]
    pub fn wait_until_no_session_is_left(&self) {
        self.cluster.wait_until("SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'stillframe'");
    }
}

fn names(list: &Value) -> Vec<String> {
    let entries = list.as_array().expect("a list").iter();
    entries.map(|entry| entry["backup_name"].as_str().expect("a name").to_owned()).collect()
}

fn entries(directory: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(directory) else { return BTreeSet::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
