//! Deleting a set, and single snapshots that were cut and shall not be.

use std::collections::BTreeSet;

use stillframe_sdk::aws::Aws;
use stillframe_sdk::{Deletion, Error, Host};

use crate::Config;
use crate::ec2::{Class, Ec2, Fault, Lock};
use crate::find;
use crate::handle::Handle;
use crate::set::Set;

/// First pause, and longest time, that a young snapshot is asked about which EC2 does not know, or not yet.
const YOUNG_LOOKS_MS: (u32, u32) = (1_000, 7_000);

/// Until when a snapshot is taken to be locked when EC2 does not say: one more hour, after which it is asked again.
const UNKNOWN_LOCK_MS: u64 = 3_600_000;

pub(crate) fn delete_set<H: Host + Aws>(host: &H, config: &Config, handle: &str) -> Result<Deletion, Error> {
    let ec2 = Ec2::new(host, config);
    let handle = Handle::parse(handle, &config.region)?;
    // Also what a lost answer left under the same token, and what was cut of other volumes and could not be removed.
    let seen: BTreeSet<String> = find::of_handle(&ec2, &handle)?
        .into_iter()
        .chain(find::of_token(&ec2, &handle.token)?)
        .map(|snapshot| snapshot.id)
        .collect();
    let mut ids: Vec<&str> = seen.iter().map(String::as_str).collect();
    refuse_locked(&ec2, &ids)?;
    // What is not visible yet can be deleted nevertheless, by the id that its creation gave.
    let is_young = Set::may_settle(handle.begin_ms, host.now_ms());
    if is_young {
        ids.extend(handle.ids().into_iter().filter(|id| !seen.contains(*id)));
    }
    if delete_snapshots(&ec2, &ids, is_young)? {
        return Ok(Deletion::Deleted);
    }
    find::prove_account(&ec2, &handle.account)?;
    Ok(Deletion::Absent)
}

/// A locked member is found before the first is deleted, where EC2 lets us ask: half a set is no backup.
fn refuse_locked<H: Host + Aws>(ec2: &Ec2<'_, H>, ids: &[&str]) -> Result<(), Error> {
    if ids.len() < 2 {
        return Ok(());
    }
    let answer = match Ec2::impatient(ec2.host, ec2.config).locks(ids) {
        // Without the answer a lock may be found when half of the set is gone.
        Err(fault) if fault.may_pass() => Ok(ec2.locks(ids)?),
        answer => answer,
    };
    match answer {
        Ok(locks) => match locks.iter().filter(|lock| lock.holds()).map(|lock| lock.until_ms).max() {
            Some(until_ms) => Err(locked(ec2, until_ms)),
            None => Ok(()),
        },
        // The right to ask may be missing, or the service not know the question: then the deletion itself says it.
        Err(_) => Ok(()),
    }
}

/// Deletes snapshots; whether there was any. EC2 may say of a young one that it does not exist, so that is asked again for a while.
pub(crate) fn delete_snapshots<H: Host + Aws>(ec2: &Ec2<'_, H>, ids: &[&str], is_young: bool) -> Result<bool, Error> {
    let (first, total) = YOUNG_LOOKS_MS;
    let (mut left, mut deleted) = (ids.to_vec(), 0);
    ec2.wait(first, if is_young { total } else { 0 }, || {
        for id in std::mem::take(&mut left) {
            ec2.host.progress(deleted, Some(ids.len() as u64), &format!("deleting `{id}`"));
            if delete_snapshot(ec2, id)? {
                deleted += 1;
            } else {
                left.push(id);
            }
        }
        Ok(left.is_empty().then_some(()))
    })?;
    Ok(deleted > 0)
}

/// Deletes a snapshot; false when there was none.
pub(crate) fn delete_snapshot<H: Host + Aws>(ec2: &Ec2<'_, H>, id: &str) -> Result<bool, Error> {
    ec2.delete_snapshot(id).map_err(|fault| match fault.class {
        Class::Locked => locked(ec2, lock(ec2, id).and_then(|lock| lock.until_ms)),
        // No list of EC2's codes has the one for a lock.
        Class::Denied | Class::Invalid | Class::Other => match lock(ec2, id) {
            Some(lock) => locked(ec2, lock.until_ms),
            None => Fault::into(fault),
        },
        _ => Fault::into(fault),
    })
}

/// The lock that holds a snapshot, as far as EC2 tells.
fn lock<H: Host + Aws>(ec2: &Ec2<'_, H>, id: &str) -> Option<Lock> {
    let locks = Ec2::impatient(ec2.host, ec2.config).locks(&[id]).ok()?;
    locks.into_iter().find(|lock| lock.snapshot == id && lock.holds())
}

fn locked<H: Host + Aws>(ec2: &Ec2<'_, H>, until_ms: Option<u64>) -> Error {
    Error::Locked(until_ms.unwrap_or_else(|| ec2.host.now_ms() + UNKNOWN_LOCK_MS))
}
