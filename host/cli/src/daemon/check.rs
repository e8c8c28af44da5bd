//! What our client says of itself before it asks for anything: where it works, and what it was configured with.
//!
//! Both are compared and never read: the client must stay quick. What differs for no good reason costs the plain command, and what is
//! the same by accident would archive to a wrong place; so everything that the plain command would act on is in it.

use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::config::{Config, overrules};

/// Names the file, which is compared itself.
const FILE_VARIABLE: &str = "STILLFRAME_CONFIG";

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

/// Tells one state of a configuration from others, without reading the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigurationId {
    device: u64,
    inode: u64,
    size_bytes: u64,
    modified_ns: i128,
    /// Digest of the variables that overrule the file. Between two releases it may differ for the same variables.
    overruling: u64,
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
                overruling: next(&mut words)?,
            },
        };
        words.next().is_none().then_some(check)
    }

    /// Writes it as numbers with a space between them.
    pub fn to_text(self) -> String {
        let DirectoryId { device, inode } = self.directory;
        let file = self.configuration;
        let ConfigurationId { size_bytes, modified_ns, overruling, .. } = file;
        format!("{device} {inode} {} {} {size_bytes} {modified_ns} {overruling}", file.device, file.inode)
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
        Self::new(&path, std::env::vars_os())
    }

    fn new(path: &Path, variables: impl IntoIterator<Item = (OsString, OsString)>) -> io::Result<Self> {
        let found = path.metadata()?;
        let mut overruling: Vec<_> = variables.into_iter().filter(|(name, _)| name.to_str().is_some_and(overrules)).collect();
        overruling.sort();
        let mut hasher = DefaultHasher::new();
        overruling.hash(&mut hasher);
        Ok(Self {
            device: found.dev(),
            inode: found.ino(),
            size_bytes: found.len(),
            modified_ns: i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec()),
            overruling: hasher.finish(),
        })
    }
}

fn next<'a, T: std::str::FromStr>(words: &mut impl Iterator<Item = &'a str>) -> Option<T> {
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(path: &Path, variables: &[(&str, &str)]) -> ConfigurationId {
        ConfigurationId::new(path, variables.iter().map(|(name, value)| (name.into(), value.into()))).unwrap()
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
        ConfigurationId::new(&directory.path().join("absent"), []).unwrap_err();
    }

    #[test]
    fn variables_that_overrule_count_in_any_order_and_others_do_not() {
        let directory = tempfile::tempdir().unwrap();
        let (path, url) = (directory.path(), ("STILLFRAME_STORE_URL", "file:///a"));
        let level = ("STILLFRAME_ARCHIVE_LEVEL", "3");
        assert_eq!(id(path, &[("PATH", "/bin"), ("STILLFRAME_CONFIG", "/c")]), id(path, &[]));
        assert_eq!(id(path, &[url, level]), id(path, &[level, url]));
        assert_ne!(id(path, &[url]), id(path, &[]));
        assert_ne!(id(path, &[url]), id(path, &[("STILLFRAME_STORE_URL", "file:///b")]));
    }
}
