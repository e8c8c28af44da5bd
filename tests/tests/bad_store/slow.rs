//! Servers that are slow, silent, overloaded, or break off in the middle.

use std::time::{Duration, Instant};

use stillframe_tests::{Loss, Stillframe};

use crate::{Remote, assert_accounted, assert_goes_on, assert_says, impatient};

/// Longest life of a command whose store does not answer: one attempt of a second each for its request, its retreat, and what a
/// loaded machine takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// The binary on the way that lies, which waits for a second.
fn hasty(remote: &Remote) -> Stillframe {
    let endpoint = remote.proxy.endpoint();
    remote.site.configured(|config| impatient(config).value("store", "timeout_secs", 1).value("store", "endpoint", endpoint))
}

fn commands(name: &str) -> Vec<Vec<&str>> {
    vec![
        vec!["snapshot-push", "--provider", "hardlink"],
        vec!["delete", "target", name, "--confirm"],
        vec!["delete", "garbage", "--confirm"],
        vec!["reconcile", "--confirm"],
        vec!["backup-mark", name],
        vec!["wal-verify"],
        vec!["window"],
        vec!["backup-list"],
    ]
}

#[test]
fn every_command_ends_soon_and_says_why_when_the_store_falls_silent_or_trickles() {
    let remote = Remote::start();
    let Remote { site, proxy, .. } = &remote;
    let behind = hasty(&remote);
    let name = site.backup(&[]);
    let before = remote.everything();
    for loss in [Loss::Silence, Loss::Trickle, Loss::Reset] {
        // Each waits in the same place of ours; what differs is who waits.
        let count = if loss == Loss::Silence { usize::MAX } else { 2 };
        for arguments in commands(&name).into_iter().take(count) {
            proxy.forget_losses();
            proxy.lose_all("GET", "", loss.clone()).lose_all("PUT", "", loss.clone()).lose_all("HEAD", "", loss.clone());
            let what = format!("{loss:?}: {}", arguments.join(" "));
            let begun = Instant::now();
            let finished = behind.run(&arguments);
            assert_says(&what, &finished, &[5], "");
            let is_late = ["no whole answer within 1 s", "timeout"].iter().any(|words| finished.stderr.contains(words));
            assert!(is_late || loss == Loss::Reset, "{what}: {finished}");
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
    if pushed.is_success() {
        // The lease falls free by itself, a sentinel whose answer was lost is asked for, and the identity is written once only.
        assert!(["lease_001", "sentinel.json", "identity.json"].contains(&part), "{what}: {pushed}");
        assert!(remote.site.backups().contains(&pushed.stdout.trim().to_owned()), "{what}: {pushed}");
    } else {
        assert_says(&what, &pushed, &[3, 5, 6], "");
    }
    assert!(begun.elapsed() < PATIENCE, "{what}: {:?}", begun.elapsed());
    remote.proxy.forget_losses();
    assert_accounted(&what, &remote.site);
}

#[test]
fn a_push_whose_store_fails_at_any_write_ends_in_time_out_of_backup_mode_and_with_everything_in_a_record() {
    let remote = Remote::start();
    let behind = hasty(&remote);
    let full = || Loss::Answer(507, "XMinioStorageFull");
    for (part, losses) in [
        ("identity.json", vec![full()]),
        ("lease_001", vec![Loss::Silence]),
        ("intent.json", vec![Loss::Silence, full(), Loss::LostAnswer]),
        ("sentinel.json", vec![Loss::Silence, full(), Loss::LostAnswer, Loss::Answer(200, "InternalError")]),
    ] {
        for loss in losses {
            assert_push_ends(&remote, &behind, part, loss);
        }
    }
    assert_goes_on("it answers again", &remote.site);
}

#[test]
fn what_passes_by_itself_is_waited_out() {
    let remote = Remote::start();
    let Remote { site, proxy, .. } = &remote;
    let patient = site.configured(|config| config.value("store", "max_attempts", 4).value("store", "endpoint", proxy.endpoint()));
    let (overloaded, broken) = (Loss::Answer(503, "SlowDown"), Loss::Answer(500, "InternalError"));
    for (method, part, losses) in [
        ("GET", "prefix=", [overloaded.clone(), Loss::HalfAnswer]),
        ("GET", "sentinel.json", [Loss::HalfAnswer, Loss::Reset]),
        ("HEAD", "condemned.json", [broken.clone(), Loss::Reset]),
        ("PUT", "intent.json", [Loss::LostAnswer, overloaded.clone()]),
        ("PUT", "sentinel.json", [overloaded, Loss::LostAnswer]),
        ("DELETE", "", [broken, Loss::LostAnswer]),
    ] {
        for loss in losses {
            proxy.lose_next(method, part, loss);
        }
    }
    let name = patient.succeed(["--json", "snapshot-push", "--provider", "hardlink"]).json()["backup_name"].clone();
    patient.succeed(["backup-show", name.as_str().unwrap()]);
    patient.succeed(["delete", "target", name.as_str().unwrap(), "--confirm"]);
    assert_eq!(proxy.pending(), 0, "all of them were met");
    assert!(site.backups().is_empty() && site.snapshots().is_empty());
}
