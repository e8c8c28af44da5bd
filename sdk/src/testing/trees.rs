//! Directory trees in memory, with the rules of the `tree` capability.
//!
//! A file's content is behind a shared pointer: a hard link is the same pointer, a copy or a reflink another one. So a test that
//! writes to the source in place sees what a snapshot shares with it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::{FakeHost, State, glob};
use crate::tree::{CloneMethod, CloneOptions, CloneStats, Entry, EntryKind, Location, RootInfo, Tree, TreeError};

/// How much older than its base a file must be to be linked from it, as in the real host.
const MARGIN_MS: u64 = 2_000;

/// Room on every root.
const TOTAL_BYTES: u64 = 1 << 40;

#[derive(Default)]
pub(super) struct FakeTrees {
    roots: BTreeMap<String, Root>,
}

struct Root {
    access: Access,
    reflink: bool,
    nodes: BTreeMap<String, Node>,
    indexes: BTreeMap<String, Index>,
}

/// What a root may be used for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Own,
    Source,
    Target,
}

#[derive(Clone)]
enum Node {
    Directory,
    File(File),
}

#[derive(Clone)]
struct File {
    content: Rc<RefCell<String>>,
    modified_ms: u64,
}

/// What the real host keeps beside a clone: which source files it was made of.
struct Index {
    isolated: bool,
    begin_ms: u64,
    files: BTreeMap<String, File>,
}

impl FakeHost {
    /// Adds an empty root that the operator configured.
    pub fn add_root(&self, name: &str) {
        self.add(name, Access::Own);
    }

    /// Adds a directory of the cluster, as in `create-set`: it can be cloned from, and nothing else.
    pub fn add_source(&self, name: &str) {
        self.add(name, Access::Source);
    }

    /// Adds an empty directory to restore to: it can be filled, listed and emptied, and nothing else.
    pub fn add_target(&self, name: &str) {
        self.add(name, Access::Target);
    }

    fn add(&self, name: &str, access: Access) {
        let root = Root { access, reflink: false, nodes: BTreeMap::new(), indexes: BTreeMap::new() };
        self.state.borrow_mut().trees.roots.insert(name.to_owned(), root);
    }

    /// Takes a root away, as when the operator does not grant it.
    pub fn remove_root(&self, name: &str) {
        self.state.borrow_mut().trees.roots.remove(name);
    }

    /// Lets files of a root share extents.
    pub fn set_reflink(&self, root: &str) {
        if let Some(root) = self.state.borrow_mut().trees.roots.get_mut(root) {
            root.reflink = true;
        }
    }

    /// Writes a file from outside, in place when it exists: as a database does.
    pub fn put(&self, root: &str, path: &str, content: &str) {
        let mut state = self.state.borrow_mut();
        let now_ms = state.now_ms;
        let Some(root) = state.trees.roots.get_mut(root) else { return };
        match root.nodes.get_mut(path) {
            Some(Node::File(file)) => {
                content.clone_into(&mut file.content.borrow_mut());
                file.modified_ms = now_ms;
            }
            _ => root.put(path, content, now_ms),
        }
    }

    /// Makes an empty directory from outside.
    pub fn put_directory(&self, root: &str, path: &str) {
        if let Some(root) = self.state.borrow_mut().trees.roots.get_mut(root) {
            root.make_directories(path);
        }
    }

    /// Reads a file from outside.
    #[must_use]
    pub fn content(&self, root: &str, path: &str) -> Option<String> {
        match self.state.borrow().trees.roots.get(root)?.nodes.get(path)? {
            Node::File(file) => Some(file.content.borrow().clone()),
            Node::Directory => None,
        }
    }

    /// Every path of a root, in order; directories end with `/`.
    #[must_use]
    pub fn paths(&self, root: &str) -> Vec<String> {
        let state = self.state.borrow();
        let Some(root) = state.trees.roots.get(root) else { return Vec::new() };
        let show = |(path, node): (&String, &Node)| if matches!(node, Node::Directory) { format!("{path}/") } else { path.clone() };
        root.nodes.iter().map(show).collect()
    }

