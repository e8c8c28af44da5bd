//! Directory trees under granted roots, walked natively: the work behind the capability `tree`.
//!
//! What each operation promises is written in `wit/capabilities.wit`. Every path is resolved from a root's open directory with
//! `openat2`, beneath it and through no symbolic link, so that nothing outside a root can be named, not even by a directory that
//! is exchanged at the wrong moment. Nothing here knows wasmtime or waits asynchronously: the caller runs it on a thread of its
//! own and stops it with a [`StopFlag`].

mod access;
mod base;
mod beneath;
mod build;
mod clone;
mod error;
mod facts;
mod files;
mod flush;
mod index;
mod location;
mod parents;
mod remove;
mod rules;
mod scan;
mod staging;
mod steady;
#[cfg(test)]
mod tests;
mod transfer;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags};

pub(crate) use access::Access;
pub(crate) use error::TreeError;
pub(crate) use facts::RootFacts;
pub(crate) use files::{Entry, EntryKind};
pub(crate) use location::Location;
pub(crate) use rules::{CloneMethod, CloneOptions};
pub(crate) use transfer::CloneStats;

use access::Usage;
use location::Place;

/// A directory that a call may use, under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TreeRoot {
    /// What a provider calls it.
    pub(crate) name: String,
    /// Where it is. Symbolic links on the way are followed: the operator wrote them.
    pub(crate) path: PathBuf,
    /// What it may be used for.
    pub(crate) access: Access,
}

/// The roots of one call, each held open.
#[derive(Debug)]
pub(crate) struct Trees {
    roots: Vec<OpenRoot>,
}

/// A root and its open directory.
#[derive(Debug)]
struct OpenRoot {
    root: TreeRoot,
    directory: File,
}

impl Trees {
    /// Opens the roots.
    pub(crate) fn open(roots: Vec<TreeRoot>) -> Result<Self, TreeError> {
        let mut open: Vec<OpenRoot> = Vec::with_capacity(roots.len());
        for root in roots {
            if open.iter().any(|earlier| earlier.root.name == root.name) {
                return Err(TreeError::AlreadyExists(format!("two roots have the name `{}`", root.name)));
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let directory = rustix::fs::open(&root.path, flags, Mode::empty())
                .map_err(|errno| TreeError::of("open the root", &root.path.display(), &errno.into()))?;
            open.push(OpenRoot { root, directory: directory.into() });
        }
        Ok(Self { roots: open })
    }

    /// Tells what each root is.
    pub(crate) fn roots(&self) -> Result<Vec<RootFacts>, TreeError> {
        self.roots.iter().map(facts::of).collect()
    }

    /// Clones a directory tree: complete and durable, or not at all.
    ///
    /// With an empty destination path the root itself is filled in place; it must be a target, and empty.
    pub(crate) fn clone_tree(
        &self,
        source: &Location,
        destination: &Location,
        options: &CloneOptions,
        stop: &StopFlag,
    ) -> Result<CloneStats, TreeError> {
        let source = self.place(source, Usage::CloneFrom)?;
        let destination = self.place(destination, Usage::CloneTo)?;
        let base = options.base.as_ref().map(|base| self.place(base, Usage::Base)).transpose()?;
        clone::clone_tree(&source, &destination, base.as_ref(), options, None, stop)
    }

    /// Removes whatever has this name, and what a dead process left of building or removing it. Absent is a success.
    pub(crate) fn remove_tree(&self, target: &Location, stop: &StopFlag) -> Result<(), TreeError> {
        remove::remove_tree(&self.place(target, Usage::Remove)?, stop)
    }

    /// Lists a directory in the order of names; never one of a clone.
    pub(crate) fn list_entries(&self, directory: &Location) -> Result<Vec<Entry>, TreeError> {
        files::list_entries(&self.place(directory, Usage::List)?)
    }

    /// Reads a small text file; never one of a clone.
    pub(crate) fn read_file(&self, file: &Location) -> Result<String, TreeError> {
        files::read_file(&self.place(file, Usage::Read)?)
    }

    /// Writes a small text file: complete, durable, replacing an older one atomically. Its parent directories are made.
    pub(crate) fn write_file(&self, file: &Location, content: &str) -> Result<(), TreeError> {
        files::write_file(&self.place(file, Usage::Write)?, content)
    }

    fn place(&self, location: &Location, usage: Usage) -> Result<Place<'_>, TreeError> {
        let root = self
            .roots
            .iter()
            .find(|open| open.root.name == location.root)
            .ok_or_else(|| TreeError::NotFound(format!("there is no root `{}` in this call", location.root)))?;
        let place = Place::new(root, location)?;
        root.root.access.check(usage, location)?;
        Ok(place)
    }
}

/// Tells a running operation to stop; every clone of it stops the same operation.
#[derive(Debug, Clone, Default)]
pub(crate) struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Asks the operation to stop and to remove what it has built.
    pub(crate) fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked to.
    #[must_use]
    pub(crate) fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Ends the operation at this point when it was asked to stop.
    fn check(&self) -> Result<(), TreeError> {
        if self.is_stopped() { Err(TreeError::TimedOut) } else { Ok(()) }
    }
}
