//! What the failures of programs mean. The texts were printed by lvm2 2.03.16, coreutils 9.1 and sudo.

use stillframe_sdk::Error;
use stillframe_sdk::command::{CommandError, ExitStatus, Output};
use stillframe_sdk::testing::FakeHost;

use super::fake::ended;
use crate::program::run;

fn failing(code: i32, stderr: &'static str) -> Error {
    let host = FakeHost::new();
    host.on_command(move |_| Ok(ended(code, "", stderr)));
    run(&host, "lvcreate", &[]).unwrap_err()
}

#[test]
fn the_words_of_a_program_decide_the_error() {
    let is = |error: &Error, name: &str| format!("{error:?}").contains(name);
    for (code, stderr, name) in [
        (5, "  Volume group \"nope\" not found\n  Cannot process volume group nope", "volume_groups"),
        (5, "  Logical Volume \"x\" already exists in volume group \"vg-a\"", "Conflict"),
        (5, "  Logical volume vg-a/x contains a filesystem in use.", "InUse"),
        (5, "  Logical volume vg-a/x in use.", "InUse"),
        (5, "  Volume group \"vg-a\" has insufficient free space (12 extents): 20 required.", "Exhausted"),
        (
            5,
            "  WARNING: Thin pool vg1/p is out of data space.\n  Cannot create new thin volume, free space in thin pool vg1/p reached threshold.",
            "Exhausted",
        ),
        (1, "dd: error writing '/dev/vg-a/x': No space left on device", "Exhausted"),
        (
            5,
            "  WARNING: Running as a non-root user. Functionality may be unavailable.\n  /run/lock/lvm: mkdir failed: Permission denied",
            "Denied",
        ),
        (1, "sudo: a password is required", "Denied"),
        (5, "  Can't get lock for vg-a", "Busy"),
        (5, "  Cannot access VG vg1 due to failed lock.", "Busy"),
        (5, "  Cannot access VG vg1 with system ID other with unknown local system ID.", "volume_groups"),
        (5, "  Volume group vg1 is exported", "volume_groups"),
        (
            3,
            "  Names including \"_tdata\" are reserved. Please choose a different LV name.\n  Run `lvcreate --help' for more information.",
            "Unsupported",
        ),
        (5, "  Snapshot origin LV nothing not found in Volume group vg-a.", "Transient"),
        (5, "  Failed to find logical volume \"vg-a/x\"", "Transient"),
        (1, "dd: error reading '/dev/vg-a/x': Input/output error", "Transient"),
    ] {
        let error = failing(code, stderr);
        assert!(is(&error, name), "{stderr}: {error:?}");
        assert!(!matches!(error, Error::NotFound(_)));
    }
}

#[test]
fn an_error_tells_what_was_said_without_the_usual_warnings() {
    let stderr = "File descriptor 7 (/dev/null) leaked on lvcreate invocation.\n  WARNING: You have not turned on protection.\n  It failed.\n";
    assert_eq!(failing(5, stderr), Error::Transient("`lvcreate` failed with code 5: It failed.".to_owned()));
    assert_eq!(failing(5, ""), Error::Transient("`lvcreate` failed with code 5: it says nothing".to_owned()));
}

#[test]
fn what_never_ran_and_what_was_killed_is_told() {
    let host = FakeHost::new();
    assert!(matches!(run(&host, "lvs", &[]), Err(Error::Denied(_))));
    host.on_command(|_| Err(CommandError::NotInstalled("/usr/sbin/lvs".to_owned())));
    assert!(matches!(run(&host, "lvs", &[]), Err(Error::Unsupported(text)) if text.contains("/usr/sbin/lvs")));
    host.on_command(|_| {
        Ok(Output { status: ExitStatus::Signal(9), stdout: String::new(), stderr: String::new(), truncated: false })
    });
    assert!(matches!(run(&host, "lvs", &[]), Err(Error::Transient(text)) if text.contains("signal 9")));
}