    /// Removes a file or tree from outside.
    pub fn lose(&self, root: &str, path: &str) {
        if let Some(root) = self.state.borrow_mut().trees.roots.get_mut(root) {
            root.remove(path);
        }
    }
}

impl Tree for FakeHost {
    fn roots(&self) -> Result<Vec<RootInfo>, TreeError> {
        self.query("tree.roots".to_owned(), |state| {
            scripted(state, "tree.roots")?;
            Ok(state.trees.roots.iter().map(|(name, root)| root.facts(name)).collect())
        })
    }

    fn clone_tree(&self, source: &Location, destination: &Location, options: &CloneOptions) -> Result<CloneStats, TreeError> {
        let call = format!("tree.clone-tree {} -> {}", show(source), show(destination));
        self.effect(call.clone(), |state| {
            scripted(state, &call)?;
            let begin_ms = state.now_ms;
            state.trees.clone_tree(source, destination, options, begin_ms)
        })
    }

    fn remove_tree(&self, target: &Location) -> Result<(), TreeError> {
        let call = format!("tree.remove-tree {}", show(target));
        self.effect(call.clone(), |state| {
            scripted(state, &call)?;
            let root = state.trees.writable(target)?;
            if target.path.is_empty() {
                return Err(TreeError::Denied("a root cannot be removed".to_owned()));
            }
            root.remove(&target.path);
            Ok(())
        })
    }

    fn list_entries(&self, directory: &Location) -> Result<Vec<Entry>, TreeError> {
        let call = format!("tree.list-entries {}", show(directory));
        self.query(call.clone(), |state| {
            scripted(state, &call)?;
            state.trees.listable(directory)?.list(&directory.path)
        })
    }

    fn read_file(&self, file: &Location) -> Result<String, TreeError> {
        let call = format!("tree.read-file {}", show(file));
        self.query(call.clone(), |state| {
            scripted(state, &call)?;
            match state.trees.readable(file)?.nodes.get(&file.path) {
                Some(Node::File(found)) => Ok(found.content.borrow().clone()),
                Some(Node::Directory) => Err(TreeError::Failed(format!("`{}` is not a regular file", show(file)))),
                None => Err(TreeError::NotFound(show(file))),
            }
        })
    }

    fn write_file(&self, file: &Location, content: &str) -> Result<(), TreeError> {
        let call = format!("tree.write-file {}", show(file));
        self.effect(call.clone(), |state| {
            scripted(state, &call)?;
            let now_ms = state.now_ms;
            state.trees.writable(file)?.put(&file.path, content, now_ms);
            Ok(())
        })
    }
}

/// Fails the call when a test asked for it.
fn scripted(state: &mut State, call: &str) -> Result<(), TreeError> {
    for at in 0..state.tree_failures.len() {
        let failure = &mut state.tree_failures[at];
        if !call.contains(&failure.containing) {
            continue;
        }
        match failure.successes.checked_sub(1) {
            Some(left) => failure.successes = left,
            None => return Err(state.tree_failures.remove(at).error),
        }
    }
    Ok(())
}

fn show(location: &Location) -> String {
    format!("{}:{}", location.root, location.path)
}

impl FakeTrees {
    fn root(&self, location: &Location) -> Result<&Root, TreeError> {
        check_path(&location.path)?;
        self.roots.get(&location.root).ok_or_else(|| TreeError::NotFound(format!("there is no root `{}`", location.root)))
    }

    /// One of the roots of these kinds.
    fn one_of(&self, location: &Location, kinds: &[Access]) -> Result<&Root, TreeError> {
        let root = self.root(location)?;
        if !kinds.contains(&root.access) {
            return Err(TreeError::Denied(format!("the root `{}` {}", location.root, root.access.rule())));
        }
        Ok(root)
    }

