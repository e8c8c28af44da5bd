//! A snapshot: what it is, what becomes of it, and what a lock does.

use jiff::{SignedDuration, Timestamp};

use super::cloud::{ACCOUNT, Tags};
use super::filters::Described;
use super::xml::Xml;

/// What becomes of a snapshot that is `pending`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completion {
    /// It is `completed` after so many looks at it.
    AfterLooks(u32),
    /// It is in `error` after one look at it, with this message.
    Error(String),
    /// It stays `pending`.
    Never,
}

/// How far a snapshot has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SnapshotState {
    Pending,
    Completed,
    Error(String),
}

/// Who may lift a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LockMode {
    Governance,
    Compliance,
}

/// A lock, which may have expired.
#[derive(Debug, Clone)]
pub(super) struct Lock {
    pub(super) mode: LockMode,
    pub(super) created: Timestamp,
    pub(super) expires: Timestamp,
    pub(super) cool_off_hours: Option<u64>,
}

/// A snapshot.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// `snap-0abc`.
    pub id: String,
    /// The volume that it was made of.
    pub volume: String,
    /// Its tags.
    pub tags: Tags,
    /// When it was cut.
    pub started: Timestamp,
    pub(super) owner: String,
    pub(super) description: String,
    pub(super) size_gib: u64,
    pub(super) state: SnapshotState,
    pub(super) completion: Completion,
    pub(super) looks: u32,
    /// Looks from which it is hidden still.
    pub(super) hidden_looks: u32,
    pub(super) lock: Option<Lock>,
    /// The set of images that holds its content.
    pub(super) images: Option<u64>,
}

impl Snapshot {
    pub(super) fn new(id: &str, volume: &str, owner: &str, now: Timestamp) -> Self {
        Self {
            id: id.to_owned(),
            volume: volume.to_owned(),
            tags: Tags::new(),
            started: now,
            owner: owner.to_owned(),
            description: String::new(),
            size_gib: 1,
            state: SnapshotState::Pending,
            completion: Completion::AfterLooks(0),
            looks: 0,
            hidden_looks: 0,
            lock: None,
            images: None,
        }
    }

    /// `pending`, `completed` or `error`.
    pub fn state(&self) -> &'static str {
        match self.state {
            SnapshotState::Pending => "pending",
            SnapshotState::Completed => "completed",
            SnapshotState::Error(_) => "error",
        }
    }

    /// Whether it belongs to the account.
    pub(super) fn is_ours(&self) -> bool {
        self.owner == ACCOUNT
    }

    /// Until when it is locked, by whatever lock it has.
    pub fn locked_until(&self) -> Option<Timestamp> {
        self.lock.as_ref().map(|lock| lock.expires)
    }

    /// Somebody looks at it; false when it cannot be seen yet.
    pub(super) fn look(&mut self) -> bool {
        if self.hidden_looks > 0 {
            self.hidden_looks -= 1;
            return false;
        }
        if self.state == SnapshotState::Pending {
            match &self.completion {
                Completion::AfterLooks(looks) if self.looks >= *looks => self.state = SnapshotState::Completed,
                Completion::Error(message) if self.looks > 0 => self.state = SnapshotState::Error(message.clone()),
                _ => {}
            }
            self.looks += 1;
        }
        true
    }

    /// As a description shows it.
    pub(super) fn describe(&self, xml: &mut Xml) {
        self.describe_common(xml);
        xml.leaf("status", self.state());
        xml.leaf("storageTier", "standard");
        if let SnapshotState::Error(message) = &self.state {
            xml.leaf("statusMessage", message);
        }
    }

    /// As the answer to `CreateSnapshots` shows it, which has another name for its state.
    pub(super) fn describe_in_a_set(&self, xml: &mut Xml) {
        self.describe_common(xml);
        xml.leaf("state", self.state());
    }

    fn describe_common(&self, xml: &mut Xml) {
        xml.leaf("snapshotId", &self.id);
        xml.leaf("volumeId", &self.volume);
        xml.leaf("ownerId", &self.owner);
        xml.leaf("volumeSize", self.size_gib);
        xml.leaf("startTime", moment(self.started));
        xml.leaf("description", &self.description);
        xml.leaf("encrypted", false);
        xml.leaf("progress", self.progress());
        describe_tags(xml, &self.tags);
    }

    /// Empty before anybody has looked.
    fn progress(&self) -> String {
        match (&self.state, &self.completion) {
            (SnapshotState::Completed, _) => "100%".to_owned(),
            (_, _) if self.looks == 0 => String::new(),
            (_, Completion::AfterLooks(looks)) => format!("{}%", 100 * self.looks.min(*looks) / (looks + 1)),
            _ => "7%".to_owned(),
        }
    }
}

impl Lock {
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.expires <= now
    }

    /// Until when a lock in compliance mode can be lifted.
    pub(super) fn cool_off_expires(&self) -> Option<Timestamp> {
        let hours = i64::try_from(self.cool_off_hours?).ok()?;
        Some(self.created + SignedDuration::from_hours(hours))
    }

    /// Whether nobody can lift it.
    pub(super) fn is_final(&self, now: Timestamp) -> bool {
        let may_be_lifted = self.mode == LockMode::Governance || self.cool_off_expires().is_some_and(|until| now < until);
        !self.is_over(now) && !may_be_lifted
    }

    /// As EC2 calls it.
    pub(super) fn state(&self, now: Timestamp) -> &'static str {
        match self.mode {
            _ if self.is_over(now) => "expired",
            LockMode::Governance => "governance",
            LockMode::Compliance if self.is_final(now) => "compliance",
            LockMode::Compliance => "compliance-cooloff",
        }
    }

    pub(super) fn describe(&self, xml: &mut Xml, now: Timestamp) {
        xml.leaf("lockState", self.state(now));
        xml.leaf("lockDuration", (self.expires.duration_since(self.created).as_hours() + 23) / 24);
        xml.optional("coolOffPeriod", self.cool_off_hours);
        xml.optional("coolOffPeriodExpiresOn", self.cool_off_expires().map(moment));
        xml.leaf("lockCreatedOn", moment(self.created));
        xml.leaf("lockDurationStartTime", moment(self.created));
        xml.leaf("lockExpiresOn", moment(self.expires));
    }
}

impl Described for Snapshot {
    fn tags(&self) -> &Tags {
        &self.tags
    }

    fn filtered_by(&self, filter: &str) -> Option<Vec<String>> {
        let value = match filter {
            "snapshot-id" => self.id.clone(),
            "volume-id" => self.volume.clone(),
            "status" => self.state().to_owned(),
            "owner-id" => self.owner.clone(),
            "description" => self.description.clone(),
            _ => return None,
        };
        Some(vec![value])
    }
}

/// As EC2 writes moments.
pub(super) fn moment(moment: Timestamp) -> String {
    format!("{moment:.3}")
}

/// The list of tags that every resource has.
pub(super) fn describe_tags(xml: &mut Xml, tags: &Tags) {
    xml.list("tagSet", tags, |xml, (key, value)| {
        xml.leaf("key", key);
        xml.leaf("value", value);
    });
}
