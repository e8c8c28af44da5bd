//! Cloning a tree: built out of sight, then published whole.

use std::fs::File;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use super::base::Base;
use super::beneath::{self, Identity};
use super::build::{self, Seal};
use super::flush::Flush;
use super::index::{self, Index};
use super::location::Place;
use super::rules::{CloneMethod, CloneOptions, Rules};
use super::staging::{self, Staging};
use super::transfer::{CloneStats, Transfer};
use super::{Access, StopFlag, TreeError, remove};

/// Clones a tree, and flushes it as its file system calls for unless another way is given.
pub(super) fn clone_tree(
    source: &Place<'_>,
    destination: &Place<'_>,
    base: Option<&Place<'_>>,
    options: &CloneOptions,
    flush: Option<Flush<'_>>,
    stop: &StopFlag,
) -> Result<CloneStats, TreeError> {
    let rules = Rules::check(options)?;
    let from = source.open_directory()?;
    refuse_overlap(&from, source, destination)?;
    let base = base.and_then(|base| Base::open(base, &from));
    if destination.is_root() {
        fill_in_place(&from, destination, base.as_ref(), &rules, flush, stop)
    } else {
        build_beside(&from, destination, base.as_ref(), &rules, flush, stop)
    }
}

/// Builds in a staging directory, writes the index, flushes both, and only then lets the clone have its name.
fn build_beside(
    from: &File,
    destination: &Place<'_>,
    base: Option<&Base>,
    rules: &Rules,
    flush: Option<Flush<'_>>,
    stop: &StopFlag,
) -> Result<CloneStats, TreeError> {
    let failed = |cause: io::Error| TreeError::of("clone to", &destination.location, &cause);
    let parent = destination.make_parent()?;
    if beneath::exists(&parent, destination.name()).map_err(failed)? {
        return Err(TreeError::AlreadyExists(destination.location.to_string()));
    }
    let staging = Staging::begin(&parent, destination)?;
    let begin_nanos = now_nanos();
    let flush = flush.unwrap_or_else(|| Flush::of(&staging.directory));
    let transfer = Transfer { source: from, clone: &staging.directory, method: rules.method, base, flush, stop };
    let indexed = build::build(&transfer, rules, Seal::Name).and_then(|built| {
        let isolated = rules.method != CloneMethod::Shared;
        let clone = Identity::of(&staging.directory).map_err(failed)?;
        let index = Index { isolated, begin_nanos, boot: index::this_boot(), clone, files: built.fingerprints };
        index.write(&parent, destination.name(), flush).map_err(failed)?;
        build::flush(&transfer)?;
        Ok(built.stats)
    });
    let stats = match indexed {
        Ok(stats) => stats,
        Err(error) => {
            staging.discard();
            remove::forget_index(&parent, destination);
            return Err(error);
        }
    };
    if let Err(error) = staging.publish(destination) {
        // Somebody else's clone may have the name now: its index must not be ours, and none is always safe.
        remove::forget_index(&parent, destination);
        return Err(error);
    }
    Ok(stats)
}

/// Fills the root itself, which has no name that could be withheld until the end: the files that come last take that part.
fn fill_in_place(
    from: &File,
    destination: &Place<'_>,
    base: Option<&Base>,
    rules: &Rules,
    flush: Option<Flush<'_>>,
    stop: &StopFlag,
) -> Result<CloneStats, TreeError> {
    let failed = |cause: io::Error| TreeError::of("fill", &destination.location, &cause);
    // There is no name to lay an index beside, and without one the provider could read what was cloned.
    if destination.root.root.access != Access::Target {
        return Err(TreeError::Denied(format!(
            "the root `{}` is not a target, so it cannot be filled in place: name a directory below it",
            destination.location.root
        )));
    }
    let into = destination.open_directory()?;
    staging::lock(&into, destination)?;
    if !beneath::names(&into).map_err(failed)?.is_empty() {
        return Err(TreeError::AlreadyExists(format!("the root `{}` is not empty", destination.location.root)));
    }
    let flush = flush.unwrap_or_else(|| Flush::of(&into));
    let transfer = Transfer { source: from, clone: &into, method: rules.method, base, flush, stop };
    let filled = build::build(&transfer, rules, Seal::LastFiles).and_then(|built| build::flush(&transfer).map(|()| built.stats));
    filled.inspect_err(|_| {
        if let Err(cause) = beneath::empty(&into, &|| true) {
            tracing::warn!(root = %destination.location.root, %cause, "an incomplete clone could not be removed");
        }
    })
}

/// Refuses a clone that would hold itself, by what the directories are and not by how they are called.
fn refuse_overlap(from: &File, source: &Place<'_>, destination: &Place<'_>) -> Result<(), TreeError> {
    let failed = |cause: io::Error| TreeError::of("compare", &destination.location, &cause);
    let (above, _) = destination.open_existing_parent()?;
    if beneath::lies_inside(&above, Identity::of(from).map_err(failed)?).map_err(failed)? {
        return Err(TreeError::Denied(format!(
            "the destination `{}` lies inside the source `{}`",
            destination.location, source.location
        )));
    }
    if let Ok(existing) = destination.open_directory()
        && beneath::lies_inside(from, Identity::of(&existing).map_err(failed)?).map_err(failed)?
    {
        return Err(TreeError::Denied(format!(
            "the source `{}` lies inside the destination `{}`",
            source.location, destination.location
        )));
    }
    Ok(())
}

fn now_nanos() -> i128 {
    // A clock before 1970 makes every file look changed since, which is safe.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i128::try_from(since.as_nanos()).unwrap_or(0))
}
