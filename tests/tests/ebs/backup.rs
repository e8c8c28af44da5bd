//! The whole life of a backup on EBS.

use std::collections::BTreeSet;

use serde_json::json;
use stillframe_tests::{Completion, StopMode, with_own_mounts};

use crate::load::{Load, assert_complete};
use crate::machine::{mounts_below, text};
use crate::site::{EbsSite, RESTORED};

#[test]
fn a_database_under_load_is_backed_up_restored_to_a_point_released_and_deleted() {
    with_own_mounts("backup::a_database_under_load_is_backed_up_restored_to_a_point_released_and_deleted", || {
        let ebs = EbsSite::start();
        ebs.ec2.complete_snapshots(Completion::AfterLooks(1));
        let load = Load::on(&ebs.site.cluster);
        let name = ebs.backup(&[]);
        load.wait_for_more();
        let before = load.acknowledged();
        ebs.site.cluster.sql("SELECT pg_create_restore_point('the target')");
        // The one that was under way may have come before the restore point as well.
        let after = load.acknowledged() + 1;
        load.wait_for_more();
        drop(load);
        ebs.site.switch_wal();

        let cut: BTreeSet<String> = ebs.ec2.snapshots().into_iter().map(|snapshot| snapshot.volume).collect();
        assert_eq!(cut, ebs.volumes.iter().cloned().collect(), "these volumes and no others");
        assert_eq!(ebs.ec2.done("CreateSnapshots"), 1);
        let shown = ebs.site.show(&name);
        assert_eq!((shown["state"].as_str(), shown["provider"].as_str()), (Some("ready"), Some("ebs")));
        assert_eq!((&shown["consistency"], &shown["is_isolated"]), (&json!("atomic"), &json!(true)));

        let target = ["--target-name", "the target", "--target-action", "promote"];
        let mut restored = ebs.restore("restored", &name, &target);
        assert_complete(&restored, before..=after);
        assert_eq!(mounts_below(&ebs.mount_root()).len(), RESTORED, "PGDATA and the tablespaces");
        // The copy is its own.
        restored.sql("DROP TABLE ledger; CHECKPOINT");
        assert_eq!(ebs.site.cluster.value("SELECT count(*) > 0 FROM ledger"), "t");

        let place = ebs.site.place("restored");
        let used = ebs.site.stillframe.run(["snapshot-release", text(&place)]);
        assert!(!used.is_success() && !mounts_below(&ebs.mount_root()).is_empty(), "a server runs there: {used}");
        restored.stop(StopMode::Fast);
        ebs.site.stillframe.succeed(["snapshot-release", text(&place)]);
        ebs.assert_no_restore_is_left();
        ebs.site.stillframe.succeed(["snapshot-release", text(&place)]);

        ebs.site.stillframe.succeed(["delete", "everything", "--confirm"]);
        ebs.assert_nothing_is_left();
    });
}

#[test]
fn a_dry_run_of_a_deletion_asks_ec2_nothing() {
    with_own_mounts("backup::a_dry_run_of_a_deletion_asks_ec2_nothing", || {
        let ebs = EbsSite::start();
        ebs.backup(&[]);
        let before = ebs.ec2.seen().len();
        ebs.site.stillframe.succeed(["delete", "everything"]);
        assert_eq!((ebs.ec2.seen().len(), ebs.ec2.snapshots().len()), (before, ebs.volumes.len()));
    });
}
