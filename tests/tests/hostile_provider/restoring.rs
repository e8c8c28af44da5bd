//! A provider that lies about what it has restored, and where: no server starts on it, and the living cluster is not touched.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use stillframe_tests::{Account, Cluster, Finished, set_mode, tested_major};

use crate::guests::{Liars, assert_error};

/// Copies a tree with owners, modes and links.
fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

fn restores(liars: &Liars) -> usize {
    fs::read_dir(liars.site.place("store/main/restores_001")).map_or(0, Iterator::count)
}

#[track_caller]
fn fetch(liars: &Liars, name: &str, lie: &str, about: &str) -> Finished {
    liars.fetch(&liars.telling(lie, about), name, "new", "new-ts")
}

/// Removes what a restore in its place has left there for people to look at.
fn clear(liars: &Liars) {
    for place in ["new", "new-ts"] {
        let place = liars.site.place(place);
        if place.is_dir() {
            fs::remove_dir_all(place).unwrap();
        }
    }
}

#[track_caller]
fn assert_alive(liars: &Liars) {
    assert_eq!(liars.site.cluster.value("SELECT count(*) FROM t"), "1000");
    liars.site.cluster.sql("CHECKPOINT");
}

#[test]
fn what_was_restored_in_its_place_is_proven_to_be_the_backup() {
    let liars = Liars::start();
    let (name, later) = (liars.backup(), liars.backup());
    let tree = liars.directory(&name).join("trees/data");
    let foreign = Cluster::builder(tested_major()).fresh_initdb().create();
    let prepare = |what: &str, from: &Path, change: &dyn Fn(&Path)| {
        let to = liars.lies(what);
        copy(from, &to);
        change(&to);
    };
    let live = liars.site.cluster.data_directory().to_owned();
    prepare("no-control", &tree, &|to| fs::remove_file(to.join("global/pg_control")).unwrap());
    prepare("no-version", &tree, &|to| fs::remove_file(to.join("PG_VERSION")).unwrap());
    let other = tested_major() - 1;
    prepare("another-version", &tree, &|to| fs::write(to.join("PG_VERSION"), format!("{other}\n")).unwrap());
    prepare("another-cluster", foreign.data_directory(), &|_| {});
    prepare("another-moment", &liars.directory(&later).join("trees/data"), &|_| {});
    prepare("torn-control", &tree, &|to| fs::write(to.join("global/pg_control"), vec![0; 8192]).unwrap());
    for linked in ["base", "global", "pg_xact"] {
        prepare(&format!("linked-{linked}"), &tree, &|to| {
            fs::remove_dir_all(to.join(linked)).unwrap();
            symlink(live.join(linked), to.join(linked)).unwrap();
        });
    }
    prepare("linked-database", &tree, &|to| {
        fs::remove_dir_all(to.join("base/1")).unwrap();
        symlink(live.join("base/1"), to.join("base/1")).unwrap();
    });
    for (lie, about, code, words) in [
        ("does-nothing", "", 4, "lacks `PG_VERSION`"),
        ("restores-half", "", 4, "lacks `base`"),
        ("restores-another", "no-control", 4, "lacks `global/pg_control`"),
        ("restores-another", "no-version", 4, "lacks `PG_VERSION`"),
        ("restores-another", "another-version", 4, &format!("is of PostgreSQL {other}")),
        ("restores-another", "another-cluster", 4, "belongs to the cluster"),
        ("restores-another", "another-moment", 4, "was not cut by this backup"),
        ("restores-another", "torn-control", 6, "pg_control"),
        ("restores-another", "linked-base", 4, "is a symbolic link"),
        ("restores-another", "linked-global", 4, "is a symbolic link"),
        ("restores-another", "linked-pg_xact", 4, "is a symbolic link"),
        ("restores-another", "linked-database", 4, "is a symbolic link"),
    ] {
        let finished = fetch(&liars, &name, lie, about);
        assert_error(&finished, code, words);
        assert!(finished.stderr.contains("hint:"), "{finished}");
        assert!(!liars.site.place("new/backup_label").exists(), "no server starts on it: {finished}");
        assert_eq!(restores(&liars), 0, "{finished}");
        clear(&liars);
        assert_alive(&liars);
    }
    liars.assert_restorable(&name);
    liars.assert_restorable(&later);
}

