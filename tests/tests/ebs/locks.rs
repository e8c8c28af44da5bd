//! A locked backup stays until its lock is over.

use std::time::Duration;

use stillframe_tests::with_own_mounts;

use crate::site::EbsSite;

/// Far enough for any clock, and near enough to be waited for by the simulator's.
const UNTIL: &str = "2031-01-01T00:00:00Z";

#[test]
fn a_backup_that_is_locked_in_compliance_mode_is_not_deleted_and_the_time_is_named() {
    with_own_mounts("locks::a_backup_that_is_locked_in_compliance_mode_is_not_deleted_and_the_time_is_named", || {
        let ebs = EbsSite::start();
        let name = ebs.backup(&[]);
        ebs.site.stillframe.succeed(["backup-lock", &name, "--until", UNTIL, "--mode", "compliance"]);
        let refused = ebs.site.stillframe.run(["delete", "target", &name, "--confirm"]);
        assert!(!refused.is_success() && refused.says("2031-01-01"), "{refused}");
        let refused = ebs.site.stillframe.run(["backup-lock", &name, "--release"]);
        assert!(!refused.is_success() && refused.says("2031-01-01"), "{refused}");
        assert_eq!((ebs.site.backups(), ebs.ec2.snapshots().len()), (vec![name], ebs.volumes.len()));
        assert!(ebs.ec2.snapshots().iter().all(|snapshot| snapshot.locked_until().is_some()));
    });
}

#[test]
fn a_backup_that_is_locked_in_governance_mode_is_deleted_once_it_is_released() {
    with_own_mounts("locks::a_backup_that_is_locked_in_governance_mode_is_deleted_once_it_is_released", || {
        let ebs = EbsSite::start();
        let name = ebs.backup(&[]);
        ebs.site.stillframe.succeed(["backup-lock", &name, "--until", UNTIL, "--mode", "governance"]);
        let refused = ebs.site.stillframe.run(["delete", "target", &name, "--confirm"]);
        assert!(!refused.is_success() && refused.says("2031-01-01"), "{refused}");
        ebs.site.stillframe.succeed(["backup-lock", &name, "--release"]);
        ebs.site.stillframe.succeed(["delete", "target", &name, "--confirm"]);
        ebs.assert_nothing_is_left();
    });
}

/// Somebody else has locked them: our own record knows nothing of it.
#[test]
fn a_lock_that_only_ec2_knows_of_stops_a_deletion_too() {
    with_own_mounts("locks::a_lock_that_only_ec2_knows_of_stops_a_deletion_too", || {
        let ebs = EbsSite::start();
        let name = ebs.backup(&[]);
        let mut client = stillframe_tests::Boto::of(&ebs.ec2);
        let one = ebs.ec2.snapshots()[1].id.clone();
        let lock = serde_json::json!({"SnapshotId": one, "LockMode": "compliance", "LockDuration": 3});
        client.succeed("lock_snapshot", &lock);
        let refused = ebs.site.stillframe.run(["delete", "target", &name, "--confirm"]);
        assert!(!refused.is_success() && refused.says("lock"), "{refused}");
        assert!(ebs.ec2.snapshots().iter().any(|snapshot| snapshot.id == one));
        ebs.ec2.advance(Duration::from_hours(24 * 4));
        ebs.site.stillframe.succeed(["delete", "target", &name, "--confirm"]);
        ebs.assert_nothing_is_left();
    });
}
