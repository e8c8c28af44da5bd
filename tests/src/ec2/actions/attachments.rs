//! Volumes are attached to instances and detached.

use super::super::call::Call;
use super::super::cloud::Cloud;
use super::super::refusal::Refusal;
use super::super::volumes::{Attachment, AttachmentState, VolumeState};
use super::super::xml::Xml;

/// Attaches a volume that is available.
pub(super) fn attach(cloud: &mut Cloud, call: &Call) -> Result<Xml, Refusal> {
    let (now, looks) = (cloud.now(), cloud.passing_looks);
    let (instance, device) = (call.required("InstanceId")?.to_owned(), call.required("Device")?.to_owned());
    cloud.instance(&instance)?;
    let volume = cloud.volume(call.required("VolumeId")?)?;
    let id = volume.id.clone();
    match volume.state {
        VolumeState::Available => {}
        VolumeState::InUse => return Err(Refusal::new("VolumeInUse", format!("{id} is already attached to an instance"))),
        VolumeState::Creating | VolumeState::Deleting => {
            return Err(Refusal::new("IncorrectState", format!("The volume '{id}' is not 'available'.")));
        }
    }
    let letter = device.strip_prefix("/dev/sd").or_else(|| device.strip_prefix("/dev/xvd"));
    if !letter.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_lowercase())) {
        let message = format!("Value ({device}) for parameter device is invalid. {device} is not a valid EBS device name.");
        return Err(Refusal::new("InvalidParameterValue", message));
    }
    let taken = |attachment: &Attachment| attachment.device == device;
    if cloud.volumes_of(&instance).iter().any(|other| other.attachment.as_ref().is_some_and(taken)) {
        return Err(device_taken(&device));
    }
    if let Some(disks) = &mut cloud.disks {
        disks.attach(&id, &device).map_err(|_| device_taken(&device))?;
    }
    let volume = cloud.volume(&id)?;
    let attachment = Attachment { instance, device, state: AttachmentState::Attaching, since: now };
    (volume.state, volume.looks_left) = (VolumeState::InUse, looks);
    let mut xml = Xml::default();
    attachment.describe(&mut xml, &id);
    volume.attachment = Some(attachment);
    Ok(xml)
}

fn device_taken(device: &str) -> Refusal {
    let message = format!("Invalid value '{device}' for unixDevice. Attachment point {device} is already in use");
    Refusal::new("InvalidParameterValue", message)
}

/// Begins to detach a volume; it goes on when somebody looks, and ends when the instance does not use it any more.
pub(super) fn detach(cloud: &mut Cloud, call: &Call) -> Result<Xml, Refusal> {
    let looks = cloud.passing_looks;
    let volume = cloud.volume(call.required("VolumeId")?)?;
    let id = volume.id.clone();
    let state = volume.state();
    let Some(attachment) = &mut volume.attachment else {
        return Err(Refusal::new("IncorrectState", format!("Volume '{id}' is in the '{state}' state.")));
    };
    let is_this = |parameter: &str, value: &str| call.get(parameter).is_none_or(|asked| asked == value);
    if !is_this("InstanceId", &attachment.instance) || !is_this("Device", &attachment.device) {
        return Err(Refusal::new("InvalidAttachment.NotFound", format!("The volume '{id}' is not attached there")));
    }
    if matches!(attachment.state, AttachmentState::Detaching | AttachmentState::Busy) {
        return Err(Refusal::new("IncorrectState", format!("Volume '{id}' is being detached already.")));
    }
    attachment.state = AttachmentState::Detaching;
    let mut xml = Xml::default();
    attachment.describe(&mut xml, &id);
    volume.looks_left = looks;
    Ok(xml)
}
