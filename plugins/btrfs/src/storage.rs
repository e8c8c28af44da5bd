//! Which file system a directory lies on, as `findmnt` tells.

use serde::Deserialize;
use stillframe_sdk::command::{Command, ExitStatus, Invocation};
use stillframe_sdk::{Error, Located, invalid};

/// Where a directory is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Mounted {
    /// With the directory in brackets that the mount shows.
    source: String,
    pub(crate) fstype: String,
    /// The directory that the mount shows.
    fsroot: String,
    pub(crate) options: String,
}

#[derive(Deserialize)]
struct Report {
    filesystems: Vec<Mounted>,
}

impl Mounted {
    /// Looks at the mount that holds a directory.
    pub(crate) fn of(host: &impl Command, directory: &str) -> Result<Self, Error> {
        let args = ["--json", "--target", directory, "--output", "SOURCE,FSTYPE,FSROOT,OPTIONS"];
        let args = args.into_iter().map(str::to_owned).collect();
        let output = host.run(&Invocation { program: "findmnt".to_owned(), args, stdin: None, timeout_ms: None })?;
        match output.status {
            ExitStatus::Code(0) => {}
            ExitStatus::Code(_) => {
                return Err(invalid("root", format!("`{directory}` is on no file system that `findmnt` knows: does it exist?")));
            }
            // Whoever was killed has said nothing about the configuration.
            ExitStatus::Signal(signal) => {
                return Err(Error::Transient(format!("`findmnt` of `{directory}` was ended by signal {signal}")));
            }
        }
        let report: Report = serde_json::from_str(&output.stdout)
            .map_err(|cause| Error::Internal(format!("what `findmnt` says of `{directory}` cannot be read: {cause}")))?;
        report.filesystems.into_iter().next_back().ok_or_else(|| Error::Internal("`findmnt` names no file system".to_owned()))
    }

    /// Whether the data path is on the same file system.
    pub(crate) fn holds(&self, located: &Located) -> bool {
        let source = self.source.split_once('[').map_or(self.source.as_str(), |(source, _)| source);
        source == located.source
    }

    /// Whether the mount shows a subvolume, and not a directory in one.
    pub(crate) fn shows_a_subvolume(&self) -> bool {
        // The name may hold commas, as the list does.
        format!(",{},", self.options).contains(&format!(",subvol={},", self.fsroot))
    }
}
