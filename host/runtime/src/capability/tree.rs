//! `tree`: clones and reads directory trees under granted roots.
//!
//! The walk itself is native and knows nothing of the sandbox (see `crate::tree`); it runs on threads that may block, and stops
//! when the operation is dropped.

use std::sync::Arc;

use crate::bindings::stillframe::provider::tree::{
    CloneMethod, CloneOptions, CloneStats, Entry, EntryKind, Host, Location, RootInfo, TreeError,
};
use crate::capability::OFF;
use crate::state::State;
use crate::tree::{self, StopFlag, Trees};

/// What a call of the capability reaches.
#[derive(Clone)]
pub(crate) enum TreeAccess {
    /// Nothing: the provider describes itself.
    Off,
    /// These roots.
    Roots(Arc<Trees>),
}

type Answer<T> = wasmtime::Result<Result<T, TreeError>>;

impl Host for State {
    async fn roots(&mut self) -> Answer<Vec<RootInfo>> {
        let answer = self.walk(|trees, _| trees.roots()).await?;
        Ok(answer.map(|roots| roots.into_iter().map(root_info).collect()))
    }

    async fn clone_tree(&mut self, source: Location, destination: Location, options: CloneOptions) -> Answer<CloneStats> {
        self.has_shared_a_source |= options.method == CloneMethod::Shared;
        let (source, destination, options) = (location(source), location(destination), clone_options(options));
        let answer = self.walk(move |trees, stop| trees.clone_tree(&source, &destination, &options, stop)).await?;
        Ok(answer.map(clone_stats))
    }

    async fn remove_tree(&mut self, target: Location) -> Answer<()> {
        let target = location(target);
        self.walk(move |trees, stop| trees.remove_tree(&target, stop)).await
    }

    async fn list_entries(&mut self, directory: Location) -> Answer<Vec<Entry>> {
        let directory = location(directory);
        let answer = self.walk(move |trees, _| trees.list_entries(&directory)).await?;
        Ok(answer.map(|entries| entries.into_iter().map(entry).collect()))
    }

    async fn read_file(&mut self, file: Location) -> Answer<String> {
        let file = location(file);
        self.walk(move |trees, _| trees.read_file(&file)).await
    }

    async fn write_file(&mut self, file: Location, content: String) -> Answer<()> {
        let file = location(file);
        self.walk(move |trees, _| trees.write_file(&file, &content)).await
    }
}

impl State {
    /// Runs one call on a thread that may block.
    async fn walk<T, F>(&mut self, job: F) -> Answer<T>
    where
        T: Send + 'static,
        F: FnOnce(&Trees, &StopFlag) -> Result<T, tree::TreeError> + Send + 'static,
    {
        let trees = match &self.tree {
            TreeAccess::Off => return Ok(Err(TreeError::Denied(OFF.to_owned()))),
            TreeAccess::Roots(trees) => Arc::clone(trees),
        };
        let answer = self.work.run(move |stop| job(&trees, stop)).await?;
        Ok(answer.map_err(tree_error))
    }
}

fn location(from: Location) -> tree::Location {
    tree::Location { root: from.root, path: from.path }
}

fn clone_options(from: CloneOptions) -> tree::CloneOptions {
    let method = match from.method {
        CloneMethod::Auto => tree::CloneMethod::Auto,
        CloneMethod::Reflink => tree::CloneMethod::Reflink,
        CloneMethod::Copy => tree::CloneMethod::Copy,
        CloneMethod::Shared => tree::CloneMethod::Shared,
    };
    tree::CloneOptions { method, base: from.base.map(location), skip: from.skip, last: from.last }
}

fn root_info(from: tree::RootFacts) -> RootInfo {
    let tree::RootFacts { name, writable, fs_type, reflink, total_bytes, available_bytes } = from;
    RootInfo { name, writable, fs_type, reflink, total_bytes, available_bytes }
}

fn clone_stats(from: tree::CloneStats) -> CloneStats {
    let tree::CloneStats { files, directories, bytes_total, bytes_copied, files_reflinked, files_linked } = from;
    CloneStats { files, directories, bytes_total, bytes_copied, files_reflinked, files_linked }
}

fn entry(from: tree::Entry) -> Entry {
    let kind = match from.kind {
        tree::EntryKind::File => EntryKind::File,
        tree::EntryKind::Directory => EntryKind::Directory,
        tree::EntryKind::Symlink => EntryKind::Symlink,
        tree::EntryKind::Other => EntryKind::Other,
    };
    Entry { name: from.name, kind, size_bytes: from.size_bytes, modified_ms: from.modified_ms }
}

fn tree_error(from: tree::TreeError) -> TreeError {
    match from {
        tree::TreeError::Denied(text) => TreeError::Denied(text),
        tree::TreeError::NotFound(text) => TreeError::NotFound(text),
        tree::TreeError::AlreadyExists(text) => TreeError::AlreadyExists(text),
        tree::TreeError::Unsupported(text) => TreeError::Unsupported(text),
        tree::TreeError::Exhausted(text) => TreeError::Exhausted(text),
        tree::TreeError::TimedOut => TreeError::TimedOut,
        tree::TreeError::Failed(text) => TreeError::Failed(text),
    }
}
