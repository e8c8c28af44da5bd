//! Servers that are slow, silent, overloaded, or break off in the middle.

use std::time::{Duration, Instant};

use stillframe_tests::{Loss, Stillframe};

use crate::{Remote, assert_accounted, assert_goes_on, assert_says};

/// Longest life of a command whose store does not answer: one attempt of a second each for its request, its retreat, and what a
/// loaded machine takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn commands(name: &str) -> Vec<Vec<&str>> {
    vec![
        vec!["snapshot-push", "--provider", "hardlink"],
        vec!["delete", "target", name, "--confirm"],
        vec!["delete", "garbage", "--confirm"],
        vec!["reconcile", "--confirm"],
        vec!["backup-mark", name, "--permanent"],
        vec!["wal-verify"],
        vec!["window"],
        vec!["backup-list"],
    ]
}

#[test]
fn every_command_ends_soon_and_says_why_when_the_store_falls_silent_or_trickles() {
    let remote = Remote::start();
    let Remote { site, proxy, behind, .. } = &remote;
    let name = site.backup(&[]);
    let before = remote.everything();
    for (loss, words) in
        [(Loss::Silence, "no whole answer within 1 s"), (Loss::Trickle, "no whole answer within 1 s"), (Loss::Reset, "")]
    {
        for arguments in commands(&name) {
            proxy.forget_losses();
            proxy.lose_all("GET", "", loss.clone()).lose_all("PUT", "", loss.clone()).lose_all("HEAD", "", loss.clone());
            let what = format!("{loss:?}: {}", arguments.join(" "));
            let begun = Instant::now();
            let finished = behind.run(&arguments);
            assert_says(&what, &finished, &[5], words);
            assert!(begun.elapsed() < PATIENCE, "{what}: {:?}", begun.elapsed());
        }
        assert_eq!(remote.everything(), before, "{loss:?}");
    }
    proxy.forget_losses();
    assert_goes_on("it answers again", site);
}

/// The push goes through until it writes this; gives how it ended.
#[track_caller]
fn assert_push_ends(remote: &Remote, behind: &Stillframe, part: &str, loss: Loss) {
    let what = format!("{loss:?} at {part}");
    remote.proxy.lose_all("PUT", part, loss);
    let begun = Instant::now();
    let pushed = behind.run(["snapshot-push", "--provider", "hardlink"]);
    assert!(!pushed.is_success(), "{what}: {pushed}");
    assert_says(&what, &pushed, &[3, 5, 6], "");
    assert!(begun.elapsed() < PATIENCE, "{what}: {:?}", begun.elapsed());
    remote.proxy.forget_losses();
    assert_accounted(&what, &remote.site);
}

#[test]
fn a_push_whose_store_fails_at_any_write_ends_in_time_out_of_backup_mode_and_with_everything_in_a_record() {
    let remote = Remote::start();
    for part in ["lease_001", "identity.json", "intent.json", "sentinel.json"] {
        for loss in [Loss::Silence, Loss::LostAnswer, Loss::Answer(507, "XMinioStorageFull"), Loss::Answer(200, "InternalError")] {
            assert_push_ends(&remote, &remote.behind, part, loss);
        }
    }
    assert_goes_on("it answers again", &remote.site);
}

#[test]
fn what_passes_by_itself_is_waited_out() {
    let remote = Remote::start();
    let Remote { site, proxy, .. } = &remote;
    let patient = site.configured(|config| config.value("store", "max_attempts", 4).value("store", "endpoint", proxy.endpoint()));
    for method in ["GET", "PUT", "HEAD", "DELETE"] {
        for loss in [Loss::Answer(503, "SlowDown"), Loss::Answer(500, "InternalError"), Loss::Reset] {
            proxy.lose_next(method, "", loss);
        }
    }
    for part in ["intent.json", "sentinel.json"] {
        proxy.lose_next("PUT", part, Loss::LostAnswer);
    }
    for part in ["sentinel.json", "list-type=2"] {
        proxy.lose_next("GET", part, Loss::HalfAnswer).lose_next("GET", part, Loss::Answer(200, "SlowDown"));
    }
    let name = patient.succeed(["--json", "snapshot-push", "--provider", "hardlink"]).json()["backup_name"].clone();
    patient.succeed(["backup-show", name.as_str().unwrap()]);
    patient.succeed(["delete", "target", name.as_str().unwrap(), "--confirm"]);
    assert!(proxy.pending() <= 1, "they were met: {} are left", proxy.pending());
    assert!(site.backups().is_empty() && site.snapshots().is_empty());
}
