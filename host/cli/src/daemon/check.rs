//! What our client says of itself before it asks for anything: where it works, and what it was configured with.
//!
//! Both are compared and never read: the client must stay quick. What differs for no good reason costs the plain command, and what is
//! the same by accident would archive to a wrong place; so everything that decides what the plain command would do is in it: file,
//! variables, host and program. Left out are `PG*`, for neither command connects, and what only changes how the store is reached.

use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::config::{Config, host_name, overrules, walg};

/// Names the file, which is compared itself.
const FILE_VARIABLE: &str = "STILLFRAME_CONFIG";

/// Leads to the file that this process was started from, also when another has its name by now.
const PROGRAM: &str = "/proc/self/exe";

/// Begin the variables that the libraries of the stores read: account, endpoint, credentials.
const OF_STORES: [&str; 3] = ["AWS_", "AZURE_", "GOOGLE_"];

/// What a client of ours has to have in common with the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// The WAL directory that it works in.
    pub directory: DirectoryId,
    /// What the plain command would be configured with.
    pub configuration: ConfigurationId,
}

/// Tells one directory from all others of the machine, whatever path leads there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectoryId {
    device: u64,
    inode: u64,
}

/// Tells one state of a configuration, with whoever acts on it, from others, without reading the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigurationId {
    device: u64,
    inode: u64,
    size_bytes: u64,
    modified_ns: i128,
    /// Digest of all that is not in the file: no value of a variable is sent.
    beside: u64,
}

/// What the plain command acts on beside the file.
struct Beside<'a> {
    variables: Vec<(OsString, OsString)>,
    /// It names the instance.
    host: &'a str,
    /// A daemon from before an upgrade has other formats, other defaults, and the faults that the upgrade mends. Not its device
    /// and inode: in another container, the same image has others.
    program: &'a Metadata,
}

impl Check {
    /// Reads what [`Self::to_text`] has written.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let check = Self {
            directory: DirectoryId { device: next(&mut words)?, inode: next(&mut words)? },
            configuration: ConfigurationId {
                device: next(&mut words)?,
                inode: next(&mut words)?,
                size_bytes: next(&mut words)?,
                modified_ns: next(&mut words)?,
                beside: next(&mut words)?,
            },
        };
        words.next().is_none().then_some(check)
    }

    /// Writes it as numbers with a space between them.
    pub fn to_text(self) -> String {
        let DirectoryId { device, inode } = self.directory;
        let file = self.configuration;
        let ConfigurationId { size_bytes, modified_ns, beside, .. } = file;
        format!("{device} {inode} {} {} {size_bytes} {modified_ns} {beside}", file.device, file.inode)
    }
}

impl DirectoryId {
    /// The directory in which a path lies.
    pub fn around(path: &Path) -> io::Result<Self> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self::of(parent)
    }

    /// The directory to which a path leads.
    pub fn of(path: &Path) -> io::Result<Self> {
        let found = path.metadata()?;
        Ok(Self { device: found.dev(), inode: found.ino() })
    }
}

impl ConfigurationId {
    /// The configuration of this process, as it is now. `flag` is what `--config` says.
    pub fn of_process(flag: Option<&Path>) -> io::Result<Self> {
        let path = Config::choose_path(flag, std::env::var(FILE_VARIABLE).ok().as_deref());
        let variables = std::env::vars_os().filter(|(name, _)| counts(name)).collect();
        Self::new(&path, Beside { variables, host: &host_name(), program: &Path::new(PROGRAM).metadata()? })
    }

    fn new(path: &Path, beside: Beside<'_>) -> io::Result<Self> {
        let found = path.metadata()?;
        Ok(Self {
            device: found.dev(),
            inode: found.ino(),
            size_bytes: found.len(),
            modified_ns: i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec()),
            beside: beside.digest(),
        })
    }
}

impl Beside<'_> {
    fn digest(mut self) -> u64 {
        self.variables.sort();
        let mut hasher = DefaultHasher::new();
        self.variables.hash(&mut hasher);
        self.host.hash(&mut hasher);
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        (self.program.len(), self.program.mtime(), self.program.mtime_nsec()).hash(&mut hasher);
        hasher.finish()
    }
}

/// Whether a variable decides what the plain command does.
fn counts(name: &OsStr) -> bool {
    let is_of_store = |name: &str| OF_STORES.iter().any(|beginning| name.starts_with(beginning));
    name.to_str().is_some_and(|name| overrules(name) || is_of_store(name) || walg::is_heeded(name))
}

