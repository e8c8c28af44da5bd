//! The program `zfs`: every argument list that is ever given to it, and what it prints.
//!
//! `policy.toml` allows these lists and no others. An option that sets something is one argument with its value, so that no value
//! can be taken for an option; nothing is ever destroyed recursively, forcibly or deferred, and never two things at a time.

use stillframe_sdk::command::{Command, Invocation, Output};
use stillframe_sdk::{Error, invalid};

use crate::config::Config;
use crate::fault::{Failure, Fault};
use crate::name::{self, RESTORE_PROPERTY};
use crate::rights;

/// Most snapshots that one command is asked about.
const BATCH_LEN: usize = 100;

/// The program, for one call of the provider.
#[derive(Debug)]
pub(crate) struct Zfs<'a, H> {
    pub(crate) host: &'a H,
    pub(crate) config: &'a Config,
}

/// What `zfs list` says of a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileSystem {
    pub(crate) name: String,
    pub(crate) guid: String,
    pub(crate) mountpoint: String,
    pub(crate) record_size: String,
    pub(crate) sync: String,
    /// `-` when it is not encrypted.
    pub(crate) key_status: String,
}

/// What `zfs list` says of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// `tank/pg@name`.
    pub(crate) name: String,
    pub(crate) guid: String,
    /// Transaction group in which it was cut: the same for all that were cut at once.
    pub(crate) txg: String,
    pub(crate) creation_secs: u64,
    pub(crate) used_bytes: u64,
    pub(crate) referenced_bytes: u64,
    pub(crate) clones: Vec<String>,
}

/// One property of one dataset or snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Property {
    pub(crate) of: String,
    pub(crate) name: String,
    pub(crate) value: String,
    /// `local`, `-`, `inherited from tank`, ...; empty when only local ones were asked for.
    pub(crate) source: String,
}

/// A hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) snapshot: String,
    pub(crate) tag: String,
}

impl<'a, H: Command> Zfs<'a, H> {
    pub(crate) fn new(host: &'a H, config: &'a Config) -> Result<Self, Error> {
        config.validate()?;
        Ok(Self { host, config })
    }

    /// Cuts snapshots of one pool at once, all with the same properties.
    pub(crate) fn snapshot(&self, properties: &[(String, String)], snapshots: &[String]) -> Result<(), Failure> {
        let mut args = vec!["snapshot".to_owned()];
        args.extend(properties.iter().map(|(name, value)| format!("-o{name}={value}")));
        args.extend_from_slice(snapshots);
        self.change(args, &datasets(snapshots), rights::BACKUP)
    }

    /// Holds snapshots.
    pub(crate) fn hold(&self, tag: &str, snapshots: &[String]) -> Result<(), Failure> {
        let mut args = vec!["hold".to_owned(), tag.to_owned()];
        args.extend_from_slice(snapshots);
        self.change(args, &datasets(snapshots), rights::BACKUP)
    }

    /// Releases one hold.
    pub(crate) fn release(&self, tag: &str, snapshot: &str) -> Result<(), Failure> {
        let args = ["release", tag, snapshot].map(str::to_owned).to_vec();
        self.change(args, &[name::dataset(snapshot)], rights::BACKUP)
    }

    /// Destroys one snapshot.
    pub(crate) fn destroy_snapshot(&self, snapshot: &str) -> Result<(), Failure> {
        // It would be the dataset.
        if !snapshot.contains('@') {
            return Err(strange(snapshot));
        }
        self.change(["destroy", snapshot].map(str::to_owned).to_vec(), &[name::dataset(snapshot)], rights::BACKUP)
    }

    /// Makes a writable clone of a snapshot. It is not mounted.
    pub(crate) fn clone(&self, token: &str, set: &str, mountpoint: &str, snapshot: &str, clone: &str) -> Result<(), Failure> {
        let args = vec![
            "clone".to_owned(),
            "-ocanmount=noauto".to_owned(),
            "-odevices=off".to_owned(),
            format!("-omountpoint={mountpoint}"),
            "-oreadonly=off".to_owned(),
            "-osetuid=off".to_owned(),
            format!("-o{RESTORE_PROPERTY}={token}"),
            format!("-ostillframe:set={set}"),
            snapshot.to_owned(),
            clone.to_owned(),
        ];
        let parent = clone.rsplit_once('/').map_or(clone, |(parent, _)| parent);
        self.change(args, &[name::dataset(snapshot), parent], rights::RESTORE)
    }

