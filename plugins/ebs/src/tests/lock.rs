//! Locks: they only ever get longer or stricter.

use stillframe_sdk::{Error, LockMode, Provider};

use super::cloud::Mishap;
use super::{Cloud, Ebs, config, defaults, with_set};

const SOON: u64 = 1_800_000_000_000;
const LATE: u64 = 1_900_000_000_000;

fn locks(cloud: &Cloud) -> Vec<String> {
    cloud.world(|world| {
        world.snapshots.values().filter_map(|snap| snap.lock.as_ref()).map(|(mode, end)| format!("{mode} {end}")).collect()
    })
}

#[test]
fn every_snapshot_is_locked_and_a_later_moment_prolongs() {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    let lock = |mode, until| Ebs::lock_set(&host, &defaults(), &set.handle, mode, until);
    lock(LockMode::Governance, SOON).unwrap();
    assert_eq!(locks(&cloud), ["governance 2027-01-15T08:00:00.000Z"; 2]);
    lock(LockMode::Governance, LATE).unwrap();
    assert_eq!(locks(&cloud), ["governance 2030-03-17T17:46:40.000Z"; 2]);
    lock(LockMode::Governance, SOON).unwrap();
    assert_eq!(locks(&cloud), ["governance 2030-03-17T17:46:40.000Z"; 2], "never shorter");
    lock(LockMode::Compliance, SOON).unwrap();
    assert_eq!(locks(&cloud), ["compliance 2030-03-17T17:46:40.000Z"; 2], "stricter, and not shorter");
    lock(LockMode::Governance, LATE).unwrap();
    assert_eq!(locks(&cloud), ["compliance 2030-03-17T17:46:40.000Z"; 2], "never weaker");
}

#[test]
fn a_lock_in_compliance_mode_holds_against_everybody() {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    let cooling = config(r#"{"region":"eu-central-1","cool_off_hours":24}"#);
    Ebs::lock_set(&host, &cooling, &set.handle, LockMode::Compliance, SOON).unwrap();
    assert_eq!(cloud.last("LockSnapshot")["CoolOffPeriod"], "24");
    // The period is over, and must not be named again.
    Ebs::lock_set(&host, &cooling, &set.handle, LockMode::Compliance, LATE).unwrap();
    assert!(!cloud.last("LockSnapshot").contains_key("CoolOffPeriod"));
    assert_eq!(Ebs::unlock_set(&host, &defaults(), &set.handle), Err(Error::Locked(LATE)));
    assert_eq!(locks(&cloud).len(), 2);
}

#[test]
fn unlocking_is_idempotent_and_what_is_gone_is_not_locked() {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    Ebs::unlock_set(&host, &defaults(), &set.handle).unwrap();
    Ebs::lock_set(&host, &defaults(), &set.handle, LockMode::Governance, SOON).unwrap();
    Ebs::unlock_set(&host, &defaults(), &set.handle).unwrap();
    assert!(locks(&cloud).is_empty());
    Ebs::delete_set(&host, &defaults(), &set.handle).unwrap();
    Ebs::unlock_set(&host, &defaults(), &set.handle).unwrap();
    assert!(matches!(Ebs::lock_set(&host, &defaults(), &set.handle, LockMode::Governance, SOON), Err(Error::NotFound(_))));
}

#[test]
fn a_moment_that_ec2_refuses_is_the_callers_fault() {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    cloud.mishap("LockSnapshot", Mishap::Refused(400, "InvalidParameterValue"));
    let refused = Ebs::lock_set(&host, &defaults(), &set.handle, LockMode::Governance, 1);
    assert!(matches!(refused, Err(Error::Invalid(argument)) if argument.field == "until"));
    cloud.mishap("LockSnapshot", Mishap::Refused(403, "UnauthorizedOperation"));
    let refused = Ebs::lock_set(&host, &defaults(), &set.handle, LockMode::Governance, SOON);
    assert!(matches!(refused, Err(Error::Denied(text)) if text.contains("LockSnapshot")));
}
