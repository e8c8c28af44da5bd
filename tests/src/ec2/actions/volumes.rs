//! Volumes are created of snapshots, described and deleted.

use super::super::call::Call;
use super::super::cloud::Cloud;
use super::super::filters::{page, passes};
use super::super::refusal::Refusal;
use super::super::snapshots::SnapshotState;
use super::super::volumes::{AttachmentState, Volume, VolumeState};
use super::super::xml::Xml;

/// What `CreateVolume` is told.
pub(super) const CREATE: [&str; 9] =
    ["AvailabilityZone", "SnapshotId", "Size", "VolumeType", "Iops", "Throughput", "Encrypted", "KmsKeyId", "ClientToken"];

/// A volume of a snapshot, or an empty one; the same client token again gives the same one.
pub(super) fn create(cloud: &mut Cloud, call: &Call) -> Result<Xml, Refusal> {
    if let Some((parameters, made)) = call.get("ClientToken").and_then(|token| cloud.client_tokens.get(token)) {
        if *parameters != call.parameters {
            let message = "The request uses the same client token as a previous, but non-identical request.";
            return Err(Refusal::new("IdempotentParameterMismatch", message));
        }
        let mut xml = Xml::default();
        let made = cloud.volumes.get(made).ok_or_else(|| Refusal::no_volume(made))?;
        made.describe(&mut xml);
        return Ok(xml);
    }
    let volume = new_volume(cloud, call)?;
    if let Some(token) = call.get("ClientToken") {
        cloud.client_tokens.insert(token.to_owned(), (call.parameters.clone(), volume.id.clone()));
    }
    let mut xml = Xml::default();
    volume.describe(&mut xml);
    cloud.volumes.insert(volume.id.clone(), volume);
    Ok(xml)
}

fn new_volume(cloud: &mut Cloud, call: &Call) -> Result<Volume, Refusal> {
    let zone = call.required("AvailabilityZone")?;
    if zone != cloud.zone() {
        return Err(Refusal::new("InvalidZone.NotFound", format!("The zone '{zone}' does not exist.")));
    }
    let (tags, asked) = (call.tags_for("volume")?, call.number("Size")?);
    let snapshot = match call.get("SnapshotId") {
        None => None,
        Some(id) => Some(cloud.snapshots.get(id).ok_or_else(|| Refusal::no_snapshot(id))?.clone()),
    };
    if let Some(snapshot) = snapshot.as_ref().filter(|snapshot| snapshot.state != SnapshotState::Completed) {
        return Err(Refusal::new("IncorrectState", format!("Snapshot '{}' is not 'completed'.", snapshot.id)));
    }
    let smallest = snapshot.as_ref().map(|snapshot| snapshot.size_gib);
    let size = asked.or(smallest).ok_or_else(|| Refusal::missing_parameter("Size"))?;
    if smallest.is_some_and(|smallest| size < smallest) {
        return Err(Refusal::new("InvalidParameterValue", "The volume is smaller than its snapshot."));
    }
    let id = cloud.new_id("vol");
    let mut volume = Volume::new(&id, size, zone, cloud.now());
    volume.tags = tags;
    // What EC2 gives to those who name none.
    call.get("VolumeType").unwrap_or("gp2").clone_into(&mut volume.kind);
    (volume.iops, volume.throughput) = (call.number("Iops")?, call.number("Throughput")?);
    volume.looks_left = cloud.passing_looks;
    let origin = snapshot.as_ref().map(|snapshot| snapshot.id.clone());
    volume.snapshot = cloud.forged_origin.clone().or(origin);
    if let Some(disks) = &mut cloud.disks {
        match snapshot.and_then(|snapshot| Some((snapshot.images?, snapshot.volume))) {
            Some((images, of)) => disks.create_from(images, &of, &id, size),
            None => disks.create_blank(&id, size),
        }
    }
    Ok(volume)
}

/// Those that are named, or all; each has been looked at.
pub(super) fn describe(cloud: &mut Cloud, call: &Call) -> Result<Xml, Refusal> {
    let (named, filters) = (call.list("VolumeId"), call.filters()?);
    if let Some(missing) = named.iter().find(|id| !cloud.volumes.contains_key(*id)) {
        return Err(Refusal::no_volume(missing));
    }
    let all = if named.is_empty() { cloud.volumes.keys().cloned().collect() } else { named.clone() };
    let (page, next) = page(call, all, !named.is_empty())?;
    let mut shown = Vec::new();
    for id in page {
        let Some(volume) = cloud.volumes.get(&id) else { continue };
        let is_asked_for = passes(volume, &filters)?;
        let looked_at = if is_asked_for { look(cloud, &id) } else { None };
        // Looked at, it may be gone, or be in a state that was not asked for.
        if let Some(volume) = looked_at
            && passes(&volume, &filters)?
        {
            shown.push(volume);
        }
    }
    let mut xml = Xml::default();
    xml.list("volumeSet", &shown, |xml, volume| volume.describe(xml));
    xml.optional("nextToken", next);
    Ok(xml)
}

/// Goes on with what a volume is about to do; none when that was to vanish.
fn look(cloud: &mut Cloud, id: &str) -> Option<Volume> {
    let volume = cloud.volumes.get_mut(id)?;
    let has_passed = volume.look();
    if volume.state == VolumeState::Deleting && has_passed {
        return cloud.volumes.remove(id).and(None);
    }
    let leaves = |state| matches!(state, AttachmentState::Detaching | AttachmentState::Busy);
    if volume.attachment.as_ref().is_some_and(|attachment| leaves(attachment.state)) && has_passed {
        let is_free = cloud.disks.as_mut().is_none_or(|disks| disks.detach(id));
        let volume = cloud.volumes.get_mut(id)?;
        if is_free {
            (volume.attachment, volume.state) = (None, VolumeState::Available);
        } else if let Some(attachment) = &mut volume.attachment {
            attachment.state = AttachmentState::Busy;
        }
    }
    cloud.volumes.get(id).cloned()
}

/// One that nobody uses.
pub(super) fn delete(cloud: &mut Cloud, call: &Call) -> Result<Xml, Refusal> {
    let looks = cloud.passing_looks;
    let volume = cloud.volume(call.required("VolumeId")?)?;
    match volume.state {
        VolumeState::Available => {}
        VolumeState::InUse => {
            return Err(Refusal::new("VolumeInUse", format!("Volume {} is currently attached to an instance", volume.id)));
        }
        VolumeState::Creating | VolumeState::Deleting => {
            return Err(Refusal::new("IncorrectState", format!("Volume {} is in the '{}' state", volume.id, volume.state())));
        }
    }
    (volume.state, volume.looks_left) = (VolumeState::Deleting, looks);
    let id = volume.id.clone();
    if let Some(disks) = &mut cloud.disks {
        disks.delete(&id);
    }
    Ok(super::done())
}
