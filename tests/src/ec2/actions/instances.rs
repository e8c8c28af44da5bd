//! Instances are described, resources tagged, and a caller is told who he is.

use super::super::call::{Call, check_tags};
use super::super::cloud::{ACCOUNT, Cloud, Instance, ROOT_DEVICE};
use super::super::filters::{page, passes};
use super::super::refusal::Refusal;
use super::super::snapshots::{describe_tags, moment};
use super::super::volumes::{Attachment, Volume};
use super::super::xml::Xml;

/// What `instanceState` says of one that runs.
const RUNNING: u32 = 16;

/// Those that are named, or all.
pub(super) fn describe(cloud: &mut Cloud, call: &Call) -> Result<Xml, Refusal> {
    let (named, filters) = (call.list("InstanceId"), call.filters()?);
    if let Some(missing) = named.iter().find(|id| !cloud.instances.contains_key(*id)) {
        return Err(Refusal::no_instance(missing));
    }
    let is_asked_for = |id: &&String| named.is_empty() || named.contains(id);
    let all = cloud.instances.keys().filter(is_asked_for).cloned().collect();
    let (page, next) = page(call, all, !named.is_empty())?;
    let mut shown = Vec::new();
    for instance in page.iter().filter_map(|id| cloud.instances.get(id)) {
        if passes(instance, &filters)? {
            shown.push(instance);
        }
    }
    let mut xml = Xml::default();
    xml.list("reservationSet", shown, |xml, instance| {
        xml.leaf("reservationId", instance.id.replacen('i', "r", 1));
        xml.leaf("ownerId", ACCOUNT);
        xml.list("instancesSet", [instance], |xml, instance| describe_one(xml, cloud, instance));
    });
    xml.optional("nextToken", next);
    Ok(xml)
}

fn describe_one(xml: &mut Xml, cloud: &Cloud, instance: &Instance) {
    xml.leaf("instanceId", &instance.id);
    xml.element("instanceState", |xml| {
        xml.leaf("code", RUNNING);
        xml.leaf("name", "running");
    });
    xml.leaf("instanceType", "m6i.large");
    xml.leaf("launchTime", moment(instance.launched));
    xml.element("placement", |xml| {
        xml.leaf("availabilityZone", cloud.zone());
        xml.leaf("tenancy", "default");
    });
    xml.leaf("architecture", "x86_64");
    xml.leaf("rootDeviceType", "ebs");
    xml.leaf("rootDeviceName", ROOT_DEVICE);
    let volumes = cloud.volumes_of(&instance.id);
    let attached = volumes.iter().filter_map(|volume| Some((*volume, volume.attachment.as_ref()?)));
    xml.list("blockDeviceMapping", attached, |xml, (volume, attachment): (&Volume, &Attachment)| {
        xml.leaf("deviceName", &attachment.device);
        xml.element("ebs", |xml| {
            xml.leaf("volumeId", &volume.id);
            xml.leaf("status", attachment.state());
            xml.leaf("attachTime", moment(attachment.since));
            xml.leaf("deleteOnTermination", false);
        });
    });
    describe_tags(xml, &instance.tags);
}

/// Adds tags to snapshots, volumes and instances.
pub(super) fn create_tags(cloud: &mut Cloud, call: &Call) -> Result<Xml, Refusal> {
    let (resources, tags) = (call.list("ResourceId"), call.tags("Tag")?);
    if resources.is_empty() || tags.is_empty() {
        return Err(Refusal::missing_parameter(if tags.is_empty() { "Tag" } else { "ResourceId" }));
    }
    // All of them or none.
    for is_first_pass in [true, false] {
        for id in &resources {
            let held = match id.split('-').next() {
                Some("snap") => &mut cloud.snapshot(id)?.tags,
                Some("vol") => &mut cloud.volume(id)?.tags,
                Some("i") => &mut cloud.instances.get_mut(id).ok_or_else(|| Refusal::no_instance(id))?.tags,
                _ => return Err(Refusal::new("InvalidID", format!("The ID '{id}' is not valid"))),
            };
            let mut all = held.clone();
            all.extend(tags.clone());
            check_tags(&all)?;
            if !is_first_pass {
                *held = all;
            }
        }
    }
    Ok(super::done())
}

/// Whose credentials these are; of STS.
pub(super) fn caller() -> Xml {
    let mut xml = Xml::default();
    xml.leaf("Arn", format!("arn:aws:iam::{ACCOUNT}:user/database"));
    xml.leaf("UserId", "AIDATESTTESTTESTTEST");
    xml.leaf("Account", ACCOUNT);
    xml
}
