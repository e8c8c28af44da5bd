//! A provider that dies in each of its functions in turn: whatever is under way ends with one clear error, and the next honest run
//! finds everything as it was, or finishes it.

use std::fs;

use crate::guests::{Liars, assert_error};

#[test]
fn a_death_in_any_function_is_one_clear_error_and_the_next_run_goes_on() {
    let liars = Liars::start();
    let (first, second) = (liars.backup(), liars.backup());
    let dies_in = |function: &str| liars.telling("trap", function);
    let place = liars.site.place("new").display().to_string();
    let until = "2099-01-01T00:00:00Z";

    // Before backup mode, in it, and after it.
    for (function, words) in [
        ("check", "check its configuration"),
        ("resolve", "map the data paths to volumes"),
        ("create", "create the snapshot set"),
        ("get", "tell the state of the snapshot set"),
    ] {
        liars.assert_push_fails("trap", function, 7, words);
    }
    let finished = dies_in("list").run(["reconcile", "--confirm"]);
    assert_error(&finished, 7, "did not answer");
    assert!(finished.stdout.contains("not judged"), "{finished}");
    for (function, words) in [("get", "tell the state of the snapshot set"), ("restore", "restore the snapshot set")] {
        let finished = liars.fetch(&dies_in(function), &first, "new", "new-ts");
        assert_error(&finished, 7, words);
        assert!(!liars.site.place("new").exists(), "{finished}");
    }
    for (function, arguments) in
        [("lock", &["backup-lock", &first, "--until", until][..]), ("unlock", &["backup-lock", &first, "--release"])]
    {
        assert_error(&dies_in(function).run(arguments), 7, &format!("{function} the snapshot set"));
        assert!(liars.site.show(&first)["locked_until"].is_null(), "what failed is not recorded as done");
    }

    // A restore that could not be released is kept in mind, and released later.
    let root = liars.lies("").display().to_string();
    let root = root.trim_end_matches('/');
    let restored = liars.fetch(&liars.telling("elsewhere", root), &first, "new", "new-ts");
    assert!(restored.is_success(), "{restored}");
    assert_error(&dies_in("release").run(["snapshot-release", &place]), 7, "release the restored directories");
    assert_eq!(fs::read_dir(liars.site.place("store/main/restores_001")).unwrap().count(), 1);
    liars.site.stillframe.succeed(["snapshot-release", &place]);

    // A deletion that could not be done is finished later, and the other backup is not touched.
    let finished = dies_in("delete").run(["delete", "target", &first, "--confirm"]);
    assert_error(&finished, 7, "delete the snapshot set");
    assert!(liars.kept().contains(&first), "{finished}");
    liars.site.stillframe.succeed(["reconcile", "--confirm"]);
    assert_eq!(liars.kept(), [second.clone()].into());
    liars.assert_restorable(&second);
}
