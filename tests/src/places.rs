//! Where the harness keeps things: a cache that outlives the tests, and scratch directories that do not; and looks at files.

use std::fs::{self, DirBuilder, File, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Once, OnceLock};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::Account;

/// Longest path of a Unix socket that the kernel takes is 107 bytes; the rest is for the names below the directory.
const LONGEST_SCRATCH_ROOT: usize = 60;
/// Free memory from which on scratch directories lie there: dozens of clusters at once.
const PLENTY_BYTES: u64 = 8 << 30;
const SCRATCH_PREFIX: &str = "stillframe-";

/// The cargo target directory that this test runs from.
pub(crate) fn target_directory() -> PathBuf {
    let executable = std::env::current_exe().expect("the test knows its own path");
    // Cargo marks its target directories with this file, wherever CARGO_TARGET_DIR put them.
    let marked = executable.ancestors().find(|directory| directory.join("CACHEDIR.TAG").is_file());
    marked.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), Path::to_path_buf)
}

/// A directory that outlives the tests and that the unprivileged user can reach.
pub(crate) fn cache_directory() -> &'static Path {
    static CHOSEN: OnceLock<PathBuf> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let account = Account::unprivileged();
        let preferred = target_directory().join("postgres");
        fs::create_dir_all(&preferred).unwrap_or_else(|error| panic!("cannot create {}: {error}", preferred.display()));
        if is_traversable(&preferred, account) {
            return preferred.canonicalize().expect("it was just created");
        }
        // Under root's home, for example. The name holds our uid: two users must not share what they execute.
        let fallback = std::env::temp_dir().join(format!("{SCRATCH_PREFIX}cache-{}", rustix::process::geteuid().as_raw()));
        let _exists_already = DirBuilder::new().mode(0o755).create(&fallback);
        let owner = fs::symlink_metadata(&fallback).unwrap_or_else(|error| panic!("cannot create {}: {error}", fallback.display()));
        let ours = owner.is_dir() && owner.uid() == rustix::process::geteuid().as_raw();
        assert!(ours, "{} belongs to somebody else: remove it", fallback.display());
        fallback
    })
}

/// Whether the account can enter the directory.
fn is_traversable(directory: &Path, account: &Account) -> bool {
    let Ok(absolute) = directory.canonicalize() else { return false };
    absolute.ancestors().all(|ancestor| {
        fs::metadata(ancestor).is_ok_and(|metadata| {
            let bit = match (metadata.uid() == account.uid, metadata.gid() == account.gid) {
                (true, _) => 0o100,
                (false, true) => 0o010,
                (false, false) => 0o001,
            };
            metadata.mode() & bit != 0
        })
    })
}

/// Holds a lock file until dropped, against other threads and other test processes.
pub(crate) fn lock(name: &str) -> File {
    let path = cache_directory().join(format!("{name}.lock"));
    let file = File::create(&path).unwrap_or_else(|error| panic!("cannot create {}: {error}", path.display()));
    flock(&file, FlockOperation::LockExclusive).unwrap_or_else(|error| panic!("cannot lock {}: {error}", path.display()));
    file
}

/// A directory of the unprivileged user that vanishes when dropped.
#[derive(Debug)]
pub struct ScratchDirectory {
    directory: TempDir,
}

impl ScratchDirectory {
    /// Creates one with a short path, for the sake of Unix sockets.
    pub fn create() -> Self {
        Self::create_ending_with("")
    }

    /// Creates one whose name ends like this, for what must work in any directory; its path is as long as the name makes it.
    pub fn create_ending_with(end: &str) -> Self {
        static SWEPT: Once = Once::new();
        let root = scratch_root();
        SWEPT.call_once(|| sweep(&root));
        Self::create_in(&root, end)
    }

    /// Creates one on a disk, where writing and flushing take their time: for tests that interrupt just this.
    pub fn create_on_disk() -> Self {
        static SWEPT: Once = Once::new();
        let root = cache_directory().join("scratch");
        fs::create_dir_all(&root).unwrap_or_else(|error| panic!("cannot create {}: {error}", root.display()));
        SWEPT.call_once(|| sweep(&root));
        Self::create_in(&root, "")
    }

    fn create_in(root: &Path, end: &str) -> Self {
        // The process id lets a later run tell what a killed one left behind.
        let prefix = format!("{SCRATCH_PREFIX}{}-", std::process::id());
        let directory = tempfile::Builder::new().prefix(&prefix).suffix(end).rand_bytes(4).tempdir_in(root);
        let directory = directory.unwrap_or_else(|error| panic!("cannot create a directory in {}: {error}", root.display()));
        // Owned by the unprivileged user and open to nobody else, like a data directory.
        set_mode(directory.path(), 0o700);
        Account::unprivileged().own(directory.path());
        Self { directory }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A path in it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }
}

/// Files below a directory, in order; a link is a file, and what vanishes meanwhile is not listed.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut found = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() && !path.is_symlink() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The last part of a path.
#[track_caller]
pub fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_else(|| panic!("{} has no name", path.display()))
}

/// Changes what may be done with a file or directory.
#[track_caller]
pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// `TMPDIR` when it is set, else memory when there is plenty (a cluster is a thousand small files), else the system's directory.
fn scratch_root() -> PathBuf {
    let chosen = std::env::var_os("TMPDIR").map(PathBuf::from);
    let memory = PathBuf::from("/dev/shm");
    let plenty = || rustix::fs::statvfs(&memory).is_ok_and(|space| space.f_bavail * space.f_frsize >= PLENTY_BYTES);
    let root = chosen.unwrap_or_else(|| if plenty() { memory.clone() } else { std::env::temp_dir() });
    let fits = root.as_os_str().len() <= LONGEST_SCRATCH_ROOT && is_traversable(&root, Account::unprivileged());
    if fits { root } else { PathBuf::from("/tmp") }
}

/// Removes what test processes left that were killed before they could clean up.
fn sweep(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(SCRATCH_PREFIX)?.split_once('-')?.0.parse::<u32>().ok());
        if let Some(pid) = pid
            && !Path::new("/proc").join(pid.to_string()).exists()
        {
            // Another process may sweep at the same time; and what is not ours stays.
            let _gone_already = fs::remove_dir_all(entry.path());
        }
    }
}

/// Where the binary under test keeps compiled components: an unoptimised build takes seconds for each.
pub fn compiled_cache() -> PathBuf {
    let account = Account::unprivileged();
    let directory = cache_directory().join("compiled");
    let _guard = lock("compiled");
    if !directory.is_dir() {
        account.create_directory(&directory);
    }
    // Anything wider, and the program refuses to run what lies there.
    set_mode(&directory, 0o700);
    directory
}
