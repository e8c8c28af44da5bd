//! Which snapshots a restore needs, and whether it can be done here.

use stillframe_sdk::{DataRole, Error, RestoreDirectory, invalid};

use crate::ec2::{Snapshot, State};
use crate::placement::{Layer, PlacedPath};
use crate::set::Set;

/// Pause after which an unfinished snapshot is worth another look.
const UNFINISHED_MS: u64 = 60_000;

/// One volume to make, and what is on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// Number of the member in the set.
    pub(super) member: usize,
    pub(super) snapshot: String,
    pub(super) layer: Layer,
    pub(super) fs_type: String,
    /// Names of the data paths, and their directories from the root of the file system.
    paths: Vec<(String, String)>,
}

impl Piece {
    /// Where its data paths are when it is mounted at this point.
    pub(super) fn directories(&self, point: &str) -> Vec<(String, String)> {
        let path = |(name, within): &(String, String)| (name.clone(), format!("{point}{}", within.trim_end_matches('/')));
        self.paths.iter().map(path).collect()
    }
}

/// Plans a restore; refuses what would not be a whole cluster, and what cannot be mounted here.
pub(super) fn pieces(set: &Set, directories: &[RestoreDirectory]) -> Result<Vec<Piece>, Error> {
    let placement = &set.record.placement;
    let wanted = |path: &PlacedPath| directories.iter().any(|directory| directory.name == path.name);
    let is_held = |name: &str| placement.paths.iter().any(|path| path.name == name);
    if let Some(directory) = directories.iter().find(|directory| !is_held(&directory.name)) {
        return Err(invalid("directories", format!("the set `{}` holds no `{}`", set.record.name, directory.name)));
    }
    // A cluster without one of its tablespaces is no restore; its WAL comes from the archive.
    if let Some(path) = placement.paths.iter().find(|path| path.name != "wal" && !wanted(path)) {
        return Err(invalid("directories", format!("the set holds `{}`, which has no target", path.name)));
    }
    let mut pieces: Vec<Piece> = Vec::new();
    for path in placement.paths.iter().filter(|path| wanted(path)) {
        let placed = (path.name.clone(), path.within.clone());
        let on_piece = |piece: &&mut Piece| piece.member == path.volume;
        match pieces.iter_mut().find(on_piece) {
            Some(piece) if piece.layer == path.layer => piece.paths.push(placed),
            Some(_) => return Err(by_hand(set, path, "other paths are in another partition of the same volume")),
            None => pieces.push(Piece {
                member: path.volume,
                snapshot: snapshot(set, path)?.id.clone(),
                layer: path.layer.clone(),
                fs_type: path.fs_type.clone(),
                paths: vec![placed],
            }),
        }
    }
    // The cluster's own directory last: without it nobody starts what is incomplete.
    let holds_data = |piece: &Piece| piece.paths.iter().any(|(name, _)| is_data(directories, name));
    pieces.sort_by_key(holds_data);
    Ok(pieces)
}

fn is_data(directories: &[RestoreDirectory], name: &str) -> bool {
    directories.iter().any(|directory| directory.name == name && directory.role == DataRole::Data)
}

/// The one snapshot that a path needs, which must be complete.
fn snapshot<'a>(set: &'a Set, path: &PlacedPath) -> Result<&'a Snapshot, Error> {
    let snapshots = set.snapshots.get(path.volume).map(Vec::as_slice).unwrap_or_default();
    let [one] = snapshots else { return Err(by_hand(set, path, "its file system lies on several volumes")) };
    if let Layer::Other(kind) = &path.layer {
        return Err(by_hand(set, path, &format!("its file system lies on `{kind}`")));
    }
    // Its file systems know each other by an id that the copy shares, and nothing tells the kernel otherwise.
    if path.fs_type == "btrfs" {
        return Err(by_hand(set, path, "a btrfs file system must not be mounted beside its original"));
    }
    let Some(one) = one else { return Err(Error::NotFound(format!("the snapshot of `{}`", path.name))) };
    match one.state {
        State::Completed if !one.archived => Ok(one),
        State::Pending => Err(Error::Busy(Some(UNFINISHED_MS))),
        State::Completed | State::Error | State::Recycled => {
            Err(invalid("handle", format!("the snapshot `{}` cannot be restored from: it failed, or is stored away", one.id)))
        }
    }
}

/// What is not done here, and how the operator does it.
fn by_hand(set: &Set, path: &PlacedPath, why: &str) -> Error {
    let snapshots = set.snapshots.get(path.volume).into_iter().flatten().flatten();
    let ids: Vec<String> = snapshots.map(|snapshot| format!("{} of {}", snapshot.id, snapshot.volume)).collect();
    Error::Unsupported(format!(
        "restoring `{}`, because {why}. By hand: make volumes of {}, attach them to an instance that does not have the originals, \
         activate what lies on them, mount it, and use its directory `{}` as the target of an offline restore",
        path.name,
        ids.join(", "),
        path.within
    ))
}
