//! Restoring a set: a writable volume for each snapshot, mounted in a place of its own.
//!
//! A thin snapshot is cloned by a snapshot of it, at once. LVM takes no snapshot of a classic one, and mounting that itself would
//! write into the backup (a journal is replayed even when it is mounted to be read), so it is copied block by block into a new
//! volume. A copy carries a mark when it is complete: an incomplete one is never mounted, and made anew.

use stillframe_sdk::command::Command;
use stillframe_sdk::{
    Error, Host, Level, MemberState, RestoreDirectory, RestoreRequest, Restored, RestoredDirectory, SetHandle, invalid, mount,
};

use crate::layout::{self, RestoreHandle, RestoreToken};
use crate::program::run;
use crate::release;
use crate::report::LogicalVolume;
use crate::room::{self, Need};
use crate::set::{Inventory, Set, Snapshot};
use crate::tags::{self, Facts};
use crate::{Config, copy, delete};

/// Keys of a clone's tags.
pub(crate) const RESTORE: &str = "restore";
const SET: &str = "set";
pub(crate) const VOLUME: &str = "volume";
pub(crate) const GROUPS: &str = "groups";

/// The mark of a complete copy.
pub(crate) const COPIED: &str = "copied";

/// Name of the data path whose content comes from the archive of WAL.
const WAL: &str = "wal";

pub(crate) fn restore_set<H: Host + Command>(host: &H, config: &Config, request: &RestoreRequest) -> Result<Restored, Error> {
    let token = RestoreToken::new(&request.token)
        .ok_or_else(|| invalid("token", format!("`{}` is not made of at most 64 letters, digits, `_` and `-`", request.token)))?;
    let handle = SetHandle::parse(&request.handle)?;
    let inventory = Inventory::take(host, config)?;
    let set = inventory.by_handle(&handle)?.ok_or(Error::NotFound(handle.to_string()))?;
    refuse_unfit(&inventory, set)?;
    refuse_omissions(set, &request.directories)?;
    let places =
        request.directories.iter().map(|directory| place(config, set, &token, directory)).collect::<Result<Vec<_>, _>>()?;
    let clones = clones(config, &inventory, set, &token, &places)?;
    refuse_when_short(host, config, &inventory, &clones)?;
    if let Err(error) = make(host, config, &token, &handle, &clones) {
        // What an earlier call with this token has made may be in use already: then only the host's release removes it.
        if clones.iter().all(|clone| clone.existing.is_none()) {
            undo(host, config, &token);
        }
        return Err(error);
    }
    let directories = places.into_iter().map(|place| RestoredDirectory { name: place.name, path: place.path }).collect();
    let handle = RestoreHandle { token, groups: groups(&clones) };
    Ok(Restored { handle: handle.to_string(), directories })
}

/// Where one data path will be.
struct Place {
    name: String,
    /// The volume of the set that holds it.
    index: usize,
    path: String,
}

/// One volume to be made of a snapshot.
struct Clone<'a> {
    snapshot: &'a Snapshot,
    name: String,
    point: String,
    existing: Option<&'a LogicalVolume>,
}

impl Clone<'_> {
    fn is_thin(&self) -> bool {
        self.snapshot.volume.is_thin()
    }

    fn id(&self) -> String {
        format!("{}/{}", self.snapshot.volume.group, self.name)
    }

    /// Size of what the snapshot shows.
    fn bytes(&self) -> u64 {
        self.snapshot.volume.origin_bytes.unwrap_or(self.snapshot.volume.size_bytes)
    }

    /// Whether an earlier call has made it, completely.
    fn is_made(&self) -> bool {
        self.existing.is_some_and(|volume| self.is_thin() || Facts::of(&volume.tags).text(COPIED).is_some())
    }
}

