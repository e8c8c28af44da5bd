//! The actions, each with the parameters that it has.

mod attachments;
mod instances;
mod locks;
mod snapshots;
mod volumes;

use super::call::Call;
use super::cloud::Cloud;
use super::refusal::Refusal;
use super::xml::Xml;

const VERSION: &str = "2016-11-15";
const VERSION_OF_STS: &str = "2011-06-15";

/// What every `TagSpecification` has.
const TAGS: [&str; 3] = ["TagSpecification.N.ResourceType", "TagSpecification.N.Tag.N.Key", "TagSpecification.N.Tag.N.Value"];
/// What every description can be narrowed by.
const FILTERS: [&str; 4] = ["Filter.N.Name", "Filter.N.Value.N", "MaxResults", "NextToken"];

/// Does what is asked for; with `partly`, only a part of it.
pub(super) fn perform(cloud: &mut Cloud, call: &Call, partly: bool) -> Result<Xml, Refusal> {
    if call.action == "GetCallerIdentity" {
        return check(cloud, call, VERSION_OF_STS, &[]).map(|()| instances::caller());
    }
    let with = |own: &[&'static str], common: &[&'static str]| [own, common].concat();
    let parameters = match call.action.as_str() {
        "CreateSnapshots" => with(&snapshots::CREATE_SET, &TAGS),
        "CreateSnapshot" => with(&["VolumeId", "Description"], &TAGS),
        "DescribeSnapshots" => with(&["SnapshotId.N", "Owner.N"], &FILTERS),
        "DescribeLockedSnapshots" => with(&["SnapshotId.N"], &FILTERS),
        "DeleteSnapshot" | "UnlockSnapshot" => vec!["SnapshotId"],
        "LockSnapshot" => locks::LOCK.to_vec(),
        "CreateVolume" => with(&volumes::CREATE, &TAGS),
        "DescribeVolumes" => with(&["VolumeId.N"], &FILTERS),
        "DeleteVolume" => vec!["VolumeId"],
        "AttachVolume" => vec!["VolumeId", "InstanceId", "Device"],
        "DetachVolume" => vec!["VolumeId", "InstanceId", "Device", "Force"],
        "DescribeInstances" => with(&["InstanceId.N"], &FILTERS),
        "CreateTags" => vec!["ResourceId.N", "Tag.N.Key", "Tag.N.Value"],
        other => {
            return Err(Refusal::new("InvalidAction", format!("The action {other} is not valid for this web service.")));
        }
    };
    check(cloud, call, VERSION, &parameters)?;
    match call.action.as_str() {
        "CreateSnapshots" => snapshots::create_set(cloud, call, partly),
        "CreateSnapshot" => snapshots::create(cloud, call),
        "DescribeSnapshots" => snapshots::describe(cloud, call),
        "DeleteSnapshot" => snapshots::delete(cloud, call),
        "LockSnapshot" => locks::lock(cloud, call),
        "UnlockSnapshot" => locks::unlock(cloud, call),
        "DescribeLockedSnapshots" => locks::describe(cloud, call),
        "CreateVolume" => volumes::create(cloud, call),
        "DescribeVolumes" => volumes::describe(cloud, call),
        "DeleteVolume" => volumes::delete(cloud, call),
        "AttachVolume" => attachments::attach(cloud, call),
        "DetachVolume" => attachments::detach(cloud, call),
        "DescribeInstances" => instances::describe(cloud, call),
        _ => instances::create_tags(cloud, call),
    }
}

/// What comes before any action: its version, its parameters, the right to it, and whether it is only a try.
fn check(cloud: &Cloud, call: &Call, version: &str, parameters: &[&str]) -> Result<(), Refusal> {
    if call.version != version {
        return Err(Refusal::new("NoSuchVersion", format!("The requested version ({}) is not valid.", call.version)));
    }
    call.check_names(parameters)?;
    if cloud.denied.contains(&call.action) {
        let message = format!("You are not authorized to perform this operation: ec2:{}", call.action);
        return Err(Refusal::new("UnauthorizedOperation", message).with_status(403));
    }
    if call.flag("DryRun") {
        let message = "Request would have succeeded, but DryRun flag is set.";
        return Err(Refusal::new("DryRunOperation", message).with_status(412));
    }
    Ok(())
}

/// What an action without a result answers.
fn done() -> Xml {
    let mut xml = Xml::default();
    xml.leaf("return", true);
    xml
}
