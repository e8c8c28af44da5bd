//! Snapshots: made, looked for, deleted.

use std::collections::BTreeMap;

use stillframe_sdk::Host;
use stillframe_sdk::aws::Aws;

use super::{Class, Ec2, Fault, query, xml};
use crate::time;

/// Entries on one page.
const PAGE_LEN: &str = "500";

/// Most values of one filter.
const MAX_FILTER_VALUES: usize = 200;

/// One snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) id: String,
    pub(crate) volume: String,
    pub(crate) owner: String,
    pub(crate) state: State,
    pub(crate) message: String,
    pub(crate) percent: Option<u8>,
    pub(crate) start_ms: Option<u64>,
    pub(crate) volume_gib: Option<u64>,
    pub(crate) full_bytes: Option<u64>,
    pub(crate) encrypted: bool,
    pub(crate) archived: bool,
    pub(crate) tags: BTreeMap<String, String>,
}

/// EC2's word for how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Pending,
    Completed,
    Error,
    /// In the Recycle Bin, or on its way out of it.
    Recycled,
}

impl<H: Host + Aws> Ec2<'_, H> {
    /// All snapshots of this account that have this tag.
    pub(crate) fn snapshots_tagged(&self, key: &str, value: &str) -> Result<Vec<Snapshot>, Fault> {
        self.snapshots(&format!("tag:{key}"), &[value])
    }

    /// Those of these snapshots that can be seen. By a filter, for a list of ids fails as a whole when one is missing.
    pub(crate) fn snapshots_by_id(&self, ids: &[&str]) -> Result<Vec<Snapshot>, Fault> {
        let mut all = Vec::new();
        for some in ids.chunks(MAX_FILTER_VALUES) {
            all.extend(self.snapshots("snapshot-id", some)?);
        }
        Ok(all)
    }

    /// A snapshot that has a tag of this key; any.
    pub(crate) fn sample_snapshot(&self, key: &str) -> Result<Option<Snapshot>, Fault> {
        let request = query("DescribeSnapshots").with("Owner.1", "self").filter("tag-key", [key]).with("MaxResults", "5");
        self.send(&request, |root| Some(xml::items(root, "snapshotSet").find_map(snapshot)))
    }

    fn snapshots(&self, filter: &str, values: &[&str]) -> Result<Vec<Snapshot>, Fault> {
        let request =
            query("DescribeSnapshots").with("Owner.1", "self").filter(filter, values.iter().copied()).with("MaxResults", PAGE_LEN);
        self.pages(&request, |root| xml::items(root, "snapshotSet").map(snapshot).collect())
    }

    /// Cuts volumes of one instance at one instant: all that are not excluded.
    pub(crate) fn create_snapshots(
        &self,
        instance: &str,
        exclude_boot: bool,
        excluded: &[&str],
        description: &str,
        tags: &[(String, String)],
    ) -> Result<Vec<Snapshot>, Fault> {
        let request = query("CreateSnapshots")
            .with("InstanceSpecification.InstanceId", instance)
            .with("InstanceSpecification.ExcludeBootVolume", exclude_boot.to_string())
            .list("InstanceSpecification.ExcludeDataVolumeId", excluded.iter().copied())
            .with("Description", description)
            .tagged("snapshot", tags);
        self.send_once(&request, |root| xml::items(root, "snapshotSet").map(snapshot).collect())
    }

    /// Cuts one volume.
    pub(crate) fn create_snapshot(&self, volume: &str, description: &str, tags: &[(String, String)]) -> Result<Snapshot, Fault> {
        let request = query("CreateSnapshot").with("VolumeId", volume).with("Description", description).tagged("snapshot", tags);
        self.send_once(&request, snapshot)
    }

    /// Deletes a snapshot; false when there was none.
    pub(crate) fn delete_snapshot(&self, id: &str) -> Result<bool, Fault> {
        match self.send(&query("DeleteSnapshot").with("SnapshotId", id), |_| Some(())) {
            Ok(()) => Ok(true),
            Err(fault) if fault.class == Class::NotFound => Ok(false),
            Err(fault) => Err(fault),
        }
    }
}

fn snapshot(node: xml::Node<'_, '_>) -> Option<Snapshot> {
    let number = |name| xml::text(node, name).and_then(|text| text.parse().ok());
    // `CreateSnapshots` calls the state otherwise than everything else does.
    let state = xml::text(node, "status").or_else(|| xml::text(node, "state"));
    Some(Snapshot {
        id: xml::text(node, "snapshotId").filter(|id| id.starts_with("snap-"))?,
        volume: xml::text(node, "volumeId")?,
        owner: xml::text(node, "ownerId").unwrap_or_default(),
        state: match state.as_deref() {
            Some("completed") => State::Completed,
            Some("error") => State::Error,
            Some("recoverable" | "recovering") => State::Recycled,
            // A state that is not known is not ready.
            _ => State::Pending,
        },
        message: xml::text(node, "statusMessage").unwrap_or_default(),
        percent: xml::text(node, "progress")
            .and_then(|text| text.trim_end_matches('%').parse().ok())
            .filter(|percent| *percent <= 100),
        start_ms: xml::text(node, "startTime").and_then(|text| time::parse(&text)),
        volume_gib: number("volumeSize"),
        full_bytes: number("fullSnapshotSizeInBytes"),
        encrypted: xml::text(node, "encrypted").as_deref() == Some("true"),
        archived: xml::text(node, "storageTier").as_deref() == Some("archive"),
        tags: xml::tags(node),
    })
}
