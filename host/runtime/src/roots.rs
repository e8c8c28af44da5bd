//! Which roots the capability `tree` has in which operation.
//!
//! The configured roots are always there. The directories of the cluster can be cloned from only in `create`, and show their facts
//! in `resolve`; the directories to restore to can be filled only during that restore; each only if granted. What each kind of
//! root can be used for is in [`crate::tree::Access`].

use stillframe_core::provider::{DataPath, DataPathName, ProviderFault, RestoreDirectory};

use crate::settings::TreeGrant;
use crate::tree::{Access, TreeRoot};

/// Begins the name of a root that is a data path.
const SOURCE: &str = "source-";

/// Begins the name of a root that is a directory to restore to.
const TARGET: &str = "target-";

/// Length of a root's name.
const MAX_NAME_BYTES: usize = 64;

/// Checks the names of the configured roots, so that none can be taken for one of ours.
pub(crate) fn check_names(grant: &TreeGrant) -> Result<(), ProviderFault> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_legal = |name: &str| !name.is_empty() && name.len() <= MAX_NAME_BYTES && name.bytes().all(legal);
    let is_ours = |name: &str| name.starts_with(SOURCE) || name.starts_with(TARGET);
    match grant.roots.keys().find(|name| !is_legal(name) || is_ours(name)) {
        None => Ok(()),
        Some(name) => Err(ProviderFault::Invalid {
            field: format!("tree.roots.{name}"),
            message: format!(
                "a root's name has letters, digits, `-` and `_`, at most {MAX_NAME_BYTES}, and begins with neither `{SOURCE}` nor `{TARGET}`"
            ),
        }),
    }
}

/// The configured roots.
pub(crate) fn configured(grant: &TreeGrant) -> Vec<TreeRoot> {
    grant.roots.iter().map(|(name, path)| TreeRoot { name: name.clone(), path: path.clone(), access: Access::Own }).collect()
}

/// Name of the root for a data path, when the grant covers it.
pub(crate) fn source(grant: Option<&TreeGrant>, name: &DataPathName) -> Option<String> {
    grant.filter(|grant| grant.read_data).map(|_| format!("{SOURCE}{name}"))
}

/// Name of the root for a directory to restore to, when the grant covers it.
pub(crate) fn target(grant: Option<&TreeGrant>, name: &DataPathName) -> Option<String> {
    grant.filter(|grant| grant.write_restore).map(|_| format!("{TARGET}{name}"))
}

/// The configured roots, and the data paths for their facts alone.
pub(crate) fn for_resolving(grant: &TreeGrant, paths: &[DataPath]) -> Vec<TreeRoot> {
    with_sources(grant, paths.iter(), Access::Facts)
}

/// The configured roots, and the data paths to clone from.
pub(crate) fn for_creating<'a>(grant: &TreeGrant, paths: impl Iterator<Item = &'a DataPath>) -> Vec<TreeRoot> {
    with_sources(grant, paths, Access::Source)
}

fn with_sources<'a>(grant: &TreeGrant, paths: impl Iterator<Item = &'a DataPath>, access: Access) -> Vec<TreeRoot> {
    let sources = paths.filter_map(|path| {
        let name = source(Some(grant), &path.name)?;
        Some(TreeRoot { name, path: path.path.clone(), access })
    });
    configured(grant).into_iter().chain(sources).collect()
}

/// The configured roots, and the directories to restore to.
pub(crate) fn for_restoring(grant: &TreeGrant, directories: &[RestoreDirectory]) -> Vec<TreeRoot> {
    let targets = directories.iter().filter_map(|directory| {
        let name = target(Some(grant), &directory.name)?;
        Some(TreeRoot { name, path: directory.path.clone(), access: Access::Target })
    });
    configured(grant).into_iter().chain(targets).collect()
}

#[cfg(test)]
mod tests {
    use super::check_names;
    use crate::settings::TreeGrant;

    #[test]
    fn refuses_names_that_could_be_taken_for_another_root() {
        for (name, legal) in
            [("snapshots", true), ("a_B-9", true), ("", false), ("source-data", false), ("target-wal", false), ("a/b", false)]
        {
            let grant = TreeGrant { roots: [(name.to_owned(), "/".into())].into(), ..TreeGrant::default() };
            assert_eq!(check_names(&grant).is_ok(), legal, "{name}");
        }
    }
}
