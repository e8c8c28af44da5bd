//! A restore that is interrupted can be taken back by its token, and one that goes wrong takes itself back.

use stillframe_tests::{Fault, StopMode, with_own_mounts};

use crate::machine::mounts_below;
use crate::site::{EbsSite, RESTORED};

/// Killed when this has been asked for, and released by its token.
#[track_caller]
fn killed_at(ebs: &EbsSite, name: &str, action: &str) {
    let done = ebs.ec2.done(action);
    // It is done, and the answer never comes.
    ebs.ec2.fail(action, 1, Fault::NoAnswer);
    let begin = ["snapshot-fetch".to_owned(), ebs.site.place(action).display().to_string()];
    let restore = ebs.site.stillframe.spawn(begin.into_iter().chain(ebs.beside(name, &[])));
    ebs.wait_until_done(action, done);
    restore.kill9();
    let killed = restore.wait();
    assert_eq!(killed.signal(), Some(9), "{killed}");
    let listing = ebs.listing();
    let restores = listing["restores"].as_array().unwrap();
    assert_eq!(restores.len(), 1, "it was announced: {listing}");
    let token = restores[0]["token"].as_str().unwrap();
    ebs.site.stillframe.succeed(["snapshot-release", token]);
    ebs.assert_no_restore_is_left();
    assert!(ebs.listing()["restores"].as_array().unwrap().is_empty());
}

#[test]
fn a_restore_that_is_killed_is_released_by_its_token() {
    with_own_mounts("restores::a_restore_that_is_killed_is_released_by_its_token", || {
        let ebs = EbsSite::start();
        let name = ebs.backup(&[]);
        for action in ["CreateVolume", "AttachVolume"] {
            killed_at(&ebs, &name, action);
        }
    });
}

#[test]
fn a_restore_that_cannot_attach_takes_its_volumes_back() {
    with_own_mounts("restores::a_restore_that_cannot_attach_takes_its_volumes_back", || {
        let ebs = EbsSite::start();
        let name = ebs.backup(&[]);
        ebs.ec2.deny("AttachVolume");
        let refused = ebs.try_restore("restored", &name);
        assert!(!refused.is_success() && refused.stderr.contains("AttachVolume"), "{refused}");
        ebs.assert_no_restore_is_left();
    });
}

#[test]
fn a_volume_that_was_made_of_another_snapshot_is_never_mounted() {
    with_own_mounts("restores::a_volume_that_was_made_of_another_snapshot_is_never_mounted", || {
        let ebs = EbsSite::start();
        let (other, name) = (ebs.backup(&[]), ebs.backup(&[]));
        let of_the_other = ebs.ec2.snapshots().into_iter().find(|snapshot| snapshot.tags["stillframe:name"] == other).unwrap();
        ebs.ec2.forge_origin(&of_the_other.id);
        let refused = ebs.try_restore("restored", &name);
        assert!(!refused.is_success() && refused.stderr.contains(&of_the_other.id), "{refused}");
        ebs.assert_no_restore_is_left();
    });
}

#[test]
fn volumes_are_made_once_although_answers_are_lost() {
    with_own_mounts("restores::volumes_are_made_once_although_answers_are_lost", || {
        let ebs = EbsSite::start();
        ebs.site.cluster.sql("CREATE TABLE t TABLESPACE ts2 AS SELECT generate_series(1, 10) AS i");
        let name = ebs.backup(&[]);
        let volumes = ebs.ec2.volumes().len();
        for action in ["CreateVolume", "AttachVolume"] {
            ebs.ec2.fail(action, 1, Fault::LostAnswer);
        }
        let mut restored = ebs.restore("restored", &name, &[]);
        assert_eq!((ebs.ec2.pending_faults(), ebs.ec2.volumes().len()), (0, volumes + RESTORED));
        assert_eq!(restored.value("SELECT count(*) FROM t"), "10");
        assert_eq!(mounts_below(&ebs.mount_root()).len(), RESTORED);
        restored.stop(StopMode::Fast);
        let place = ebs.site.place("restored").display().to_string();
        for action in ["DetachVolume", "DeleteVolume"] {
            ebs.ec2.fail(action, 1, Fault::LostAnswer);
        }
        ebs.site.stillframe.succeed(["snapshot-release", &place]);
        ebs.assert_no_restore_is_left();
    });
}
