//! A cut is not a backup before EC2 says so.

use stillframe_tests::{Completion, with_own_mounts};

use crate::site::EbsSite;

#[test]
fn a_snapshot_that_fails_makes_no_backup_and_leaves_nothing() {
    with_own_mounts("readiness::a_snapshot_that_fails_makes_no_backup_and_leaves_nothing", || {
        let ebs = EbsSite::start();
        let failed = Completion::Error("the storage behind it is broken".to_owned());
        ebs.ec2.complete_next_snapshots([Completion::AfterLooks(0), failed, Completion::AfterLooks(0)]);
        let refused = ebs.try_backup(&[]);
        assert!(!refused.is_success() && refused.stderr.contains("the storage behind it is broken"), "{refused}");
        ebs.assert_nothing_is_left();
    });
}

#[test]
fn without_waiting_a_backup_is_published_as_cut_and_becomes_ready_later() {
    with_own_mounts("readiness::without_waiting_a_backup_is_published_as_cut_and_becomes_ready_later", || {
        let ebs = EbsSite::start();
        ebs.ec2.complete_snapshots(Completion::Never);
        let name = ebs.backup(&["--no-wait"]);
        let state = || ebs.listing()["backups"][0]["state"].as_str().unwrap().to_owned();
        assert_eq!([state(), state()], ["cut", "cut"]);
        // Nothing can be made of it yet.
        let refused = ebs.try_restore("early", &name);
        assert!(!refused.is_success(), "{refused}");
        ebs.assert_no_restore_is_left();
        ebs.ec2.complete_all_snapshots();
        assert_eq!(state(), "ready");
        let asked = ebs.ec2.seen().len();
        assert_eq!(state(), "ready");
        assert_eq!(ebs.ec2.seen().len(), asked, "what is known is not asked again");
    });
}

#[test]
fn a_backup_that_fails_after_it_was_published_says_so_and_can_be_deleted() {
    with_own_mounts("readiness::a_backup_that_fails_after_it_was_published_says_so_and_can_be_deleted", || {
        let ebs = EbsSite::start();
        ebs.ec2.complete_snapshots(Completion::Error("the storage behind it is broken".to_owned()));
        let name = ebs.backup(&["--no-wait"]);
        // Two looks: one at which it is pending, and one at which it is not.
        let listings = [ebs.listing(), ebs.listing()];
        let [_, backup] = listings.each_ref().map(|listing| &listing["backups"][0]);
        assert_eq!(backup["state"], "failed", "{backup}");
        assert!(backup["failure"].as_str().unwrap().contains("the storage behind it is broken"), "{backup}");
        let refused = ebs.try_restore("restored", &name);
        assert_eq!(refused.code(), Some(4), "{refused}");
        ebs.site.stillframe.succeed(["delete", "everything", "--confirm"]);
        ebs.assert_nothing_is_left();
    });
}
