//! Finished segments of a real server that nobody has archived yet, and archives to push them to.
//!
//! The server is gone and its data directory is left as a crash leaves it, with `pg_wal/archive_status` full of `.ready`: a test
//! calls `wal-push` and `wal-fetch` itself, as often, as parallel and as rudely as it likes.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cluster::BUILT_IN_SEGMENT_MIB;
use crate::site::SEGMENT_DIGITS;
use crate::{Account, Cluster, ConfigFile, Running, ScratchDirectory, SmallDisk, Stillframe, file_name, files, tested_major};

/// Begins the names of files that no key can name: what a writer has not finished, and the mark of a store.
const HIDDEN: char = '.';
/// Makes a directory a store; it stays.
const STORE_MARKER: &str = ".stillframe-store";

/// Segments that wait for being archived.
#[derive(Debug)]
pub struct Backlog {
    cluster: Cluster,
    segment_mib: u32,
    segments: Vec<String>,
}

impl Backlog {
    /// Writes this many segments of this size: a third hardly compressible, a third well compressible, a third nearly empty.
    #[track_caller]
    pub fn write(segment_mib: u32, count: usize) -> Self {
        Self::write_each(segment_mib, count, |number| [(90, 0), (0, 60), (5, 0)][number % 3])
    }

    /// Writes segments that hardly compress, all nearly full.
    #[track_caller]
    pub fn write_incompressible(segment_mib: u32, count: usize) -> Self {
        Self::write_each(segment_mib, count, |_| (90, 0))
    }

    /// Fills each with so many percent of noise and of words.
    #[track_caller]
    fn write_each(segment_mib: u32, count: usize, content: impl Fn(usize) -> (u64, u64)) -> Self {
        // Before 11, their size is built into the server.
        let segment_mib = if tested_major() >= 11 { segment_mib } else { BUILT_IN_SEGMENT_MIB };
        // An empty command: segments become ready, and the server waits for somebody who takes them.
        let mut cluster = Cluster::builder(tested_major())
            .wal_segment_size(segment_mib)
            .archive_command("")
            .setting("autovacuum", "off")
            .setting("wal_compression", "off")
            .start();
        let session = cluster.session();
        // The cheapest source of noise that the server has without an extension.
        let is_cheap = tested_major() >= 13;
        let noise_of_16_bytes = if is_cheap { "uuid_send(gen_random_uuid())" } else { "decode(md5(random()::text), 'hex')" };
        for number in 0..count {
            let (noise, words) = content(number);
            let bytes = |percent: u64| u64::from(segment_mib) * (1 << 20) * percent / 100;
            session.sql(&format!(
                "SELECT pg_logical_emit_message(false, 'noise', string_agg({noise_of_16_bytes}, ''::bytea)) FROM generate_series(1, {});
                 SELECT pg_logical_emit_message(false, 'words', repeat('all work and no play ', {}));
                 SELECT pg_switch_wal()",
                bytes(noise) / 16 + 1,
                bytes(words) / 21 + 1
            ));
        }
        drop(session);
        cluster.kill9();
        let segments = ready(cluster.data_directory());
        assert!(segments.len() >= count, "{count} segments were written and {} are ready", segments.len());
        Self { cluster, segment_mib, segments }
    }

    /// Takes the marks away by which a push could find the other segments: each one is archived only when it is named.
    #[must_use]
    pub fn without_marks(self) -> Self {
        for segment in &self.segments {
            let mark = self.cluster.data_directory().join("pg_wal/archive_status").join(format!("{segment}.ready"));
            fs::remove_file(&mark).unwrap_or_else(|error| panic!("{}: {error}", mark.display()));
        }
        self
    }

    /// Names of the segments, oldest first.
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// How much room so many segments need that do not compress, in KiB.
    pub fn kib_of(&self, segments: u64) -> u64 {
        (u64::from(self.segment_mib) << 10) * segments
    }

    /// Where a segment lies, for `wal-push`.
    pub fn path(&self, segment: &str) -> PathBuf {
        self.cluster.data_directory().join("pg_wal").join(segment)
    }

    /// What a segment holds.
    #[track_caller]
    pub fn content(&self, segment: &str) -> Vec<u8> {
        fs::read(self.path(segment)).unwrap_or_else(|error| panic!("cannot read {segment}: {error}"))
    }

    /// A new and empty archive for them, on a disk.
    #[track_caller]
    pub fn archive(&self) -> Archive {
        let directory = ScratchDirectory::create_on_disk();
        let store = directory.join("store");
        self.archive_in(directory, store)
    }

