//! Volumes: looked for, made, attached, detached, deleted.

use std::collections::BTreeMap;

use stillframe_sdk::Host;
use stillframe_sdk::aws::Aws;

use super::{Class, Ec2, Fault, query, xml};

/// Entries on one page.
const PAGE_LEN: &str = "500";

/// One volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Volume {
    pub(crate) id: String,
    /// `creating`, `available`, `in-use`, `deleting`, `deleted`, `error`.
    pub(crate) status: String,
    /// The snapshot that it was made from.
    pub(crate) snapshot: String,
    pub(crate) zone: String,
    pub(crate) kind: String,
    pub(crate) gib: Option<u64>,
    pub(crate) encrypted: bool,
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) tags: BTreeMap<String, String>,
}

/// Where a volume is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attachment {
    pub(crate) instance: String,
    /// EC2's name for it: `/dev/sdf`.
    pub(crate) device: String,
    /// `attaching`, `attached`, `detaching`, `detached`, `busy`.
    pub(crate) status: String,
}

/// What to make.
#[derive(Debug)]
pub(crate) struct NewVolume<'a> {
    pub(crate) snapshot: &'a str,
    pub(crate) zone: &'a str,
    /// Makes a repetition the same volume.
    pub(crate) client_token: &'a str,
    pub(crate) tags: &'a [(String, String)],
}

impl Volume {
    /// Whether it is there to stay.
    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self.status.as_str(), "deleting" | "deleted" | "error")
    }

    /// Its attachment to this instance.
    pub(crate) fn attachment_to(&self, instance: &str) -> Option<&Attachment> {
        self.attachments.iter().find(|attachment| attachment.instance == instance && attachment.status != "detached")
    }
}

impl<H: Host + Aws> Ec2<'_, H> {
    /// These volumes; one that does not exist fails the request.
    pub(crate) fn volumes(&self, ids: &[&str]) -> Result<Vec<Volume>, Fault> {
        let request = query("DescribeVolumes").list("VolumeId", ids.iter().copied());
        self.send(&request, |root| xml::items(root, "volumeSet").map(volume).collect())
    }

    /// Those of these volumes that can be seen.
    pub(crate) fn visible_volumes(&self, ids: &[&str]) -> Result<Vec<Volume>, Fault> {
        self.volumes_where("volume-id", ids)
    }

    /// The volumes that are attached to an instance.
    pub(crate) fn volumes_attached_to(&self, instance: &str) -> Result<Vec<Volume>, Fault> {
        self.volumes_where("attachment.instance-id", &[instance])
    }

    /// The volumes that have this tag.
    pub(crate) fn volumes_tagged(&self, key: &str, value: &str) -> Result<Vec<Volume>, Fault> {
        self.volumes_where(&format!("tag:{key}"), &[value])
    }

    fn volumes_where(&self, filter: &str, values: &[&str]) -> Result<Vec<Volume>, Fault> {
        let request = query("DescribeVolumes").filter(filter, values.iter().copied()).with("MaxResults", PAGE_LEN);
        self.pages(&request, |root| xml::items(root, "volumeSet").map(volume).collect())
    }

    /// Makes a volume from a snapshot; returns it as it begins.
    pub(crate) fn create_volume(&self, new: &NewVolume<'_>) -> Result<Volume, Fault> {
        let config = self.config;
        let request = query("CreateVolume")
            .with("SnapshotId", new.snapshot)
            .with("AvailabilityZone", new.zone)
            .with("VolumeType", config.volume_type.as_deref().unwrap_or(crate::config::VOLUME_TYPE))
            .maybe("Iops", config.iops)
            .maybe("Throughput", config.throughput)
            .maybe("Encrypted", config.kms_key_id.as_ref().map(|_| true))
            .maybe("KmsKeyId", config.kms_key_id.as_ref())
            .with("ClientToken", new.client_token)
            .tagged("volume", new.tags);
        self.send(&request, volume)
    }

    /// Begins to attach a volume.
    pub(crate) fn attach_volume(&self, id: &str, instance: &str, device: &str) -> Result<(), Fault> {
        let request = query("AttachVolume").with("VolumeId", id).with("InstanceId", instance).with("Device", device);
        self.send(&request, |_| Some(()))
    }

    /// Begins to detach a volume; one that is not attached is a success.
    pub(crate) fn detach_volume(&self, id: &str, instance: &str) -> Result<(), Fault> {
        match self.send(&query("DetachVolume").with("VolumeId", id).with("InstanceId", instance), |_| Some(())) {
            // `IncorrectState`: it is available, or already on its way.
            Err(fault) if fault.class == Class::NotFound || fault.code == "IncorrectState" => Ok(()),
            other => other,
        }
    }

    /// Deletes a volume; one that is gone is a success.
    pub(crate) fn delete_volume(&self, id: &str) -> Result<(), Fault> {
        match self.send(&query("DeleteVolume").with("VolumeId", id), |_| Some(())) {
            Err(fault) if fault.class == Class::NotFound => Ok(()),
            other => other,
        }
    }
}

fn volume(node: xml::Node<'_, '_>) -> Option<Volume> {
    let text = |name| xml::text(node, name).unwrap_or_default();
    Some(Volume {
        id: xml::text(node, "volumeId").filter(|id| id.starts_with("vol-"))?,
        status: text("status"),
        snapshot: text("snapshotId"),
        zone: text("availabilityZone"),
        kind: text("volumeType"),
        gib: text("size").parse().ok(),
        encrypted: text("encrypted") == "true",
        attachments: xml::items(node, "attachmentSet").map(attachment).collect(),
        tags: xml::tags(node),
    })
}

fn attachment(node: xml::Node<'_, '_>) -> Attachment {
    let text = |name| xml::text(node, name).unwrap_or_default();
    Attachment { instance: text("instanceId"), device: text("device"), status: text("status") }
}
