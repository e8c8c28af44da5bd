//! Where seeds and finds lie.

use std::fs;
use std::path::{Path, PathBuf};

use stillframe_fuzz::Target;

/// One input of a target.
pub(crate) struct Sample {
    pub(crate) path: PathBuf,
    pub(crate) data: Vec<u8>,
}

/// A directory, or file, of this package.
pub(crate) fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// All inputs of a target, in the order of their names.
pub(crate) fn of(target: &Target) -> Vec<Sample> {
    let mut samples = Vec::new();
    for parent in ["seeds", "regressions"] {
        let folder = directory(parent).join(target.name);
        // Most targets have no find.
        if parent == "regressions" && !folder.exists() {
            continue;
        }
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            samples.push(Sample { data: fs::read(&path).unwrap(), path });
        }
    }
    assert!(!samples.is_empty(), "`{}` has no seed", target.name);
    samples.sort_by(|one, other| one.path.cmp(&other.path));
    samples
}
