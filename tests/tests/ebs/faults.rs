//! EC2 in trouble: what it refuses for a while is tried again, what may have happened is looked for, and nothing is made twice.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::Value;
use stillframe_tests::{Account, Fault, Site, with_own_mounts};

use crate::site::EbsSite;

/// One backup has one snapshot of each of its volumes, and nobody has cut anything else.
#[track_caller]
fn assert_one_set(ebs: &EbsSite) {
    let snapshots = ebs.ec2.snapshots();
    let cut: BTreeSet<&str> = snapshots.iter().map(|snapshot| snapshot.volume.as_str()).collect();
    let tokens: BTreeSet<&str> = snapshots.iter().map(|snapshot| snapshot.tags["stillframe:token"].as_str()).collect();
    assert_eq!(cut, ebs.volumes.iter().map(String::as_str).collect());
    assert_eq!((snapshots.len(), tokens.len()), (ebs.volumes.len(), 1));
}

/// No clock can be moved from here, so the record is.
#[track_caller]
fn let_intents_expire(site: &Site) {
    for name in site.intents() {
        let record = site.place("store/main/snapshots_001").join(name).join("intent.json");
        let mut intent: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
        intent["expires_at"] = intent["begun_at"].clone();
        intent.as_object_mut().unwrap().remove("checksum");
        Account::unprivileged().write(&record, intent.to_string());
    }
}

#[test]
fn a_throttled_backup_succeeds_with_one_set() {
    with_own_mounts("faults::a_throttled_backup_succeeds_with_one_set", || {
        let ebs = EbsSite::start();
        ebs.ec2.fail("CreateSnapshots", 2, Fault::Throttled).fail("DescribeSnapshots", 2, Fault::Throttled);
        // Of one volume, EC2 takes no second snapshot for a while.
        ebs.ec2.fail("CreateSnapshots", 1, Fault::Refused(400, "SnapshotCreationPerVolumeRateExceeded"));
        ebs.backup(&[]);
        assert_eq!((ebs.ec2.pending_faults(), ebs.ec2.done("CreateSnapshots")), (0, 1));
        assert_one_set(&ebs);
    });
}

#[test]
fn a_lost_answer_makes_no_second_set() {
    with_own_mounts("faults::a_lost_answer_makes_no_second_set", || {
        let ebs = EbsSite::start();
        ebs.ec2.fail("CreateSnapshots", 1, Fault::LostAnswer);
        ebs.backup(&[]);
        assert_eq!(ebs.ec2.pending_faults(), 0);
        assert_one_set(&ebs);
        assert_eq!(ebs.ec2.done("CreateSnapshots"), 1, "it was found by its tag");
    });
}

#[test]
fn a_set_that_is_hidden_at_first_is_waited_for() {
    with_own_mounts("faults::a_set_that_is_hidden_at_first_is_waited_for", || {
        let ebs = EbsSite::start();
        ebs.ec2.hide_new_snapshots(2).fail("CreateSnapshots", 1, Fault::LostAnswer);
        ebs.backup(&[]);
        assert_one_set(&ebs);
        assert_eq!(ebs.ec2.done("CreateSnapshots"), 1);
    });
}

#[test]
fn a_set_that_was_cut_in_part_is_taken_back() {
    with_own_mounts("faults::a_set_that_was_cut_in_part_is_taken_back", || {
        let ebs = EbsSite::start();
        ebs.ec2.fail("CreateSnapshots", 1, Fault::Partial);
        let refused = ebs.try_backup(&[]);
        assert_eq!(refused.code(), Some(5), "{refused}");
        ebs.assert_nothing_is_left();
    });
}

#[test]
fn a_backup_that_is_killed_with_its_set_cut_is_garbage() {
    with_own_mounts("faults::a_backup_that_is_killed_with_its_set_cut_is_garbage", || {
        let ebs = EbsSite::start();
        ebs.ec2.fail("CreateSnapshots", 1, Fault::NoAnswer);
        let push = ebs.site.stillframe.spawn(["snapshot-push", "--provider", "ebs"]);
        ebs.wait_until_done("CreateSnapshots", 0);
        push.kill9();
        assert_eq!(push.wait().signal(), Some(9));
        // It may run still, for all that anybody else knows.
        ebs.site.stillframe.succeed(["delete", "garbage", "--confirm"]);
        assert_eq!((ebs.site.intents().len(), ebs.ec2.snapshots().len()), (1, ebs.volumes.len()));
        let_intents_expire(&ebs.site);
        ebs.site.stillframe.succeed(["delete", "garbage", "--confirm"]);
        ebs.assert_nothing_is_left();
    });
}

#[test]
fn errors_and_slowness_of_looks_are_lived_through() {
    with_own_mounts("faults::errors_and_slowness_of_looks_are_lived_through", || {
        let ebs = EbsSite::start();
        for action in ["DescribeVolumes", "DescribeInstances", "DescribeSnapshots"] {
            ebs.ec2.fail(action, 1, Fault::Internal).fail(action, 1, Fault::Reset);
            ebs.ec2.fail(action, 1, Fault::Slow(Duration::from_secs(1)));
        }
        ebs.backup(&[]);
        assert_one_set(&ebs);
        ebs.ec2.fail("DeleteSnapshot", 1, Fault::Internal).fail("DeleteSnapshot", 1, Fault::LostAnswer);
        ebs.site.stillframe.succeed(["delete", "everything", "--confirm"]);
        ebs.assert_nothing_is_left();
    });
}

#[test]
fn a_refused_cut_is_a_refused_backup_that_leaves_nothing() {
    with_own_mounts("faults::a_refused_cut_is_a_refused_backup_that_leaves_nothing", || {
        let ebs = EbsSite::start();
        ebs.ec2.deny("CreateSnapshots");
        let refused = ebs.try_backup(&[]);
        assert!(!refused.is_success() && refused.stderr.contains("CreateSnapshots"), "{refused}");
        ebs.assert_nothing_is_left();
    });
}

#[test]
fn a_region_that_is_not_granted_is_denied_by_the_host_and_asked_nothing() {
    with_own_mounts("faults::a_region_that_is_not_granted_is_denied_by_the_host_and_asked_nothing", || {
        let ebs = EbsSite::start();
        let elsewhere = ebs.site.configured(|config| config.value("provider.ebs.grants.aws", "region", "us-east-1"));
        let seen = ebs.ec2.seen().len();
        let refused = elsewhere.run(["snapshot-push", "--provider", "ebs"]);
        assert!(!refused.is_success() && refused.stderr.contains("us-east-1"), "{refused}");
        assert_eq!(ebs.ec2.seen().len(), seen);
        ebs.assert_nothing_is_left();
    });
}
