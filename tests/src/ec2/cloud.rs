//! What there is in the region, and what becomes of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::{Timestamp, Unit};

use super::disks::Disks;
use super::filters::Described;
use super::refusal::Refusal;
use super::snapshots::{Completion, Snapshot};
use super::volumes::{Attachment, AttachmentState, Volume, VolumeState};

/// Tags of a resource.
pub type Tags = BTreeMap<String, String>;

/// Whose region it is.
pub(super) const ACCOUNT: &str = "123456789012";
/// Somebody else, who lets everybody use a snapshot.
const STRANGER: &str = "999999999999";
/// Where an instance has its root volume.
pub(super) const ROOT_DEVICE: &str = "/dev/xvda";
const ROOT_GIB: u64 = 8;
/// Scatters ids, so that their order says nothing about their age.
const SCATTER: u64 = 0x9E37_79B9_7F4A_7C15;

/// An instance that runs.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) id: String,
    pub(super) tags: Tags,
    pub(super) launched: Timestamp,
}

/// Everything in the region.
#[derive(Debug)]
pub(super) struct Cloud {
    pub(super) region: String,
    pub(super) instances: BTreeMap<String, Instance>,
    pub(super) volumes: BTreeMap<String, Volume>,
    pub(super) snapshots: BTreeMap<String, Snapshot>,
    /// For each client token, what it was used for and what it made.
    pub(super) client_tokens: BTreeMap<String, (BTreeMap<String, String>, String)>,
    pub(super) denied: BTreeSet<String>,
    pub(super) completion: Completion,
    pub(super) next_completions: VecDeque<Completion>,
    pub(super) hidden_looks: u32,
    pub(super) passing_looks: u32,
    /// What new volumes say that they were made of, in place of the truth.
    pub(super) forged_origin: Option<String>,
    pub(super) clock_ahead: Duration,
    pub(super) disks: Option<Disks>,
    ids: u64,
}

impl Cloud {
    pub(super) fn new(region: &str, disks: Option<Disks>) -> Self {
        let mut cloud = Self {
            region: region.to_owned(),
            instances: BTreeMap::new(),
            volumes: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            client_tokens: BTreeMap::new(),
            denied: BTreeSet::new(),
            completion: Completion::AfterLooks(1),
            next_completions: VecDeque::new(),
            hidden_looks: 0,
            passing_looks: 1,
            forged_origin: None,
            clock_ahead: Duration::ZERO,
            disks,
            ids: 0,
        };
        let public = cloud.new_id("snap");
        let somebody_elses = Snapshot::new(&public, "vol-ffffffff", STRANGER, cloud.now());
        cloud.snapshots.insert(public, somebody_elses);
        cloud
    }

    /// The clock of locks and of all that is shown; EC2 knows milliseconds.
    pub(super) fn now(&self) -> Timestamp {
        let now = Timestamp::now() + self.clock_ahead;
        now.round(Unit::Millisecond).unwrap_or(now)
    }

    /// The only zone.
    pub(super) fn zone(&self) -> String {
        format!("{}a", self.region)
    }

    /// An id as EC2 makes them: 17 hexadecimal digits, of which the first is zero.
    pub(super) fn new_id(&mut self, kind: &str) -> String {
        self.ids += 1;
        format!("{kind}-0{:016x}", self.ids.wrapping_mul(SCATTER))
    }

    pub(super) fn add_instance(&mut self) -> String {
        let id = self.new_id("i");
        let tags = Tags::from([("Name".to_owned(), "database".to_owned())]);
        let instance = Instance { id: id.clone(), tags, launched: self.now() };
        self.instances.insert(id.clone(), instance);
        // Its root volume is no device of this machine: nobody reads from it.
        let root = self.put_attached_volume(&id, ROOT_DEVICE, ROOT_GIB);
        if let Some(disks) = &mut self.disks {
            disks.create_blank(&root, ROOT_GIB);
        }
        id
    }

    pub(super) fn add_attached_volume(&mut self, instance: &str, device: &str, size_gib: u64) -> String {
        let id = self.put_attached_volume(instance, device, size_gib);
        if let Some(disks) = &mut self.disks {
            disks.attach_blank(&id, device, size_gib);
        }
        id
    }

    fn put_attached_volume(&mut self, instance: &str, device: &str, size_gib: u64) -> String {
        let id = self.new_id("vol");
        let mut volume = Volume::new(&id, size_gib, &self.zone(), self.now());
        volume.state = VolumeState::InUse;
        volume.attachment = Some(Attachment {
            instance: instance.to_owned(),
            device: device.to_owned(),
            state: AttachmentState::Attached,
            since: self.now(),
        });
        self.volumes.insert(id.clone(), volume);
        id
    }

    pub(super) fn snapshot(&mut self, id: &str) -> Result<&mut Snapshot, Refusal> {
        self.snapshots.get_mut(id).filter(|snapshot| snapshot.owner == ACCOUNT).ok_or_else(|| Refusal::no_snapshot(id))
    }

    pub(super) fn volume(&mut self, id: &str) -> Result<&mut Volume, Refusal> {
        self.volumes.get_mut(id).ok_or_else(|| Refusal::no_volume(id))
    }

    pub(super) fn instance(&self, id: &str) -> Result<&Instance, Refusal> {
        self.instances.get(id).ok_or_else(|| Refusal::no_instance(id))
    }

    /// The volumes of an instance, by their device names.
    pub(super) fn volumes_of(&self, instance: &str) -> Vec<&Volume> {
        let is_there = |volume: &&Volume| volume.attachment.as_ref().is_some_and(|attachment| attachment.instance == instance);
        let mut volumes: Vec<&Volume> = self.volumes.values().filter(is_there).collect();
        volumes.sort_by_key(|volume| volume.attachment.as_ref().map(|attachment| attachment.device.clone()));
        volumes
    }

    pub(super) fn next_completion(&mut self) -> Completion {
        self.next_completions.pop_front().unwrap_or_else(|| self.completion.clone())
    }

    pub(super) fn complete_all(&mut self) {
        self.completion = Completion::AfterLooks(0);
        for snapshot in self.snapshots.values_mut() {
            snapshot.completion = Completion::AfterLooks(0);
        }
    }
}

impl Described for Instance {
    fn tags(&self) -> &Tags {
        &self.tags
    }

    fn filtered_by(&self, filter: &str) -> Option<Vec<String>> {
        match filter {
            "instance-id" => Some(vec![self.id.clone()]),
            "instance-state-name" => Some(vec!["running".to_owned()]),
            _ => None,
        }
    }
}