fn next<'a, T: std::str::FromStr>(words: &mut impl Iterator<Item = &'a str>) -> Option<T> {
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(path: &Path, variables: &[(&str, &str)]) -> ConfigurationId {
        id_of(path, variables, "host", &path.metadata().unwrap())
    }

    fn id_of(path: &Path, variables: &[(&str, &str)], host: &str, program: &Metadata) -> ConfigurationId {
        let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let variables = variables.filter(|(name, _)| counts(name)).collect();
        ConfigurationId::new(path, Beside { variables, host, program }).unwrap()
    }

    #[test]
    fn is_read_as_it_was_written_and_not_with_less_or_more() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c");
        std::fs::write(&path, "text").unwrap();
        let check = Check { directory: DirectoryId::around(&path).unwrap(), configuration: id(&path, &[]) };
        let text = check.to_text();
        assert_eq!(Check::parse(&text), Some(check));
        assert_eq!(Check::parse(&format!("{text} 1")), None);
        assert_eq!(Check::parse(text.rsplit_once(' ').unwrap().0), None);
        assert_ne!(DirectoryId::around(Path::new("/x")).unwrap(), check.directory);
    }

    #[test]
    fn every_change_of_the_file_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("c"), directory.path().join("other"));
        std::fs::write(&path, "text").unwrap();
        let modified = path.metadata().unwrap().modified().unwrap();
        let before = id(&path, &[]);
        assert_eq!(id(&path, &[]), before);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(modified + std::time::Duration::from_micros(1)).unwrap();
        assert_ne!(id(&path, &[]), before, "another time");
        std::fs::write(&path, "longer text").unwrap();
        file.set_modified(modified).unwrap();
        assert_ne!(id(&path, &[]), before, "another size");
        std::fs::write(&other, "text").unwrap();
        std::fs::File::options().write(true).open(&other).unwrap().set_modified(modified).unwrap();
        assert_ne!(id(&other, &[]), before, "another file");
        ConfigurationId::of_process(Some(&directory.path().join("absent"))).unwrap_err();
    }

    #[test]
    fn another_host_or_program_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("c"), directory.path().join("other"));
        std::fs::write(&path, "text").unwrap();
        let program = path.metadata().unwrap();
        let before = id_of(&path, &[], "host", &program);
        assert_eq!(id_of(&path, &[], "host", &program), before);
        assert_ne!(id_of(&path, &[], "other", &program), before);
        let file = std::fs::File::create(&other).unwrap();
        file.set_modified(program.modified().unwrap()).unwrap();
        assert_ne!(id_of(&path, &[], "host", &other.metadata().unwrap()), before, "another size");
        std::fs::write(&other, "text").unwrap();
        file.set_modified(program.modified().unwrap() + std::time::Duration::from_micros(1)).unwrap();
        assert_ne!(id_of(&path, &[], "host", &other.metadata().unwrap()), before, "another time");
    }

    #[test]
    fn variables_that_decide_count_in_any_order() {
        let directory = tempfile::tempdir().unwrap();
        let (path, url) = (directory.path(), ("STILLFRAME_STORE_URL", "file:///a"));
        let level = ("STILLFRAME_ARCHIVE_LEVEL", "3");
        assert_eq!(id(path, &[("PATH", "/bin"), ("STILLFRAME_CONFIG", "/c")]), id(path, &[]));
        assert_eq!(id(path, &[url, level]), id(path, &[level, url]));
        assert_ne!(id(path, &[url]), id(path, &[]));
        assert_ne!(id(path, &[url]), id(path, &[("STILLFRAME_STORE_URL", "file:///b")]));
        for name in [
            "WALG_S3_PREFIX",
            "WALE_S3_PREFIX",
            "WALG_LIBSODIUM_KEY",
            "WALG_OF_A_LATER_VERSION",
            "S3_RETENTION_PERIOD",
            "GCS_ENCRYPTION_KEY",
            "TOTAL_BG_UPLOADED_LIMIT",
            "AWS_ENDPOINT",
            "AWS_SECRET_ACCESS_KEY",
            "AZURE_STORAGE_ACCOUNT_NAME",
            "GOOGLE_APPLICATION_CREDENTIALS",
        ] {
            assert_ne!(id(path, &[(name, "x")]), id(path, &[]), "{name}");
            assert_ne!(id(path, &[(name, "x")]), id(path, &[(name, "y")]), "{name}");
        }
    }

    #[test]
    fn what_a_server_and_a_service_manager_give_to_their_children_does_not_count() {
        let directory = tempfile::tempdir().unwrap();
        let names = "PGDATA PGSYSCONFDIR PGLOCALEDIR PG_OOM_ADJUST_FILE PG_OOM_ADJUST_VALUE PG_GRANDPARENT_PID PGUSER PGPASSWORD \
            LANG LC_ALL HOME USER PATH NOTIFY_SOCKET WATCHDOG_USEC INVOCATION_ID JOURNAL_STREAM XDG_RUNTIME_DIR GOMAXPROCS";
        for name in names.split_whitespace() {
            assert_eq!(id(directory.path(), &[(name, "x")]), id(directory.path(), &[]), "{name}");
        }
    }
}
