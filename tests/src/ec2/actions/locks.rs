//! Snapshots are locked against deletion, and unlocked where the lock allows it.

use jiff::{SignedDuration, Timestamp};

use super::super::call::Call;
use super::super::cloud::Cloud;
use super::super::filters::page;
use super::super::refusal::Refusal;
use super::super::snapshots::{Lock, LockMode, SnapshotState};
use super::super::xml::Xml;

/// What `LockSnapshot` is told.
pub(super) const LOCK: [&str; 5] = ["SnapshotId", "LockMode", "CoolOffPeriod", "LockDuration", "ExpirationDate"];

/// Longest lock in days.
const LONGEST_DAYS: u64 = 36_500;
/// Longest time, in hours, in which a lock in compliance mode can be taken back.
const LONGEST_COOL_OFF: u64 = 72;

/// Locks, or changes a lock as far as it may be changed.
pub(super) fn lock(cloud: &mut Cloud, call: &Call) -> Result<Xml, Refusal> {
    let now = cloud.now();
    let lock = wanted(call, now)?;
    let snapshot = cloud.snapshot(call.required("SnapshotId")?)?;
    if let SnapshotState::Error(_) = snapshot.state {
        return Err(Refusal::new("IncorrectState", format!("The snapshot '{}' is in the 'error' state", snapshot.id)));
    }
    if let Some(held) = snapshot.lock.as_ref().filter(|held| held.is_final(now)) {
        let is_prolonged = lock.mode == LockMode::Compliance && lock.expires >= held.expires && lock.cool_off_hours.is_none();
        if !is_prolonged {
            let message = "A lock in compliance mode can only be prolonged after its cooling-off period";
            return Err(Refusal::new("SnapshotLocked", message));
        }
    }
    snapshot.lock = Some(lock.clone());
    let mut xml = Xml::default();
    xml.leaf("snapshotId", &snapshot.id);
    lock.describe(&mut xml, now);
    Ok(xml)
}

fn wanted(call: &Call, now: Timestamp) -> Result<Lock, Refusal> {
    let mode = match call.required("LockMode")? {
        "governance" => LockMode::Governance,
        "compliance" => LockMode::Compliance,
        other => return Err(Refusal::invalid_parameter("LockMode", other)),
    };
    let expires = match (call.number("LockDuration")?, call.get("ExpirationDate")) {
        (Some(days), None) if (1..=LONGEST_DAYS).contains(&days) => now + SignedDuration::from_hours(24 * days.cast_signed()),
        (Some(days), None) => return Err(Refusal::invalid_parameter("LockDuration", &days.to_string())),
        (None, Some(text)) => {
            let moment: Timestamp = text.parse().map_err(|_| Refusal::invalid_parameter("ExpirationDate", text))?;
            if moment <= now {
                return Err(Refusal::invalid_parameter("ExpirationDate", text));
            }
            moment
        }
        _ => {
            let message = "Either LockDuration or ExpirationDate must be specified, and not both";
            return Err(Refusal::new("InvalidParameterCombination", message));
        }
    };
    let cool_off_hours = call.number("CoolOffPeriod")?;
    if let Some(hours) = cool_off_hours
        && (mode == LockMode::Governance || !(1..=LONGEST_COOL_OFF).contains(&hours))
    {
        return Err(Refusal::invalid_parameter("CoolOffPeriod", &hours.to_string()));
    }
    Ok(Lock { mode, created: now, expires, cool_off_hours })
}

/// Takes a lock back that may be taken back.
pub(super) fn unlock(cloud: &mut Cloud, call: &Call) -> Result<Xml, Refusal> {
    let now = cloud.now();
    let snapshot = cloud.snapshot(call.required("SnapshotId")?)?;
    match &snapshot.lock {
        Some(lock) if lock.is_final(now) => {
            return Err(Refusal::new("SnapshotLocked", format!("The snapshot '{}' is locked in compliance mode", snapshot.id)));
        }
        None => return Err(Refusal::new("IncorrectState", format!("The snapshot '{}' is not locked", snapshot.id))),
        Some(_) => snapshot.lock = None,
    }
    let mut xml = Xml::default();
    xml.leaf("snapshotId", &snapshot.id);
    Ok(xml)
}

/// The snapshots that have a lock, expired ones as well.
pub(super) fn describe(cloud: &mut Cloud, call: &Call) -> Result<Xml, Refusal> {
    let (named, filters, now) = (call.list("SnapshotId"), call.filters()?, cloud.now());
    if let Some(missing) = named.iter().find(|id| !cloud.snapshots.contains_key(*id)) {
        return Err(Refusal::no_snapshot(missing));
    }
    let is_asked_for = |id: &&String| named.is_empty() || named.contains(id);
    let all = cloud.snapshots.keys().filter(is_asked_for).cloned().collect();
    let (page, next) = page(call, all, !named.is_empty())?;
    let mut locked = Vec::new();
    for snapshot in page.iter().filter_map(|id| cloud.snapshots.get(id)) {
        let Some(lock) = &snapshot.lock else { continue };
        let state_passes = |filter: &(String, Vec<String>)| match filter.0.as_str() {
            "lock-state" => Ok(filter.1.iter().any(|value| value == lock.state(now))),
            other => Err(Refusal::new("InvalidParameterValue", format!("The filter '{other}' is invalid"))),
        };
        let passes: Result<Vec<bool>, Refusal> = filters.iter().map(state_passes).collect();
        if passes?.into_iter().all(|passes| passes) {
            locked.push((snapshot, lock));
        }
    }
    let mut xml = Xml::default();
    xml.list("snapshotSet", locked, |xml, (snapshot, lock)| {
        xml.leaf("ownerId", &snapshot.owner);
        xml.leaf("snapshotId", &snapshot.id);
        lock.describe(xml, now);
    });
    xml.optional("nextToken", next);
    Ok(xml)
}
