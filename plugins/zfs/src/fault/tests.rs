//! What real messages mean.

use stillframe_sdk::Error;
use stillframe_sdk::command::{CommandError, ExitStatus, Output};

use super::{Failure, Fault};

fn output(status: ExitStatus, stderr: &str) -> Output {
    Output { status, stdout: String::new(), stderr: stderr.to_owned(), truncated: false }
}

fn fault(stderr: &str) -> Fault {
    Failure::of(&output(ExitStatus::Code(1), stderr)).unwrap().fault
}

#[test]
fn the_words_of_zfs_are_understood() {
    for (words, expected) in [
        ("cannot open 'tank/pg': dataset does not exist", Fault::NotFound),
        ("cannot open 'tank/pg@x': dataset does not exist\nusage:\n\tsnapshot [-r] [-o property=value] ...", Fault::NotFound),
        ("cannot create 'tank/x/y': parent does not exist", Fault::NotFound),
        ("could not find any snapshots to destroy; check snapshot names.", Fault::NotFound),
        ("cannot hold snapshot 'tank/pg@x': dataset does not exist", Fault::NotFound),
        ("cannot create snapshot 'tank/pg@x': dataset already exists\nno snapshots were created", Fault::Exists),
        ("cannot create 'tank/x': dataset already exists", Fault::Exists),
        ("cannot destroy snapshot tank/pg@x: dataset is busy", Fault::Busy),
        ("cannot destroy snapshot tank/pg@x: it's being held. Run 'zfs holds -r tank/pg@x' to see holders.", Fault::Busy),
        ("cannot unmount '/run/x': pool or dataset is busy", Fault::Busy),
        ("umount: /run/x: target is busy.\ncannot unmount '/run/x': umount failed", Fault::Busy),
        ("cannot destroy 'tank/pg@x': snapshot has dependent clones\nuse '-R' to destroy ...\ntank/c", Fault::Cloned),
        ("cannot destroy snapshot tank/pg@x: snapshot is cloned", Fault::Cloned),
        ("cannot destroy 'tank/c': filesystem has children\nuse '-r' to destroy ...\ntank/c@y", Fault::HasChildren),
        ("cannot hold snapshot 'tank/pg@x': tag already exists on this dataset", Fault::TagExists),
        ("cannot release hold from snapshot 'tank/pg@x': no such tag on this dataset", Fault::TagAbsent),
        ("cannot mount 'tank/c': filesystem already mounted", Fault::AlreadyMounted),
        ("cannot unmount 'tank/c': not currently mounted", Fault::NotMounted),
        ("cannot create snapshots : permission denied\nno snapshots were created", Fault::Denied),
        ("cannot destroy snapshots: permission denied", Fault::Denied),
        ("cannot hold: permission denied\ncannot hold: permission denied", Fault::Denied),
        ("cannot unmount '/run/x': permission denied", Fault::Denied),
        ("cannot mount 'tank/c': Insufficient privileges", Fault::Denied),
        ("cannot create snapshots : delegated administration is disabled on pool", Fault::Denied),
        ("Permission denied the ZFS utilities must be run as root.", Fault::Denied),
        ("sudo: a password is required", Fault::Denied),
        ("cannot mount 'tank/c': encryption key not loaded", Fault::KeyAbsent),
        ("cannot create snapshot 'tank/pg@x': out of space\nno snapshots were created", Fault::Exhausted),
        ("cannot create 'tank/c': out of space", Fault::Exhausted),
        ("cannot create snapshots : pool is read-only", Fault::ReadOnly),
        ("cannot open 'tank/pg': pool I/O is currently suspended", Fault::Suspended),
        ("cannot open 'tank/pg': I/O error", Fault::Suspended),
        ("The ZFS modules are not loaded.\nTry running '/sbin/modprobe zfs' as root to load them.", Fault::Unsupported),
        (
            "The ZFS modules cannot be auto-loaded.\nTry running '/sbin/modprobe zfs' as root to manually load them.",
            Fault::Unsupported,
        ),
        ("internal error: cannot create snapshots : Value too large", Fault::Other),
        ("", Fault::Other),
    ] {
        assert_eq!(fault(words), expected, "{words}");
    }
}

#[test]
fn the_line_that_says_it_is_told_and_the_advice_to_destroy_more_is_not() {
    let words = "cannot destroy 'tank/pg@x': snapshot has dependent clones\nuse '-R' to destroy the following datasets:\ntank/c\n";
    let failure = Failure::of(&output(ExitStatus::Code(1), words)).unwrap();
    assert_eq!(failure.text, "cannot destroy 'tank/pg@x': snapshot has dependent clones");
    assert!(matches!(Error::from(failure), Error::InUse(_)));
}

#[test]
fn a_success_is_none_and_a_signal_leaves_it_open() {
    assert_eq!(Failure::of(&output(ExitStatus::Code(0), "warning: something")), None);
    let killed = Failure::of(&output(ExitStatus::Signal(9), "")).unwrap();
    assert!(killed.may_have_happened());
    let late: Failure = CommandError::TimedOut.into();
    assert!(late.may_have_happened());
    let refused: Failure = CommandError::Denied("no rule allows it".to_owned()).into();
    assert!(!refused.may_have_happened());
    assert!(matches!(Error::from(refused), Error::Denied(text) if text == "no rule allows it"));
}

#[test]
fn only_absence_is_absence() {
    let gone = "cannot open 'a@x': dataset does not exist\n";
    let absent = |words: &str| Failure::is_only_absence(&output(ExitStatus::Code(1), words));
    assert!(absent(gone) && absent(&format!("{gone}{gone}")) && absent(&format!("{gone}no datasets available\n")));
    assert!(!absent("") && !absent("no datasets available\n"));
    assert!(!absent(&format!("{gone}cannot open 'b@x': I/O error\n")));
}
