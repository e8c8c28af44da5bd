//! The capability `tree`: directory trees under granted roots.
//!
//! A provider moves the files of a cluster and never sees them: a data path's root is clone-only and has no use but as the source
//! of [`Tree::clone_tree`] in `create_set` (in `resolve` it only has facts), what was cloned cannot be read or listed, and a
//! directory to restore to can be filled, listed and emptied. Keep records beside the clones, not in them.

use crate::Error;
pub use crate::bindings::base::stillframe::provider::tree::{
    CloneMethod, CloneOptions, CloneStats, Entry, EntryKind, Location, RootInfo, TreeError,
};

/// Directory trees under granted roots; see `wit/capabilities.wit`.
pub trait Tree {
    /// The roots of this call, each with what it is.
    fn roots(&self) -> Result<Vec<RootInfo>, TreeError>;

    /// Clones a tree: complete and durable, or not at all. An empty destination path fills a target, which is empty, in place.
    fn clone_tree(&self, source: &Location, destination: &Location, options: &CloneOptions) -> Result<CloneStats, TreeError>;

    /// Removes a tree, with everything below its name, or a file, but never a root. Absent is a success.
    fn remove_tree(&self, target: &Location) -> Result<(), TreeError>;

    /// Lists a directory in the order of names. Denied in a clone, and under the root of a data path.
    fn list_entries(&self, directory: &Location) -> Result<Vec<Entry>, TreeError>;

    /// Reads a small text file under a root of the provider's own. Denied in a clone.
    fn read_file(&self, file: &Location) -> Result<String, TreeError>;

    /// Writes a small text file, atomically and durably. Its parent directories are made.
    fn write_file(&self, file: &Location, content: &str) -> Result<(), TreeError>;
}

/// A place under a root.
#[must_use]
pub fn location(root: &str, path: &str) -> Location {
    Location { root: root.to_owned(), path: path.to_owned() }
}

/// What the host makes of an error that the provider did not expect.
///
/// `not-found` is not passed on under that name: the host takes it for the answer that the SET does not exist.
impl From<TreeError> for Error {
    fn from(error: TreeError) -> Self {
        match error {
            TreeError::Denied(text) => Self::Denied(text),
            TreeError::NotFound(text) => Self::Internal(text),
            TreeError::AlreadyExists(text) => Self::Conflict(text),
            TreeError::Unsupported(text) => Self::Unsupported(text),
            TreeError::Exhausted(text) => Self::Exhausted(text),
            TreeError::TimedOut => Self::Transient("the directory tree was not finished before the deadline".to_owned()),
            TreeError::Failed(text) => Self::Transient(text),
        }
    }
}

#[cfg(target_arch = "wasm32")]
mod imported {
    use super::{CloneOptions, CloneStats, Entry, Location, RootInfo, Tree, TreeError};
    use crate::Sandbox;
    use crate::bindings::base::stillframe::provider::tree;

    impl Tree for Sandbox {
        fn roots(&self) -> Result<Vec<RootInfo>, TreeError> {
            tree::roots()
        }

        fn clone_tree(&self, source: &Location, destination: &Location, options: &CloneOptions) -> Result<CloneStats, TreeError> {
            tree::clone_tree(source, destination, options)
        }

        fn remove_tree(&self, target: &Location) -> Result<(), TreeError> {
            tree::remove_tree(target)
        }

        fn list_entries(&self, directory: &Location) -> Result<Vec<Entry>, TreeError> {
            tree::list_entries(directory)
        }

        fn read_file(&self, file: &Location) -> Result<String, TreeError> {
            tree::read_file(file)
        }

        fn write_file(&self, file: &Location, content: &str) -> Result<(), TreeError> {
            tree::write_file(file, content)
        }
    }
}
