//! Commands that take the name of a backup take `LATEST` as well.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use stillframe_tests::{Site, tested_major};

#[test]
fn latest_is_the_newest_backup_wherever_one_is_shown_marked_or_locked() {
    let site = Site::start(tested_major());
    for command in [&["backup-show", "LATEST"][..], &["backup-mark", "LATEST"], &["backup-lock", "LATEST", "--release"]] {
        let refused = site.stillframe.run(command);
        assert!(refused.code() == Some(4) && refused.stderr.contains("stillframe snapshot-push"), "{refused}");
    }
    let [older, newer] = [site.backup(&[]), site.backup(&[])];
    assert_eq!(site.show("LATEST")["backup_name"], *newer);
    let marked = site.stillframe.succeed(["--json", "backup-mark", "LATEST"]).json();
    assert_eq!((&marked["backup_name"], &marked["is_permanent"]), (&newer.clone().into(), &true.into()));
    assert_eq!([&older, &newer].map(|name| site.show(name)["is_permanent"].clone()), [false.into(), serde_json::Value::from(true)]);
    // The provider of this site has no locks, which it is asked only when the backup was found.
    let unlocked = site.stillframe.run(["backup-lock", "LATEST", "--until", "2099-01-01"]);
    assert!(unlocked.code() == Some(4) && unlocked.stderr.contains("cannot lock"), "{unlocked}");
    site.stillframe.succeed(["backup-mark", "LATEST", "--impermanent"]);
    site.stillframe.succeed(["delete", "target", &newer, "--confirm"]);
    assert_eq!(site.show("LATEST")["backup_name"], *older);
}
