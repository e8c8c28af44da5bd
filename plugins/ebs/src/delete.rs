//! Deleting a set.

use std::collections::BTreeSet;

use stillframe_sdk::aws::Aws;
use stillframe_sdk::{Deletion, Error, Host};

use crate::Config;
use crate::ec2::{Class, Ec2, Fault};
use crate::find;
use crate::handle::Handle;
use crate::set::Set;

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
    if Set::may_settle(handle.begin_ms, host.now_ms()) {
        ids.extend(handle.ids().into_iter().filter(|id| !seen.contains(*id)));
    }
    let mut deleted = false;
    for (done, id) in (0..).zip(&ids) {
        host.progress(done, Some(ids.len() as u64), &format!("deleting `{id}`"));
        deleted |= delete_snapshot(&ec2, id)?;
    }
    if deleted {
        return Ok(Deletion::Deleted);
    }
    find::prove_account(&ec2, &handle)?;
    Ok(Deletion::Absent)
}

/// A locked member is found before the first is deleted, where EC2 lets us ask: half a set is no backup.
fn refuse_locked<H: Host + Aws>(ec2: &Ec2<'_, H>, ids: &[&str]) -> Result<(), Error> {
    if ids.len() < 2 {
        return Ok(());
    }
    match Ec2::impatient(ec2.host, ec2.config).locks(ids) {
        Ok(locks) => match locks.iter().filter(|lock| lock.holds()).map(|lock| lock.until_ms).max() {
            Some(until_ms) => Err(locked(ec2, until_ms)),
            None => Ok(()),
        },
        // The right to ask may be missing, or the service not know the question: then the deletion itself says it.
        Err(_) => Ok(()),
    }
}

pub(crate) fn delete_snapshot<H: Host + Aws>(ec2: &Ec2<'_, H>, id: &str) -> Result<bool, Error> {
    ec2.delete_snapshot(id).map_err(|fault| match fault.class {
        Class::Locked => locked(ec2, until(ec2, id)),
        _ => Fault::into(fault),
    })
}

fn until<H: Host + Aws>(ec2: &Ec2<'_, H>, id: &str) -> Option<u64> {
    Ec2::impatient(ec2.host, ec2.config).locks(&[id]).ok()?.iter().find(|lock| lock.snapshot == id).and_then(|lock| lock.until_ms)
}

fn locked<H: Host + Aws>(ec2: &Ec2<'_, H>, until_ms: Option<u64>) -> Error {
    Error::Locked(until_ms.unwrap_or_else(|| ec2.host.now_ms() + UNKNOWN_LOCK_MS))
}
