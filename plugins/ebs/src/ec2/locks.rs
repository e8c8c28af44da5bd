//! Locks on snapshots.

use stillframe_sdk::Host;
use stillframe_sdk::aws::Aws;

use super::{Ec2, Fault, query, xml};
use crate::time;

/// The lock of one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lock {
    pub(crate) snapshot: String,
    pub(crate) state: LockState,
    pub(crate) until_ms: Option<u64>,
}

/// EC2's word for what the lock allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockState {
    /// Those with the right to may lift it.
    Governance,
    /// Likewise, until the cooling-off period ends.
    CoolingOff,
    /// Nobody may lift it.
    Compliance,
    /// It is over.
    Expired,
}

impl Lock {
    /// Whether it forbids a deletion now.
    pub(crate) fn holds(&self) -> bool {
        self.state != LockState::Expired
    }
}

impl<H: Host + Aws> Ec2<'_, H> {
    /// The locks of those of these snapshots that have one, or had one.
    pub(crate) fn locks(&self, ids: &[&str]) -> Result<Vec<Lock>, Fault> {
        let request = query("DescribeLockedSnapshots").list("SnapshotId", ids.iter().copied());
        self.pages(&request, |root| xml::items(root, "snapshotSet").map(lock).collect())
    }

    /// Locks a snapshot until this moment; returns when the lock really ends, where EC2 says so.
    pub(crate) fn lock_snapshot(
        &self,
        id: &str,
        mode: &str,
        until_ms: u64,
        cool_off_hours: Option<u32>,
    ) -> Result<Option<u64>, Fault> {
        let request = query("LockSnapshot")
            .with("SnapshotId", id)
            .with("LockMode", mode)
            .with("ExpirationDate", time::format(until_ms))
            .maybe("CoolOffPeriod", cool_off_hours);
        self.send(&request, |root| Some(xml::text(root, "lockExpiresOn").and_then(|text| time::parse(&text))))
    }

    /// Lifts the lock of a snapshot.
    pub(crate) fn unlock_snapshot(&self, id: &str) -> Result<(), Fault> {
        self.send(&query("UnlockSnapshot").with("SnapshotId", id), |_| Some(()))
    }
}

fn lock(node: xml::Node<'_, '_>) -> Option<Lock> {
    Some(Lock {
        snapshot: xml::text(node, "snapshotId")?,
        state: match xml::text(node, "lockState")?.as_str() {
            "governance" => LockState::Governance,
            "compliance-cooloff" => LockState::CoolingOff,
            "expired" => LockState::Expired,
            // A state that is not known is taken for the strictest.
            _ => LockState::Compliance,
        },
        until_ms: xml::text(node, "lockExpiresOn").and_then(|text| time::parse(&text)),
    })
}
