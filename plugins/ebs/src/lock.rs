//! Locking a set: no snapshot of it can be deleted until a moment, by anybody.

use stillframe_sdk::aws::Aws;
use stillframe_sdk::{Error, Host, LockMode};

use crate::Config;
use crate::ec2::{Class, Ec2, Lock, LockState, State};
use crate::find;
use crate::handle::Handle;
use crate::time;

pub(crate) fn lock_set<H: Host + Aws>(host: &H, config: &Config, handle: &str, mode: LockMode, until_ms: u64) -> Result<(), Error> {
    let ec2 = Ec2::new(host, config);
    let handle = Handle::parse(handle, &config.region)?;
    let Some(set) = find::by_handle(&ec2, &handle)? else { return Err(Error::NotFound(handle.text())) };
    if !set.is_complete() || set.all().any(|snapshot| !matches!(snapshot.state, State::Pending | State::Completed)) {
        return Err(Error::Conflict("a set that is not whole: it cannot be locked".to_owned()));
    }
    let locks = ec2.locks(&handle.ids())?;
    for id in handle.ids() {
        let there = locks.iter().find(|lock| lock.snapshot == id && lock.holds());
        // A stricter mode must not make it shorter.
        let until_ms = there.and_then(|lock| lock.until_ms).unwrap_or(0).max(until_ms);
        let Some(step) = step(config, there, mode, until_ms) else { continue };
        let ends_ms = ec2.lock_snapshot(id, step.mode, until_ms, step.cool_off_hours).map_err(|fault| match fault.class {
            Class::NotFound => Error::NotFound(handle.text()),
            _ => fault.about("until"),
        })?;
        // EC2 keeps whole seconds.
        if let Some(ends_ms) = ends_ms.filter(|ends_ms| ends_ms / 1_000 < until_ms / 1_000) {
            return Err(Error::Internal(format!("`{id}` is locked until {} and no longer", time::format(ends_ms))));
        }
    }
    Ok(())
}

/// What EC2 is to be told for one snapshot.
struct Step {
    mode: &'static str,
    cool_off_hours: Option<u32>,
}

/// A lock becomes longer or stricter, and never shorter or weaker; none when it is enough already.
fn step(config: &Config, there: Option<&Lock>, mode: LockMode, until_ms: u64) -> Option<Step> {
    let long_enough = there.and_then(|lock| lock.until_ms).is_some_and(|ends_ms| ends_ms >= until_ms);
    let compliance = |cool_off_hours| Some(Step { mode: "compliance", cool_off_hours });
    match (there.map(|lock| lock.state), mode) {
        (Some(LockState::Governance), LockMode::Governance) | (Some(LockState::Compliance | LockState::CoolingOff), _)
            if long_enough =>
        {
            None
        }
        // A period that is over cannot be named again.
        (Some(LockState::Compliance), _) => compliance(None),
        (Some(LockState::CoolingOff), _) | (_, LockMode::Compliance) => compliance(config.cool_off_hours),
        (_, LockMode::Governance) => Some(Step { mode: "governance", cool_off_hours: None }),
    }
}

pub(crate) fn unlock_set<H: Host + Aws>(host: &H, config: &Config, handle: &str) -> Result<(), Error> {
    let ec2 = Ec2::new(host, config);
    let handle = Handle::parse(handle, &config.region)?;
    if find::by_handle(&ec2, &handle)?.is_none() {
        return Ok(());
    }
    let locks = ec2.locks(&handle.ids())?;
    // None is lifted when one cannot be.
    if let Some(until_ms) = locks.iter().filter(|lock| lock.state == LockState::Compliance).filter_map(|lock| lock.until_ms).max() {
        return Err(Error::Locked(until_ms));
    }
    for lock in locks.iter().filter(|lock| lock.holds()) {
        ec2.unlock_snapshot(&lock.snapshot).or_else(|fault| match fault.class {
            Class::NotFound => Ok(()),
            _ => Err(fault),
        })?;
    }
    Ok(())
}
