//! Snapshots are created, one or a set of them, described and deleted.

use super::super::call::{Call, check_tags};
use super::super::cloud::{ACCOUNT, Cloud, ROOT_DEVICE, Tags};
use super::super::filters::{page, passes};
use super::super::refusal::Refusal;
use super::super::snapshots::Snapshot;
use super::super::volumes::Volume;
use super::super::xml::Xml;

/// What `CreateSnapshots` is told.
pub(super) const CREATE_SET: [&str; 5] = [
    "InstanceSpecification.InstanceId",
    "InstanceSpecification.ExcludeBootVolume",
    "InstanceSpecification.ExcludeDataVolumeId.N",
    "Description",
    "CopyTagsFromSource",
];

/// All volumes of an instance at one instant, but for those that are excluded.
pub(super) fn create_set(cloud: &mut Cloud, call: &Call, partly: bool) -> Result<Xml, Refusal> {
    let instance = call.required("InstanceSpecification.InstanceId")?.to_owned();
    cloud.instance(&instance)?;
    let tags = call.tags_for("snapshot")?;
    let copies_tags = match call.get("CopyTagsFromSource") {
        None => false,
        Some("volume") => true,
        Some(other) => return Err(Refusal::invalid_parameter("CopyTagsFromSource", other)),
    };
    let mut volumes = chosen(cloud, call, &instance)?;
    if partly {
        volumes.truncate(1);
    }
    let mut made = Vec::new();
    for volume in &volumes {
        let mut all = if copies_tags { volume.tags.clone() } else { Tags::new() };
        all.extend(tags.clone());
        check_tags(&all)?;
        made.push(new_snapshot(cloud, call, volume, all));
    }
    if let Some(disks) = &mut cloud.disks {
        let set = disks.cut_all(made.iter().map(|snapshot| snapshot.id.clone()));
        for snapshot in &mut made {
            snapshot.images = Some(set);
        }
    }
    let mut xml = Xml::default();
    xml.list("snapshotSet", &made, |xml, snapshot| snapshot.describe_in_a_set(xml));
    cloud.snapshots.extend(made.into_iter().map(|snapshot| (snapshot.id.clone(), snapshot)));
    if partly {
        return Err(Refusal::new("InternalError", "An internal error has occurred").with_status(500));
    }
    Ok(xml)
}

fn chosen(cloud: &Cloud, call: &Call, instance: &str) -> Result<Vec<Volume>, Refusal> {
    let excluded = call.list("InstanceSpecification.ExcludeDataVolumeId");
    let is_root = |volume: &Volume| volume.attachment.as_ref().is_some_and(|attachment| attachment.device == ROOT_DEVICE);
    let attached: Vec<&Volume> = cloud.volumes_of(instance);
    for id in &excluded {
        if !attached.iter().any(|volume| &volume.id == id && !is_root(volume)) {
            let message = format!("The volume '{id}' is not a data volume of the instance '{instance}'");
            return Err(Refusal::new("InvalidParameterValue", message));
        }
    }
    let without_root = call.flag("InstanceSpecification.ExcludeBootVolume");
    let is_excluded = |volume: &Volume| excluded.contains(&volume.id) || (without_root && is_root(volume));
    let volumes: Vec<Volume> = attached.into_iter().filter(|volume| !is_excluded(volume)).cloned().collect();
    if volumes.is_empty() {
        return Err(Refusal::new("InvalidParameterCombination", "All volumes of the instance are excluded"));
    }
    Ok(volumes)
}

/// One volume.
pub(super) fn create(cloud: &mut Cloud, call: &Call) -> Result<Xml, Refusal> {
    let volume = cloud.volume(call.required("VolumeId")?)?.clone();
    let tags = call.tags_for("snapshot")?;
    let mut snapshot = new_snapshot(cloud, call, &volume, tags);
    if let Some(disks) = &mut cloud.disks {
        snapshot.images = Some(disks.cut_one(&snapshot.id, &volume.id));
    }
    let mut xml = Xml::default();
    snapshot.describe(&mut xml);
    cloud.snapshots.insert(snapshot.id.clone(), snapshot);
    Ok(xml)
}

fn new_snapshot(cloud: &mut Cloud, call: &Call, volume: &Volume, tags: Tags) -> Snapshot {
    let id = cloud.new_id("snap");
    let mut snapshot = Snapshot::new(&id, &volume.id, ACCOUNT, cloud.now());
    snapshot.tags = tags;
    snapshot.size_gib = volume.size_gib;
    call.get("Description").unwrap_or_default().clone_into(&mut snapshot.description);
    snapshot.completion = cloud.next_completion();
    snapshot.hidden_looks = cloud.hidden_looks;
    snapshot
}

/// Those of the owners, or those that are named; each of them has been looked at.
pub(super) fn describe(cloud: &mut Cloud, call: &Call) -> Result<Xml, Refusal> {
    let (named, filters) = (call.list("SnapshotId"), call.filters()?);
    if let Some(missing) = named.iter().find(|id| !cloud.snapshots.contains_key(*id)) {
        return Err(Refusal::no_snapshot(missing));
    }
    let owners: Vec<String> =
        call.list("Owner").into_iter().map(|owner| if owner == "self" { ACCOUNT.to_owned() } else { owner }).collect();
    let is_asked_for = |snapshot: &Snapshot| {
        (named.is_empty() || named.contains(&snapshot.id)) && (owners.is_empty() || owners.contains(&snapshot.owner))
    };
    let all: Vec<String> =
        cloud.snapshots.values().filter(|snapshot| is_asked_for(snapshot)).map(|found| found.id.clone()).collect();
    let (page, next) = page(call, all, !named.is_empty())?;
    let mut shown = Vec::new();
    for id in page {
        let Some(snapshot) = cloud.snapshots.get_mut(&id) else { continue };
        // Before and after the look its state may differ; a filter is about what is shown.
        let mut looked_at = snapshot.clone();
        let is_seen = looked_at.look();
        if passes(&looked_at, &filters)? {
            *snapshot = looked_at;
            if is_seen {
                shown.push(snapshot.clone());
            } else if !named.is_empty() {
                return Err(Refusal::no_snapshot(&id));
            }
        }
    }
    let mut xml = Xml::default();
    xml.list("snapshotSet", &shown, |xml, snapshot| snapshot.describe(xml));
    xml.optional("nextToken", next);
    Ok(xml)
}

/// One that is neither locked nor somebody else's.
pub(super) fn delete(cloud: &mut Cloud, call: &Call) -> Result<Xml, Refusal> {
    let now = cloud.now();
    let snapshot = cloud.snapshot(call.required("SnapshotId")?)?;
    if snapshot.lock.as_ref().is_some_and(|lock| !lock.is_over(now)) {
        return Err(Refusal::new("SnapshotLocked", format!("The snapshot '{}' is locked.", snapshot.id)));
    }
    let (id, images) = (snapshot.id.clone(), snapshot.images);
    cloud.snapshots.remove(&id);
    if let (Some(disks), Some(set)) = (&mut cloud.disks, images) {
        disks.delete_snapshot(set, &id);
    }
    Ok(super::done())
}