    /// The same, with a disk of its own for the store; only within [`with_own_mounts`](crate::with_own_mounts).
    #[track_caller]
    pub fn archive_on_a_small_disk(&self, size_kib: u64) -> (SmallDisk, Archive) {
        let directory = ScratchDirectory::create();
        let disk = SmallDisk::mount(&directory.join("disk"), size_kib);
        let store = disk.path().join("store");
        (disk, self.archive_in(directory, store))
    }

    #[track_caller]
    fn archive_in(&self, directory: ScratchDirectory, store: PathBuf) -> Archive {
        let config = ConfigFile::new().cluster("main", &self.cluster).store_directory(&store).write(directory.path());
        // Whatever the binary keeps between two calls lies here, and is looked at.
        let cache = directory.join("cache");
        Account::unprivileged().create_directory(&cache);
        let stillframe = Stillframe::new(config).env("XDG_CACHE_HOME", &cache).env("HOME", &cache);
        stillframe.succeed(["store", "create"]);
        Archive { stillframe, store, directory }
    }
}

/// Names of the segments that the server has marked as ready.
fn ready(data_directory: &Path) -> Vec<String> {
    let status = data_directory.join("pg_wal/archive_status");
    let marks = fs::read_dir(&status).unwrap_or_else(|error| panic!("{}: {error}", status.display()));
    let name = |mark: fs::DirEntry| mark.file_name().into_string().unwrap().strip_suffix(".ready").map(str::to_owned);
    let mut names: Vec<String> = marks.filter_map(|mark| name(mark.unwrap())).filter(|name| name.len() == SEGMENT_DIGITS).collect();
    names.sort();
    names
}

/// A store, and the binary that is configured for it.
#[derive(Debug)]
pub struct Archive {
    /// The binary.
    pub stillframe: Stillframe,
    /// The directory of the store.
    pub store: PathBuf,
    /// For everything else of the test.
    pub directory: ScratchDirectory,
}

impl Archive {
    /// Objects that hold this file, whatever the form in which they hold it.
    pub fn objects_of(&self, name: &str) -> Vec<PathBuf> {
        let is_form =
            |path: &PathBuf| file_name(path).strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        files(&self.store.join("main/wal_005")).into_iter().filter(is_form).collect()
    }

    /// Whether the archive holds this file.
    pub fn holds(&self, name: &str) -> bool {
        !self.objects_of(name).is_empty()
    }

    /// Files in the store that no key names: what writers have left.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        leftovers(&self.store)
    }

    /// Files that the binary keeps between two calls.
    pub fn cached(&self) -> Vec<PathBuf> {
        files(&self.directory.join("cache"))
    }

    /// Starts to push a file.
    #[track_caller]
    pub fn push(&self, path: &Path) -> Running {
        self.stillframe.spawn([Path::new("wal-push"), path])
    }

    /// Starts to fetch a file.
    #[track_caller]
    pub fn fetch(&self, file: &str, target: &Path) -> Running {
        self.stillframe.spawn([Path::new("wal-fetch"), Path::new(file), target])
    }

    /// What comes back of a file, which must be there; it passes through this place.
    #[track_caller]
    pub fn fetched(&self, file: &str, target: &Path) -> Vec<u8> {
        let finished = self.fetch(file, target).wait();
        assert_eq!(finished.code(), Some(0), "{file}: {finished}");
        let content = fs::read(target).unwrap_or_else(|error| panic!("{file}: success without a file: {error}"));
        fs::remove_file(target).expect("it was just read");
        content
    }

    /// Fetches every one of these and compares it with the original; says what is missing, twice there or different.
    #[track_caller]
    pub fn assert_holds_each_once(&self, backlog: &Backlog, segments: &[String]) {
        let target = self.directory.join("compared");
        for segment in segments {
            let objects = self.objects_of(segment);
            assert_eq!(objects.len(), 1, "{segment} is there once: {objects:?}");
            assert!(self.fetched(segment, &target) == backlog.content(segment), "{segment} comes back byte for byte");
        }
    }
}

/// Hidden files below a directory, but for the mark of a store.
pub fn leftovers(directory: &Path) -> Vec<PathBuf> {
    let is_left = |path: &PathBuf| {
        let name = file_name(path);
        name.starts_with(HIDDEN) && name != STORE_MARKER
    };
    files(directory).into_iter().filter(is_left).collect()
}