    fn listable(&self, location: &Location) -> Result<&Root, TreeError> {
        let root = self.one_of(location, &[Access::Own, Access::Target])?;
        if prefixes(&location.path).any(|path| !path.is_empty() && root.indexes.contains_key(path)) {
            return Err(TreeError::Denied(format!("`{}` is a clone, or lies in one", show(location))));
        }
        Ok(root)
    }

    fn readable(&self, location: &Location) -> Result<&Root, TreeError> {
        self.one_of(location, &[Access::Own])?;
        self.listable(location)
    }

    fn writable(&mut self, location: &Location) -> Result<&mut Root, TreeError> {
        self.one_of(location, &[Access::Own, Access::Target])?;
        self.roots.get_mut(&location.root).ok_or_else(|| TreeError::NotFound(location.root.clone()))
    }

    fn clone_tree(
        &mut self,
        from: &Location,
        to: &Location,
        options: &CloneOptions,
        begin_ms: u64,
    ) -> Result<CloneStats, TreeError> {
        let source = self.one_of(from, &[Access::Own, Access::Source])?;
        let destination = self.one_of(to, &[Access::Own, Access::Target])?;
        if let Some(base) = &options.base {
            self.one_of(base, &[Access::Own])?;
        }
        if to.path.is_empty() && destination.access != Access::Target {
            return Err(TreeError::Denied(format!("the root `{}` is not a target: it cannot be filled in place", to.root)));
        }
        let taken = destination.nodes.keys().any(|path| to.path.is_empty() || *path == to.path);
        if !from.path.is_empty() && !matches!(source.nodes.get(&from.path), Some(Node::Directory)) {
            return Err(TreeError::NotFound(show(from)));
        }
        if taken {
            return Err(TreeError::AlreadyExists(show(to)));
        }
        if options.method == CloneMethod::Reflink && !source.reflink {
            return Err(TreeError::Unsupported("the file system cannot share extents".to_owned()));
        }
        let nodes = source.below(&from.path);
        if let Some(missing) = options.last.iter().find(|last| !nodes.contains_key(*last)) {
            return Err(TreeError::NotFound(missing.clone()));
        }
        let (clone, stats) = self.transfer(&nodes, options, source.reflink);
        let files =
            nodes.into_iter().filter_map(|(path, node)| if let Node::File(file) = node { Some((path, file)) } else { None });
        let index = Index { isolated: options.method != CloneMethod::Shared, begin_ms, files: files.collect() };
        let root = self.writable(to)?;
        root.make_directories(&to.path);
        for (path, node) in clone {
            root.nodes.insert(join(&to.path, &path), node);
        }
        if !to.path.is_empty() {
            root.indexes.insert(to.path.clone(), index);
        }
        Ok(stats)
    }

    fn transfer(
        &self,
        nodes: &BTreeMap<String, Node>,
        options: &CloneOptions,
        reflink: bool,
    ) -> (BTreeMap<String, Node>, CloneStats) {
        let mut clone = BTreeMap::new();
        let mut stats =
            CloneStats { files: 0, directories: 1, bytes_total: 0, bytes_copied: 0, files_reflinked: 0, files_linked: 0 };
        for (path, node) in nodes {
            let last = options.last.contains(path);
            let skipped = |part: &str| options.skip.iter().any(|pattern| glob::matches(pattern, part));
            if !last && prefixes(path).any(skipped) {
                continue;
            }
            let Node::File(file) = node else {
                stats.directories += 1;
                clone.insert(path.clone(), Node::Directory);
                continue;
            };
            let size = file.content.borrow().len() as u64;
            stats.files += 1;
            stats.bytes_total += size;
            let linked =
                if options.method == CloneMethod::Shared { Some(file.clone()) } else { self.unchanged(path, file, options) };
            let new = if let Some(linked) = linked.filter(|_| !last) {
                stats.files_linked += 1;
                linked
            } else {
                if reflink && options.method != CloneMethod::Copy && !last {
                    stats.files_reflinked += 1;
                } else {
                    stats.bytes_copied += size;
                }
                File { content: Rc::new(RefCell::new(file.content.borrow().clone())), modified_ms: file.modified_ms }
            };
            clone.insert(path.clone(), Node::File(new));
        }
        (clone, stats)
    }

