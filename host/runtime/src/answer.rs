//! Whether an answer answers the question.
//!
//! A backup is built on what a provider says, so each claim that can be checked is: a set that misses a volume, carries another
//! token or is not cut yet would be published as a backup that cannot be restored, and a foreign set in a listing would be deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use stillframe_core::provider::{
    CreateRequest, DataPath, Labels, Member, MemberState, OWNER_LABEL, ProviderFault, RestoreRequest, Restored, SetReference,
    SnapshotSet, Volume,
};

use crate::bounds::{MAX_LISTING_BYTES, MAX_PAGES, bad, quoted};
use crate::convert::{Page, ResolvedVolume};

/// Bytes of two short texts in a map, besides their letters.
const PAIR_BYTES: usize = 64;

/// Every path lies in exactly one volume, and no other path was invented. The facts about a path stay the host's own.
pub(crate) fn resolved(volumes: Vec<ResolvedVolume>, asked: &[DataPath]) -> Result<Vec<Volume>, ProviderFault> {
    let mut open: BTreeMap<String, &DataPath> = asked.iter().map(|path| (path.name.to_string(), path)).collect();
    let mut ids = BTreeSet::new();
    let mut answer = Vec::with_capacity(volumes.len());
    for volume in volumes {
        if !ids.insert(volume.id.clone()) {
            return Err(bad(format!("the volume {} occurs twice", quoted(&volume.id))));
        }
        if volume.paths.is_empty() {
            return Err(bad(format!("the volume {} holds no path", quoted(&volume.id))));
        }
        let mut paths = Vec::with_capacity(volume.paths.len());
        for name in volume.paths {
            let Some(path) = open.remove(&name) else {
                return Err(bad(format!("the path {} was not asked about, or occurs twice", quoted(&name))));
            };
            paths.push(path.clone());
        }
        answer.push(Volume { id: volume.id, paths, attributes: volume.attributes });
    }
    match open.into_values().next() {
        None => Ok(answer),
        Some(path) => Err(bad(format!("no volume holds the path `{}`", path.path.display()))),
    }
}

/// The set is the one that was asked for, every volume is in it once, and every point in time is fixed.
pub(crate) fn created(set: SnapshotSet, request: &CreateRequest) -> Result<SnapshotSet, ProviderFault> {
    if set.token != request.token || set.name != request.name.as_str() {
        return Err(bad(format!("it created the set {} with the token {}", quoted(&set.name), quoted(&set.token.0))));
    }
    let wanted: BTreeSet<&str> = request.volumes.iter().map(|volume| volume.id.as_str()).collect();
    if let Some(missing) = wanted.difference(&volumes_of(&set)?).next() {
        return Err(bad(format!("no member is the snapshot of the volume {}", quoted(missing))));
    }
    if set.members.len() > wanted.len() {
        return Err(bad(format!("the set has {} members for {} volumes", set.members.len(), wanted.len())));
    }
    if let Some(member) = set.members.iter().find(|member| !is_cut(member)) {
        return Err(bad(format!("it returned before the point in time of {} was fixed", quoted(&member.volume))));
    }
    if set.cut_end < set.cut_begin {
        return Err(bad("the cut ends before it begins"));
    }
    if let Some(label) = request.labels.iter().find(|(key, value)| set.labels.get(*key) != Some(value)) {
        return Err(bad(format!("the set does not keep the label {}", quoted(label.0))));
    }
    Ok(set)
}

/// The set is the one that was meant.
pub(crate) fn found(set: Option<SnapshotSet>, reference: &SetReference) -> Result<Option<SnapshotSet>, ProviderFault> {
    let Some(set) = set else { return Ok(None) };
    let is_meant = match reference {
        SetReference::Token(token) => set.token == *token,
        SetReference::Handle(handle) => set.handle == *handle,
    };
    if !is_meant {
        return Err(bad(format!("it was asked about another set than {}", quoted(&set.handle))));
    }
    volumes_of(&set)?;
    Ok(Some(set))
}

/// A listing that is put together page by page, and ends.
#[derive(Debug)]
pub(crate) struct Listing<'a> {
    owner: &'a str,
    sets: Vec<SnapshotSet>,
    /// Bytes that it may still have.
    room: usize,
    handles: BTreeSet<String>,
    cursors: BTreeSet<String>,
}

impl<'a> Listing<'a> {
    /// Begins with no page.
    pub(crate) fn new(owner: &'a str) -> Self {
        Self { owner, sets: Vec::new(), room: MAX_LISTING_BYTES, handles: BTreeSet::new(), cursors: BTreeSet::new() }
    }