    /// Mounts a clone where its property says.
    pub(crate) fn mount(&self, clone: &str) -> Result<(), Failure> {
        self.run(["mount", clone].map(str::to_owned).to_vec()).map(drop)
    }

    /// Unmounts a clone.
    pub(crate) fn unmount(&self, clone: &str) -> Result<(), Failure> {
        self.run(["unmount", clone].map(str::to_owned).to_vec()).map(drop)
    }

    /// Destroys a clone without anything below it. Unmounts it, if nobody uses it.
    pub(crate) fn destroy_clone(&self, clone: &str) -> Result<(), Failure> {
        if !self.config.clones.iter().any(|parent| clone != parent && name::is_under(clone, parent)) {
            return Err(strange(clone));
        }
        self.change(["destroy", clone].map(str::to_owned).to_vec(), &[clone], rights::RESTORE)
    }

    /// The tokens, names, owners and beginnings that stand on snapshots of these datasets and of those below them.
    ///
    /// Only what was set on the snapshot itself counts: a snapshot inherits the properties of its dataset, and one that was
    /// received brings along those of the machine that it was sent from.
    pub(crate) fn marks(&self, roots: &[String]) -> Result<Vec<Property>, Failure> {
        let args = "get -H -p -s local -t snapshot -r -o name,property,value stillframe:token,stillframe:name,stillframe:owner,stillframe:begin";
        Ok(properties(&self.run(list(args, roots))?))
    }

    /// All user properties that were set on these snapshots themselves.
    pub(crate) fn records(&self, snapshots: &[String]) -> Result<Vec<Property>, Failure> {
        let args = "get -H -p -s local -t snapshot -o name,property,value all";
        self.in_batches(snapshots, |batch| Ok(properties(&self.ask(list(args, batch))?)))
    }

    /// What ZFS knows of these snapshots; those that do not exist are left out.
    pub(crate) fn snapshots(&self, snapshots: &[String]) -> Result<Vec<Snapshot>, Failure> {
        let args = "list -H -p -t snapshot -o name,guid,createtxg,creation,used,referenced,clones";
        self.in_batches(snapshots, |batch| {
            rows(&self.ask(list(args, batch))?)
                .map(|row| {
                    let [name, guid, txg, creation, used, referenced, clones] = columns(&row)?;
                    Ok(Snapshot {
                        name: name.to_owned(),
                        guid: guid.to_owned(),
                        txg: txg.to_owned(),
                        creation_secs: number(creation)?,
                        used_bytes: number(used)?,
                        referenced_bytes: number(referenced)?,
                        clones: clones.split(',').filter(|clone| !clone.is_empty() && *clone != "-").map(str::to_owned).collect(),
                    })
                })
                .collect()
        })
    }

    /// The holds on these snapshots.
    pub(crate) fn holds(&self, snapshots: &[String]) -> Result<Vec<Hold>, Failure> {
        self.in_batches(snapshots, |batch| {
            // When there is no hold at all, an older `zfs` says so on standard error and succeeds.
            rows(&self.ask(list("holds -H", batch))?)
                .map(|row| {
                    let mut columns = row.split('\t');
                    let (Some(snapshot), Some(tag)) = (columns.next(), columns.next()) else { return Err(strange(&row)) };
                    Ok(Hold { snapshot: snapshot.to_owned(), tag: tag.to_owned() })
                })
                .collect()
        })
    }

    /// What ZFS knows of these file systems.
    pub(crate) fn file_systems(&self, datasets: &[String]) -> Result<Vec<FileSystem>, Failure> {
        let args = "list -H -p -t filesystem -o name,guid,mountpoint,recordsize,sync,keystatus";
        rows(&self.run(list(args, datasets))?)
            .map(|row| {
                let [name, guid, mountpoint, record_size, sync, key_status] = columns(&row)?.map(str::to_owned);
                Ok(FileSystem { name, guid, mountpoint, record_size, sync, key_status })
            })
            .collect()
    }

    /// Where everything below the datasets for clones comes from, and whether a restore of ours has made it. Snapshots of clones
    /// are in it.
    pub(crate) fn clones(&self) -> Result<Vec<Property>, Failure> {
        if self.config.clones.is_empty() {
            return Ok(Vec::new());
        }
        let args =
            format!("get -H -p -t filesystem,snapshot,volume -r -o name,property,value,source origin,mounted,{RESTORE_PROPERTY}");
        Ok(properties(&self.run(list(&args, &self.config.clones))?))
    }

