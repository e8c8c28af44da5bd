//! Credentials that may read and not write, or not delete, or not list.

use stillframe_tests::{FETCH_ERRORS, Loss, PUSH_ERRORS};

use crate::{Remote, assert_accounted, assert_goes_on, assert_says};

const DENIED: Loss = Loss::Answer(403, "AccessDenied");

#[test]
fn credentials_that_may_only_read_change_nothing_and_everything_says_so() {
    let remote = Remote::start();
    let Remote { site, proxy, behind, .. } = &remote;
    let name = site.backup(&[]);
    let segment = site.archived_segment();
    let before = remote.everything();
    proxy.lose_all("PUT", "", DENIED).lose_all("DELETE", "", DENIED);
    for arguments in [
        vec!["snapshot-push", "--provider", "hardlink"],
        vec!["delete", "target", &name, "--confirm"],
        vec!["delete", "everything", "--confirm"],
        vec!["backup-mark", &name],
        vec!["store", "create"],
    ] {
        let what = arguments.join(" ");
        let finished = behind.run(&arguments);
        if arguments[0] == "store" {
            // It is one already, and says so without writing; or it proves first, and cannot.
            assert!(finished.is_success() || finished.stderr.contains("AccessDenied"), "{what}: {finished}");
        } else {
            assert_says(&what, &finished, &[3], "AccessDenied");
        }
        assert_eq!(remote.everything(), before, "{what}");
    }
    let pushed = behind.run(["wal-push", segment.to_str().unwrap()]);
    assert!(pushed.is_success() || PUSH_ERRORS.contains(&pushed.code().unwrap()), "it is archived already: {pushed}");
    for arguments in [vec!["backup-list"], vec!["backup-show", "LATEST"], vec!["wal-verify"], vec!["window"], vec!["reconcile"]] {
        behind.succeed(&arguments);
    }
    let checked = behind.run(["check", "--no-round-trip"]);
    assert!(checked.code() == Some(2) && checked.stdout.contains("AccessDenied"), "{checked}");
    proxy.forget_losses();
    assert_goes_on("with all rights", site);
}

#[test]
fn credentials_that_may_not_delete_leave_what_the_next_run_finishes() {
    let remote = Remote::start();
    let Remote { site, proxy, behind, .. } = &remote;
    let names = [site.backup(&[]), site.backup(&[])];
    proxy.lose_all("DELETE", "", DENIED);
    let deleted = behind.run(["delete", "target", &names[0], "--confirm"]);
    assert_says("a deletion", &deleted, &[3], "AccessDenied");
    let restored = site.fetch("restored", &[&names[0], "--archiving", "off"]);
    assert_says("what is half gone is not restored", &restored, &[4], "deletion");
    // A push needs no right to delete until its very end.
    let pushed = behind.run(["--json", "snapshot-push", "--provider", "hardlink"]);
    assert!(pushed.is_success() || pushed.stderr.contains("AccessDenied"), "{pushed}");
    proxy.forget_losses();
    site.stillframe.succeed(["delete", "target", &names[0], "--confirm"]);
    assert!(!site.backups().contains(&names[0]) && site.backups().contains(&names[1]));
    assert_goes_on("with all rights", site);
}

#[test]
fn credentials_that_may_not_list_prove_no_absence_and_delete_nothing() {
    let remote = Remote::start();
    let Remote { site, proxy, behind, .. } = &remote;
    let name = site.backup(&[]);
    site.switch_wal();
    let before = remote.everything();
    proxy.lose_all("GET", "list-type=2", DENIED);
    for arguments in [
        vec!["backup-list"],
        vec!["snapshot-push", "--provider", "hardlink"],
        vec!["delete", "everything", "--confirm"],
        vec!["reconcile", "--confirm"],
        vec!["wal-verify"],
        vec!["window"],
    ] {
        assert_says(&arguments.join(" "), &behind.run(&arguments), &[3], "AccessDenied");
    }
    let target = site.place("target");
    // Without the right to list, S3 answers 403 for what is absent.
    proxy.lose_all("GET", "0000000100000000000000FF", DENIED).lose_all("HEAD", "0000000100000000000000FF", DENIED);
    let absent = behind.run(["wal-fetch", "0000000100000000000000FF", target.to_str().unwrap()]);
    assert!(FETCH_ERRORS.contains(&absent.code().unwrap()), "absence_is_proven_before_exit_1: {absent}");
    assert_eq!(remote.everything(), before);
    assert_accounted("without the right to list", site);
    assert_eq!(site.backups(), [name]);
}
