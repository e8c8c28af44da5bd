//! Packages that are unpacked and not installed: ZFS lies in `contrib`, which a machine need not have switched on.
//!
//! The machine's own sources are read once more, with that section, into lists of our own. Nothing below `/etc` changes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;
use crate::run::{captured, succeed};

/// The distribution's packages, `contrib` among them.
pub(super) struct Packages {
    directory: PathBuf,
}

impl Packages {
    /// Reads the lists, into a directory where an earlier run may have left them.
    pub(super) fn read(directory: &Path) -> Result<Self, Failure> {
        let packages = Self { directory: directory.to_owned() };
        for name in ["lists/partial", "archives/partial"] {
            let made = fs::create_dir_all(directory.join(name));
            made.map_err(Failure::io(format!("create `{}`", directory.join(name).display())))?;
        }
        let sources = packages.sources();
        fs::write(&sources, own_sources()?).map_err(Failure::io(format!("write `{}`", sources.display())))?;
        captured(packages.apt("apt-get").args(["--quiet", "update"]))?;
        Ok(packages)
    }

    /// What a package depends on first.
    pub(super) fn first_dependency(&self, package: &str) -> Result<String, Failure> {
        let depends = captured(self.apt("apt-cache").args(["depends", package]))?;
        let first = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
        first.map(str::to_owned).ok_or_else(|| Failure::new(format!("the package `{package}` depends on nothing")))
    }

    /// The version that would be installed.
    pub(super) fn version(&self, package: &str) -> Result<String, Failure> {
        let shown = captured(self.apt("apt-cache").args(["show", "--no-all-versions", package]))?;
        let version = shown.lines().find_map(|line| line.strip_prefix("Version: "));
        version.map(str::to_owned).ok_or_else(|| Failure::new(format!("there is no package `{package}`")))
    }

    /// Unpacks packages into a directory.
    pub(super) fn unpack(&self, names: &[&str], into: &Path) -> Result<(), Failure> {
        let downloads = into.with_extension("packages");
        fs::create_dir_all(&downloads).map_err(Failure::io(format!("create `{}`", downloads.display())))?;
        captured(self.apt("apt-get").args(["--quiet", "download"]).args(names).current_dir(&downloads))?;
        let entries = fs::read_dir(&downloads).map_err(Failure::io(format!("list `{}`", downloads.display())))?;
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            succeed(Command::new("dpkg-deb").arg("--extract").arg(path).arg(into))?;
        }
        fs::remove_dir_all(&downloads).map_err(Failure::io(format!("remove `{}`", downloads.display())))
    }

    fn sources(&self) -> PathBuf {
        self.directory.join("sources.list")
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg(format!("--option=Dir::Etc::SourceList={}", self.sources().display()));
        command.arg("--option=Dir::Etc::SourceParts=/dev/null");
        command.arg(format!("--option=Dir::State::Lists={}", self.directory.join("lists").display()));
        command.arg(format!("--option=Dir::Cache={}", self.directory.display()));
        // The user that apt downloads as need not be able to enter the directory.
        command.arg("--option=APT::Sandbox::User=root");
        command
    }
}

/// Debian's archives among the sources of the machine, each with its main section and `contrib`.
fn own_sources() -> Result<String, Failure> {
    let format = "$(REPO_URI)\t$(RELEASE)\t$(COMPONENT)\t$(ORIGIN)";
    let targets = captured(Command::new("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]))?;
    let line = |target: &str| {
        let fields: Vec<&str> = target.split('\t').collect();
        let [uri, release, "main", "Debian"] = fields.as_slice() else { return None };
        Some(format!("deb {uri} {release} main contrib\n"))
    };
    let lines: BTreeSet<String> = targets.lines().filter_map(line).collect();
    if lines.is_empty() {
        return Err(Failure::new("this machine has no lists of Debian's packages: run `apt-get update`"));
    }
    Ok(lines.into_iter().collect())
}