fn make<H: Host + Command>(
    host: &H,
    config: &Config,
    token: &RestoreToken,
    handle: &SetHandle,
    clones: &[Clone<'_>],
) -> Result<(), Error> {
    let total = clones.len() as u64;
    let groups = groups(clones);
    for (done, clone) in (0..).zip(clones) {
        host.progress(done, Some(total), &format!("making `{}`", clone.id()));
        if !clone.is_made() {
            make_volume(host, config, clone, &tags(token, handle, clone, &groups))?;
        } else if clone.existing.is_some_and(|volume| !volume.is_active) {
            // The machine was restarted since: the volume is there, and skipped when others are activated.
            run(host, "lvchange", &["--activate=y".to_owned(), "--ignoreactivationskip".to_owned(), clone.id()])?;
        }
        let device = layout::device(&clone.snapshot.volume.group, &clone.name);
        mount::attach(host, &device, &clone.snapshot.part.fs_type, &clone.point)?;
    }
    host.progress(total, Some(total), "all volumes are mounted");
    Ok(())
}

fn make_volume<H: Host + Command>(host: &H, config: &Config, clone: &Clone<'_>, tags: &[String]) -> Result<(), Error> {
    if let Some(incomplete) = clone.existing {
        delete::remove_volume(host, incomplete)?;
    }
    run(host, "lvcreate", &create_args(clone, tags))?;
    if !clone.is_thin() {
        copy::copy(host, config, &clone.snapshot.volume, &clone.name, clone.bytes())?;
        let mut args: Vec<String> =
            tags::text(COPIED, &host.now_ms().to_string()).iter().map(|tag| format!("--addtag={tag}")).collect();
        args.push(clone.id());
        run(host, "lvchange", &args)?;
    }
    Ok(())
}

/// Neither is activated with the others when the machine starts: two file systems of one UUID would be found then.
fn create_args(clone: &Clone<'_>, tags: &[String]) -> Vec<String> {
    let snapshot = &clone.snapshot.volume;
    let mut args: Vec<String> = Vec::new();
    let mut add = |words: &[&str]| args.extend(words.iter().map(|&word| word.to_owned()));
    if clone.is_thin() {
        add(&["--snapshot", "--setactivationskip=y", "--ignoreactivationskip", "--activate=y", "--permission=rw"]);
    } else {
        // Not wiped: every block is overwritten.
        add(&["--yes", "--type=linear", "--setactivationskip=y", "--ignoreactivationskip", "--activate=y", "--zero=n"]);
        add(&["--wipesignatures=n", &format!("--size={}b", clone.bytes())]);
    }
    add(&[&format!("--name={}", clone.name)]);
    args.extend(tags.iter().map(|tag| format!("--addtag={tag}")));
    args.push(if clone.is_thin() { snapshot.id() } else { snapshot.group.clone() });
    args
}

/// What a clone tells of its restore. The groups of all of them, so that the one that is found tells where the others are.
fn tags(token: &RestoreToken, handle: &SetHandle, clone: &Clone<'_>, groups: &[String]) -> Vec<String> {
    let facts = [(RESTORE, token.as_str()), (SET, &handle.to_string()), (VOLUME, &clone.snapshot.part.index.to_string())];
    let mut tags: Vec<String> = facts.iter().flat_map(|(key, value)| tags::text(key, value)).collect();
    tags.extend(tags::pairs(GROUPS, groups.iter().map(|group| (group.as_str(), ""))));
    tags
}

/// The groups that these are made in.
fn groups(clones: &[Clone<'_>]) -> Vec<String> {
    let mut groups: Vec<String> = clones.iter().map(|clone| clone.snapshot.volume.group.clone()).collect();
    groups.sort();
    groups.dedup();
    groups
}

/// The volumes to be made: one for each snapshot that holds a directory of the request.
fn clones<'a>(
    config: &Config,
    inventory: &'a Inventory,
    set: &'a Set,
    token: &RestoreToken,
    places: &[Place],
) -> Result<Vec<Clone<'a>>, Error> {
    let mut clones = Vec::new();
    for snapshot in &set.snapshots {
        let index = snapshot.part.index;
        if !places.iter().any(|place| place.index == index) {
            continue;
        }
        let name = token.clone_name(index);
        let existing = inventory.volume(&format!("{}/{name}", snapshot.volume.group));
        if let Some(volume) = existing {
            let facts = Facts::of(&volume.tags);
            let ours = facts.text(RESTORE).as_deref() == Some(token.as_str())
                && facts.text(SET) == Some(set.plan.handle.to_string())
                && facts.number(VOLUME) == Some(index);
            if !ours {
                return Err(Error::Conflict(volume.id()));
            }
        }
        clones.push(Clone { snapshot, name, point: token.point(config, index), existing });
    }
    Ok(clones)
}

fn refuse_unfit(inventory: &Inventory, set: &Set) -> Result<(), Error> {
    if !set.is_whole() {
        return Err(invalid("handle", format!("the set `{}` is not complete", set.plan.handle.name)));
    }
    for snapshot in &set.snapshots {
        match inventory.state(&snapshot.volume) {
            MemberState::Ready => {}
            MemberState::Failed(reason) => return Err(invalid("handle", reason)),
            _ => return Err(Error::Transient(format!("`{}` cannot be read now", snapshot.volume.id()))),
        }
    }
    Ok(())
}

/// A cluster without one of its tablespaces is no restore.
fn refuse_omissions(set: &Set, directories: &[RestoreDirectory]) -> Result<(), Error> {
    let mut paths = set.snapshots.iter().flat_map(|snapshot| &snapshot.part.paths).map(|(name, _)| name);
    match paths.find(|name| *name != WAL && !directories.iter().any(|directory| directory.name == **name)) {
        Some(name) => Err(invalid("directories", format!("the set holds `{name}`, which is not asked for"))),
        None => Ok(()),
    }
}

fn place(config: &Config, set: &Set, token: &RestoreToken, directory: &RestoreDirectory) -> Result<Place, Error> {
    for snapshot in &set.snapshots {
        if let Some((name, within)) = snapshot.part.paths.iter().find(|(name, _)| *name == directory.name) {
            let index = snapshot.part.index;
            let path = format!("{}{}", token.point(config, index), within.trim_end_matches('/'));
            return Ok(Place { name: name.clone(), index, path });
        }
    }
    Err(invalid("directories", format!("the set `{}` holds no `{}`", set.plan.handle.name, directory.name)))
}

fn refuse_when_short<H: Command>(host: &H, config: &Config, inventory: &Inventory, clones: &[Clone<'_>]) -> Result<(), Error> {
    let missing = || clones.iter().filter(|clone| clone.existing.is_none());
    for clone in missing().filter(|clone| clone.is_thin()) {
        room::in_pool(config, inventory, &clone.snapshot.volume)?;
    }
    let copied = missing().filter(|clone| !clone.is_thin());
    let needs: Vec<Need<'_>> = copied
        .map(|clone| Need {
            group: &clone.snapshot.volume.group,
            bytes: clone.bytes(),
            purpose: format!("a copy of the classic snapshot `{}`", clone.snapshot.volume.id()),
        })
        .collect();
    room::in_groups(host, config, &needs)
}

/// Removes what a failed call has made, as far as that is possible; the host releases by the token.
fn undo<H: Host + Command>(host: &H, config: &Config, token: &RestoreToken) {
    if let Err(left) = release::release(host, config, token.as_str()) {
        host.log(Level::Warn, &format!("the incomplete restore `{}` could not be removed: {left:?}", token.as_str()));
    }
}