    /// The base's file, when the source's has provably not changed since.
    fn unchanged(&self, path: &str, source: &File, options: &CloneOptions) -> Option<File> {
        let base = options.base.as_ref()?;
        let root = self.roots.get(&base.root)?;
        let index = root.indexes.get(&base.path)?;
        let then = index.files.get(path)?;
        let same = Rc::ptr_eq(&then.content, &source.content) && then.modified_ms == source.modified_ms;
        let settled = source.modified_ms + MARGIN_MS < index.begin_ms;
        match root.nodes.get(&join(&base.path, path))? {
            Node::File(file) if same && settled && index.isolated => Some(file.clone()),
            _ => None,
        }
    }
}

impl Access {
    fn rule(self) -> &'static str {
        match self {
            Self::Own => "is the provider's own",
            Self::Source => "is clone-only",
            Self::Target => "is a target: it can be filled, listed and emptied",
        }
    }
}

impl Root {
    fn facts(&self, name: &str) -> RootInfo {
        RootInfo {
            name: name.to_owned(),
            writable: self.access != Access::Source,
            fs_type: if self.reflink { "xfs" } else { "ext4" }.to_owned(),
            reflink: self.reflink,
            total_bytes: TOTAL_BYTES,
            available_bytes: TOTAL_BYTES / 2,
        }
    }

    fn put(&mut self, path: &str, content: &str, modified_ms: u64) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.make_directories(parent);
        }
        let file = File { content: Rc::new(RefCell::new(content.to_owned())), modified_ms };
        self.nodes.insert(path.to_owned(), Node::File(file));
    }

    fn make_directories(&mut self, path: &str) {
        for prefix in prefixes(path).filter(|prefix| !prefix.is_empty()) {
            self.nodes.entry(prefix.to_owned()).or_insert(Node::Directory);
        }
    }

    fn remove(&mut self, path: &str) {
        let below = format!("{path}/");
        self.nodes.retain(|name, _| name != path && !name.starts_with(&below));
        self.indexes.retain(|name, _| name != path && !name.starts_with(&below));
    }

    /// Everything below a directory, by path relative to it.
    fn below(&self, directory: &str) -> BTreeMap<String, Node> {
        let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        self.nodes.iter().filter_map(|(path, node)| Some((path.strip_prefix(&prefix)?.to_owned(), node.clone()))).collect()
    }

    fn list(&self, directory: &str) -> Result<Vec<Entry>, TreeError> {
        if !directory.is_empty() && !matches!(self.nodes.get(directory), Some(Node::Directory)) {
            return Err(TreeError::NotFound(directory.to_owned()));
        }
        let entries = self.below(directory).into_iter().filter(|(path, _)| !path.contains('/'));
        Ok(entries
            .map(|(name, node)| match node {
                Node::Directory => Entry { name, kind: EntryKind::Directory, size_bytes: 0, modified_ms: 0 },
                Node::File(file) => {
                    let size_bytes = file.content.borrow().len() as u64;
                    Entry { name, kind: EntryKind::File, size_bytes, modified_ms: file.modified_ms }
                }
            })
            .collect())
    }
}

fn check_path(path: &str) -> Result<(), TreeError> {
    let illegal = |part: &str| part.is_empty() || part == "." || part == ".." || part.starts_with(".stillframe-");
    if !path.is_empty() && (path.contains('\0') || path.split('/').any(illegal)) {
        return Err(TreeError::Denied(format!("the path {path:?} is not allowed")));
    }
    Ok(())
}

/// `a`, `a/b` and `a/b/c` of `a/b/c`.
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at]).chain([path])
}

fn join(directory: &str, path: &str) -> String {
    if directory.is_empty() { path.to_owned() } else { format!("{directory}/{path}") }
}
