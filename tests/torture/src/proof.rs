//! The proof: every published backup restores, and a recovery to a moment shows exactly the rows committed by then.

use serde_json::Value;
use stillframe_real_storage::Load;
use stillframe_tests::{Cluster, Random, StopMode};

use crate::act::names;
use crate::installation::Installation;
use crate::ledger::{Ledger, Moment};
use crate::toll::Toll;

/// How a target is given.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Time,
    Position,
    Point,
}

/// Restores every backup to the end of its recovery: of the archive, or its own where the WAL behind it was given up.
#[track_caller]
pub(crate) fn restore_every_backup(installation: &Installation, ledger: &Ledger, toll: &mut Toll) {
    let window = window(installation);
    let moments = ledger.moments();
    let rows = moments.last().expect("the writer has written").rows;
    for name in names(&installation.listing()["backups"]) {
        let stop = number(installation.site.show(&name)["finish_lsn"].as_str().expect("a position"));
        let what = format!("{name}, to its end");
        if window.iter().any(|interval| interval.is_to_the_end && interval.from <= stop) && leads_on(installation, &name) {
            with_restored(installation, &[&name], |restored| ledger.assert_shows(restored, rows, &what));
        } else {
            let fewest = moments.iter().rfind(|moment| moment.position <= stop).map_or(0, |moment| moment.rows);
            let most = moments.iter().find(|moment| moment.position >= stop).map_or(rows, |moment| moment.rows);
            with_restored(installation, &[&name, "--target-immediate", "--target-action", "promote"], |restored| {
                ledger.assert_shows_between(restored, fewest, most, &what);
            });
        }
        toll.restores += 1;
    }
}

/// Recovers to so many moments of the recoverable window, drawn at random, by time, position and restore point in turn.
#[track_caller]
pub(crate) fn recover_to_moments(installation: &Installation, ledger: &Ledger, random: &mut Random, toll: &mut Toll, count: usize) {
    let window = window(installation);
    let is_within = |moment: &&Moment| window.iter().any(|interval| (interval.from..interval.to).contains(&moment.position));
    let within: Vec<Moment> = ledger.moments().iter().filter(is_within).cloned().collect();
    // The last one has no transaction behind it, without which no time is reached.
    let within = &within[..within.len().saturating_sub(1)];
    assert!(within.len() >= count, "{} moments in {window:?}", within.len());
    for number in 0..count {
        let kind = [Kind::Time, Kind::Position, Kind::Point][number % 3];
        let candidates: Vec<&Moment> =
            within.iter().filter(|moment| !matches!(kind, Kind::Point) || moment.point.is_some()).collect();
        let Some(moment) = candidates.get(random.below(candidates.len().max(1))) else { continue };
        let target = match kind {
            Kind::Time => ["--target-time", moment.time.as_str()],
            Kind::Position => ["--target-lsn", moment.lsn.as_str()],
            Kind::Point => ["--target-name", moment.point.as_deref().expect("it has one")],
        };
        let answer = installation.site.stillframe.run([&["--json", "can-restore"], &target[..]].concat());
        assert_eq!(answer.code(), Some(0), "{target:?} is in the window, {window:?}: {answer}");
        let name = answer.json()["backup_name"].as_str().expect("a name").to_owned();
        let arguments = [&[name.as_str()], &target[..], &["--target-action", "promote"]].concat();
        with_restored(installation, &arguments, |restored| {
            ledger.assert_shows(restored, moment.rows, &format!("{target:?} from {name}"));
        });
        toll.targets += 1;
    }
}

/// What is not in the window is refused: moments of which the WAL has gone, or no backup is left before them.
#[track_caller]
pub(crate) fn refuse_what_is_lost(
    installation: &Installation,
    ledger: &Ledger,
    random: &mut Random,
    toll: &mut Toll,
    count: usize,
) {
    let window = window(installation);
    let is_near = |moment: &&Moment| window.iter().any(|interval| (interval.from..=interval.to).contains(&moment.position));
    let lost: Vec<Moment> = ledger.moments().iter().filter(|moment| !is_near(moment)).cloned().collect();
    for _ in 0..count.min(lost.len()) {
        let moment = &lost[random.below(lost.len())];
        let answer = installation.site.stillframe.run(["--json", "can-restore", "--target-lsn", &moment.lsn]);
        assert_eq!(answer.code(), Some(1), "{moment:?} is not in the window, {window:?}: {answer}");
        toll.refused += 1;
    }
}

/// Restores, starts a server there, looks at it, and takes everything away again.
#[track_caller]
fn with_restored(installation: &Installation, arguments: &[&str], look: impl FnOnce(&Cluster)) {
    let place = installation.restores.join("proof").display().to_string();
    eprintln!("  restoring {}", arguments.join(" "));
    let mut restored = installation.site.restore(&place, &[arguments, &["--archiving", "off"]].concat());
    look(&restored);
    assert!(Load::is_consistent(&restored), "{arguments:?}: the tables of pgbench do not agree with each other");
    restored.stop(StopMode::Immediate);
    installation.site.stillframe.succeed(["snapshot-release", &place]);
    installation.clear_restores();
}

/// Whether recovery from it may go beyond its own end: one that stands alone may lie where another one leads on.
#[track_caller]
fn leads_on(installation: &Installation, name: &str) -> bool {
    let answer = installation.site.stillframe.run(["--json", "can-restore", name]);
    assert!(matches!(answer.code(), Some(0 | 1)), "{name}: {answer}");
    answer.is_success()
}

/// What can be recovered.
#[derive(Debug)]
struct Interval {
    from: u64,
    to: u64,
    /// Whether it reaches the end of the archive.
    is_to_the_end: bool,
}

#[track_caller]
fn window(installation: &Installation) -> Vec<Interval> {
    let window = installation.site.stillframe.succeed(["--json", "window"]).json();
    let end = |interval: &Value, key: &str| number(interval[key]["lsn"].as_str().expect("a position"));
    let interval = |interval: &Value| Interval {
        from: end(interval, "from"),
        to: end(interval, "to"),
        is_to_the_end: interval["ends_because"] == "archive-ends",
    };
    window["intervals"].as_array().expect("a list").iter().map(interval).collect()
}

/// A position as a number.
fn number(lsn: &str) -> u64 {
    let (high, low) = lsn.split_once('/').expect("two halves");
    let half = |text: &str| u64::from_str_radix(text, 16).expect("hexadecimal digits");
    half(high) << 32 | half(low)
}
