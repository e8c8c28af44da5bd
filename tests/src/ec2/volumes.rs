//! A volume: what it is, and the states that it passes through.

use jiff::Timestamp;

use super::cloud::Tags;
use super::filters::Described;
use super::snapshots::{describe_tags, moment};
use super::xml::Xml;

/// How far a volume has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VolumeState {
    Creating,
    Available,
    InUse,
    Deleting,
}

/// How far an attachment has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttachmentState {
    Attaching,
    Attached,
    Detaching,
    /// It shall be detached, and somebody on the instance uses it.
    Busy,
}

/// Where a volume is attached.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// The instance.
    pub instance: String,
    /// The device name that was asked for.
    pub device: String,
    pub(super) state: AttachmentState,
    pub(super) since: Timestamp,
}

/// A volume.
#[derive(Debug, Clone)]
pub struct Volume {
    /// `vol-0abc`.
    pub id: String,
    /// The snapshot that it was made of.
    pub snapshot: Option<String>,
    /// Its tags.
    pub tags: Tags,
    /// Where it is attached.
    pub attachment: Option<Attachment>,
    pub(super) size_gib: u64,
    pub(super) zone: String,
    pub(super) kind: String,
    pub(super) iops: Option<u64>,
    pub(super) throughput: Option<u64>,
    pub(super) created: Timestamp,
    pub(super) state: VolumeState,
    /// Looks until it leaves a state that passes.
    pub(super) looks_left: u32,
}

impl Volume {
    pub(super) fn new(id: &str, size_gib: u64, zone: &str, now: Timestamp) -> Self {
        Self {
            id: id.to_owned(),
            snapshot: None,
            tags: Tags::new(),
            attachment: None,
            size_gib,
            zone: zone.to_owned(),
            kind: "gp3".to_owned(),
            iops: None,
            throughput: None,
            created: now,
            state: VolumeState::Creating,
            looks_left: 0,
        }
    }

    /// `creating`, `available`, `in-use` or `deleting`.
    pub fn state(&self) -> &'static str {
        match self.state {
            VolumeState::Creating => "creating",
            VolumeState::Available => "available",
            VolumeState::InUse => "in-use",
            VolumeState::Deleting => "deleting",
        }
    }

    /// Somebody looks at it; true when a state has passed.
    pub(super) fn look(&mut self) -> bool {
        if self.looks_left > 0 {
            self.looks_left -= 1;
            return false;
        }
        if self.state == VolumeState::Creating {
            self.state = VolumeState::Available;
        }
        if let Some(attachment) = &mut self.attachment
            && attachment.state == AttachmentState::Attaching
        {
            attachment.state = AttachmentState::Attached;
        }
        true
    }

    /// As every answer shows it.
    pub(super) fn describe(&self, xml: &mut Xml) {
        xml.leaf("volumeId", &self.id);
        xml.leaf("size", self.size_gib);
        xml.leaf("snapshotId", self.snapshot.as_deref().unwrap_or_default());
        xml.leaf("availabilityZone", &self.zone);
        xml.leaf("status", self.state());
        xml.leaf("createTime", moment(self.created));
        xml.list("attachmentSet", &self.attachment, |xml, attachment| attachment.describe(xml, &self.id));
        describe_tags(xml, &self.tags);
        xml.leaf("volumeType", &self.kind);
        xml.optional("iops", self.iops);
        xml.optional("throughput", self.throughput);
        xml.leaf("encrypted", false);
        xml.leaf("multiAttachEnabled", false);
    }
}

impl Attachment {
    pub(super) fn state(&self) -> &'static str {
        match self.state {
            AttachmentState::Attaching => "attaching",
            AttachmentState::Attached => "attached",
            AttachmentState::Detaching => "detaching",
            AttachmentState::Busy => "busy",
        }
    }

    pub(super) fn describe(&self, xml: &mut Xml, volume: &str) {
        xml.leaf("volumeId", volume);
        xml.leaf("instanceId", &self.instance);
        xml.leaf("device", &self.device);
        xml.leaf("status", self.state());
        xml.leaf("attachTime", moment(self.since));
        xml.leaf("deleteOnTermination", false);
    }
}

impl Described for Volume {
    fn tags(&self) -> &Tags {
        &self.tags
    }

    fn filtered_by(&self, filter: &str) -> Option<Vec<String>> {
        let attached = |value: fn(&Attachment) -> &str| self.attachment.iter().map(|found| value(found).to_owned()).collect();
        Some(match filter {
            "volume-id" => vec![self.id.clone()],
            "status" => vec![self.state().to_owned()],
            "snapshot-id" => self.snapshot.iter().cloned().collect(),
            "availability-zone" => vec![self.zone.clone()],
            "attachment.instance-id" => attached(|found| &found.instance),
            "attachment.device" => attached(|found| &found.device),
            "attachment.status" => attached(Attachment::state),
            _ => return None,
        })
    }
}