#[test]
fn a_restore_that_everybody_could_write_to_is_closed_or_never_started() {
    let liars = Liars::start();
    let name = liars.backup();
    let open = liars.lies("open");
    copy(&liars.directory(&name).join("trees/data"), &open);
    set_mode(&open, 0o777);
    set_mode(&open.join("postgresql.conf"), 0o4777);
    let finished = fetch(&liars, &name, "restores-another", "open");
    assert!(finished.is_success(), "{finished}");
    let mode = fs::metadata(liars.site.place("new")).unwrap().permissions().mode();
    assert_eq!(mode & 0o027, 0, "{mode:o}: {finished}");
}

#[test]
fn a_place_that_is_not_the_restore_is_refused_and_nothing_leads_there() {
    let liars = Liars::start();
    let name = liars.backup();
    let live = liars.site.cluster.data_directory().display().to_string();
    let lies = liars.lies("").display().to_string();
    let at = |path: &str| format!("{lies}{path}");
    Account::unprivileged().create_directory(&liars.lies("empty"));
    Account::unprivileged().write(&liars.lies("a-file"), "x");
    symlink(&live, liars.lies("to-the-living")).unwrap();
    symlink("/etc", liars.lies("to-etc")).unwrap();
    let foreign = Cluster::builder(tested_major()).fresh_initdb().create();
    copy(foreign.data_directory(), &liars.lies("foreign"));
    for (about, code, words) in [
        ("/etc".to_owned(), 7, "which is not the directory asked for, and does not lie below"),
        (live.clone(), 7, "which is not the directory asked for"),
        ("relative".to_owned(), 7, "is not absolute, or leads upwards"),
        (at("x/../../data"), 7, "is not absolute, or leads upwards"),
        (at("\u{202e}evil"), 7, "contains control characters"),
        (lies.trim_end_matches('/').to_owned(), 7, "which is not the directory asked for"),
        (at("to-the-living"), 7, "which is a way to"),
        (at("to-etc"), 7, "which is a way to"),
        (at("to-etc/ssl"), 7, "which is a way to"),
        (at("a-file"), 7, "which is no directory"),
        (at("empty"), 7, "which holds no data directory"),
        (at("foreign"), 7, "which holds the cluster"),
        (at("nothing-here"), 4, "nothing-here"),
    ] {
        let finished = fetch(&liars, &name, "claims-a-place", &about);
        assert_error(&finished, code, words);
        assert!(!liars.site.place("new").is_symlink(), "{about}: {finished}");
        assert_eq!(restores(&liars), 0, "{about}: {finished}");
        clear(&liars);
    }
    let finished = fetch(&liars, &name, "forgets-a-directory", "");
    assert_error(&finished, 7, "the directories that it restored are not the ones of the request");
    clear(&liars);
    assert_alive(&liars);
    liars.assert_restorable(&name);
}

/// Even an operator who lets it restore just beside the living cluster is not made to start a second server on that.
#[test]
fn the_living_cluster_is_never_taken_for_a_restore() {
    let liars = Liars::start();
    let name = liars.backup();
    let live = liars.site.cluster.data_directory().to_owned();
    let around = live.parent().unwrap().display().to_string();
    let stillframe = liars.site.configured(|config| {
        config.value("provider.liar", "lie", "claims-a-place").value("provider.liar", "about", live.display().to_string()).value(
            "provider.liar.grants",
            "restore_below",
            vec![around],
        )
    });
    let finished = liars.fetch(&stillframe, &name, "new", "new-ts");
    assert_error(&finished, 7, "which is the same directory as");
    assert!(!liars.site.place("new").is_symlink() && restores(&liars) == 0, "{finished}");
    clear(&liars);
    assert_alive(&liars);
}

#[test]
fn what_is_said_to_be_released_and_is_still_there_stays_recorded() {
    let liars = Liars::start();
    let name = liars.backup();
    let root = liars.lies("").display().to_string();
    let root = root.trim_end_matches('/');
    let finished = fetch(&liars, &name, "elsewhere", root);
    assert!(finished.is_success(), "{finished}");
    let place = liars.site.place("new").display().to_string();
    let kept = liars.telling("elsewhere-for-ever", root).run(["snapshot-release", &place]);
    assert_error(&kept, 7, "what was restored there is still there");
    assert_eq!(restores(&liars), 1, "{kept}");
    assert!(liars.site.place("new").is_symlink(), "{kept}");
    liars.telling("elsewhere", root).succeed(["snapshot-release", &place]);
    assert!(restores(&liars) == 0 && !liars.site.place("new").is_symlink());
}