    /// Who may do what on this dataset, as `zfs allow` tells it.
    pub(crate) fn delegated(&self, dataset: &str) -> Result<String, Failure> {
        Ok(self.run(["allow", dataset].map(str::to_owned).to_vec())?.stdout)
    }

    /// Whether `zfs` runs as root here, as far as it can be told: only root sees how much root's files use.
    pub(crate) fn is_root(&self, dataset: &str) -> Result<bool, Failure> {
        let args = ["get", "-H", "-p", "-o", "value", "userused@0", dataset].map(str::to_owned).to_vec();
        Ok(self.run(args)?.stdout.starts_with(|first: char| first.is_ascii_digit()))
    }

    /// Asks about snapshots of `datasets` and about moved ones apart, since a grant may cover only the former.
    fn in_batches<T>(&self, snapshots: &[String], ask: impl Fn(&[String]) -> Result<Vec<T>, Failure>) -> Result<Vec<T>, Failure> {
        let (covered, moved): (Vec<String>, Vec<String>) =
            snapshots.iter().cloned().partition(|snapshot| self.config.covers(name::dataset(snapshot)));
        let batches = covered.chunks(BATCH_LEN).chain(moved.chunks(BATCH_LEN));
        let answers = batches.map(ask).collect::<Result<Vec<_>, _>>()?;
        Ok(answers.into_iter().flatten().collect())
    }

    /// Runs what changes something; missing rights are told with the command that gives them.
    fn change(&self, args: Vec<String>, datasets: &[&str], rights: &[&str]) -> Result<(), Failure> {
        self.run(args).map(drop).map_err(|failure| match failure.fault {
            Fault::Denied => Failure { text: format!("{}; {}", failure.text, rights::hint(datasets, rights)), ..failure },
            _ => failure,
        })
    }

    /// Asks about several things, of which some may have gone.
    fn ask(&self, args: Vec<String>) -> Result<Output, Failure> {
        let output = self.output(args)?;
        match Failure::of(&output) {
            Some(failure) if !Failure::is_only_absence(&output) => Err(failure),
            _ => Ok(output),
        }
    }

    fn run(&self, args: Vec<String>) -> Result<Output, Failure> {
        let output = self.output(args)?;
        Failure::of(&output).map_or(Ok(output), Err)
    }

    fn output(&self, args: Vec<String>) -> Result<Output, Failure> {
        let output = self.host.run(&Invocation { program: "zfs".to_owned(), args, stdin: None, timeout_ms: None })?;
        if output.truncated {
            let text = "zfs printed more than the policy lets through (`max_output_kib`)".to_owned();
            return Err(Failure { fault: Fault::Other, text });
        }
        Ok(output)
    }
}

/// What is wrong when a dataset of the configuration is not there.
pub(crate) fn missing(key: &str, failure: Failure) -> Error {
    if failure.fault != Fault::NotFound {
        return failure.into();
    }
    invalid(
        key,
        format!(
            "{}: its pool is not imported, or it was destroyed or renamed. Whether there are snapshots cannot be told; if it is \
             gone for good, take it out",
            failure.text
        ),
    )
}

/// `zfs` does not say on which of them it was denied.
fn datasets(snapshots: &[String]) -> Vec<&str> {
    snapshots.iter().map(|snapshot| name::dataset(snapshot)).collect()
}

fn list(args: &str, names: &[String]) -> Vec<String> {
    args.split(' ').map(str::to_owned).chain(names.iter().cloned()).collect()
}

fn rows(output: &Output) -> impl Iterator<Item = String> + use<> {
    output.stdout.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// A value that somebody else has set may hold anything; whatever does not look like a row is none of ours.
fn properties(output: &Output) -> Vec<Property> {
    let property = |row: String| {
        let mut columns = row.split('\t').map(str::to_owned);
        let (of, name, value) = (columns.next()?, columns.next()?, columns.next()?);
        Some(Property { of, name, value, source: columns.next().unwrap_or_default() })
    };
    rows(output).filter_map(property).collect()
}

fn columns<const N: usize>(row: &str) -> Result<[&str; N], Failure> {
    row.split('\t').collect::<Vec<_>>().try_into().map_err(|_| strange(row))
}

fn number(text: &str) -> Result<u64, Failure> {
    // Absent values are told as `-`.
    if text == "-" { Ok(0) } else { text.parse().map_err(|_| strange(text)) }
}

fn strange(row: &str) -> Failure {
    Failure { fault: Fault::Other, text: format!("zfs printed `{row}`, which this provider does not understand") }
}