    /// Adds a page; returns the cursor of the next one.
    pub(crate) fn add(&mut self, page: Page) -> Result<Option<String>, ProviderFault> {
        for set in page.sets {
            if set.labels.get(OWNER_LABEL).map(String::as_str) != Some(self.owner) {
                return Err(bad(format!("it listed the set {}, which belongs to another owner", quoted(&set.handle))));
            }
            if !self.handles.insert(set.handle.clone()) {
                return Err(bad(format!("it listed the set {} twice", quoted(&set.handle))));
            }
            volumes_of(&set)?;
            self.room = self
                .room
                .checked_sub(size_of_set(&set))
                .ok_or_else(|| bad(format!("its listing has more than {} MiB", MAX_LISTING_BYTES >> 20)))?;
            self.sets.push(set);
        }
        let Some(next) = page.next else { return Ok(None) };
        if !self.cursors.insert(next.clone()) {
            return Err(bad("its listing comes back to an earlier page"));
        }
        if self.cursors.len() >= MAX_PAGES {
            return Err(bad(format!("its listing has more than {MAX_PAGES} pages")));
        }
        Ok(Some(next))
    }

    /// All sets.
    pub(crate) fn end(self) -> Vec<SnapshotSet> {
        self.sets
    }
}

/// Every directory of the request is there, once: where it was asked for, or strictly below what the operator grants for that.
pub(crate) fn restored(restored: Restored, request: &RestoreRequest, below: &[PathBuf]) -> Result<Restored, ProviderFault> {
    let mut open: BTreeMap<_, _> = request.directories.iter().map(|directory| (&directory.name, &directory.path)).collect();
    let mut places = BTreeSet::new();
    for (name, path) in &restored.directories {
        let Some(asked) = open.remove(name) else {
            return Err(bad("the directories that it restored are not the ones of the request"));
        };
        if path != asked && !below.iter().any(|below| path.starts_with(below) && path != below) {
            let below: Vec<String> = below.iter().map(|below| format!("`{}`", below.display())).collect();
            let granted = if below.is_empty() { String::new() } else { format!(", and does not lie below {}", below.join(" or ")) };
            let found = quoted(&path.to_string_lossy());
            return Err(bad(format!("it restored `{name}` to {found}, which is not the directory asked for{granted}")));
        }
        if !places.insert(path) {
            return Err(bad(format!("it restored two directories to {}", quoted(&path.to_string_lossy()))));
        }
    }
    if open.is_empty() { Ok(restored) } else { Err(bad("the directories that it restored are not the ones of the request")) }
}

/// Bytes that a set takes here, about.
fn size_of_set(set: &SnapshotSet) -> usize {
    let labels = |labels: &Labels| labels.iter().map(|(key, value)| key.len() + value.len() + PAIR_BYTES).sum::<usize>();
    let member = |member: &Member| size_of::<Member>() + member.volume.len() + member.id.len() + labels(&member.attributes);
    let texts = 2 * set.handle.len() + set.token.0.len() + set.name.len();
    size_of::<SnapshotSet>() + texts + labels(&set.labels) + set.members.iter().map(member).sum::<usize>()
}

/// The volumes of a set; each has one member.
fn volumes_of(set: &SnapshotSet) -> Result<BTreeSet<&str>, ProviderFault> {
    let mut volumes = BTreeSet::new();
    match set.members.iter().find(|member| !volumes.insert(member.volume.as_str())) {
        None => Ok(volumes),
        Some(member) => Err(bad(format!("two members are snapshots of the volume {}", quoted(&member.volume)))),
    }
}

fn is_cut(member: &Member) -> bool {
    matches!(member.state, MemberState::Cut | MemberState::Ready)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use stillframe_core::provider::{Labels, OWNER_LABEL, SnapshotSet, Token};

    use super::Listing;
    use crate::convert::Page;

    #[test]
    fn a_listing_without_measure_is_refused_before_it_fills_the_memory() {
        let owner = [(OWNER_LABEL.to_owned(), "main".to_owned())];
        let padding = (0..39).map(|number| (format!("key-{number}"), "v".repeat(256)));
        let labels: Labels = owner.into_iter().chain(padding).collect();
        let set = |number: usize| SnapshotSet {
            handle: number.to_string(),
            token: Token(number.to_string()),
            name: "set".to_owned(),
            atomic: false,
            isolated: true,
            cut_begin: Timestamp::UNIX_EPOCH,
            cut_end: Timestamp::UNIX_EPOCH,
            members: Vec::new(),
            labels: labels.clone(),
        };
        let mut listing = Listing { room: 1 << 20, ..Listing::new("main") };
        let pages = (0..100).map(|page| Page { sets: vec![set(page)], next: Some(page.to_string()) });
        let refused = pages.map(|page| listing.add(page)).position(|added| added.is_err());
        // Each has some 13 KiB.
        assert!(refused.is_some_and(|pages| (60..100).contains(&pages)), "{refused:?}");
    }
}
