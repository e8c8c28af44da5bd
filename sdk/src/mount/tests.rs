use std::cell::RefCell;
use std::rc::Rc;

use super::{FakeMounts, Mounted, all, attach, below, detach, remove_directory};
use crate::Error;
use crate::command::{CommandError, ExitStatus, Output};
use crate::testing::{FakeHost, Kill};

const POINT: &str = "/run/stillframe/mnt/token/0";

fn host() -> (FakeHost, Rc<RefCell<FakeMounts>>) {
    let host = FakeHost::new();
    let mounts = Rc::new(RefCell::new(FakeMounts::default()));
    let table = Rc::clone(&mounts);
    host.on_command(move |invocation| {
        table.borrow_mut().answer(invocation).unwrap_or_else(|| Err(CommandError::Denied(invocation.program.clone())))
    });
    (host, mounts)
}

fn answering(code: i32, stdout: &str, stderr: &str) -> FakeHost {
    let host = FakeHost::new();
    let (stdout, stderr) = (stdout.to_owned(), stderr.to_owned());
    let mut reports = 0;
    host.on_command(move |invocation| {
        let report = invocation.program == "findmnt" && code != 0 && reports == 0;
        reports += 1;
        Ok(if report {
            Output {
                status: ExitStatus::Code(0),
                stdout: r#"{"filesystems":[{"target":"/run/stillframe/mnt/token/0","source":"/dev/x","fstype":"ext4"}]}"#
                    .to_owned(),
                stderr: String::new(),
                truncated: false,
            }
        } else {
            Output { status: ExitStatus::Code(code), stdout: stdout.clone(), stderr: stderr.clone(), truncated: false }
        })
    });
    host
}

#[test]
fn a_device_is_mounted_once_and_its_point_removed_after() {
    let (host, mounts) = host();
    attach(&host, "/dev/vg0/clone", "ext4", POINT).unwrap();
    attach(&host, "/dev/vg0/clone", "ext4", POINT).unwrap();
    assert_eq!(mounts.borrow().mounts.len(), 1);
    assert_eq!(host.calls()[1], format!("command.run mount -text4 -orw,nosuid,nodev,X-mount.mkdir=0755 /dev/vg0/clone {POINT}"));
    detach(&host, POINT).unwrap();
    detach(&host, POINT).unwrap();
    assert!(mounts.borrow().mounts.is_empty() && !mounts.borrow().directories.contains(POINT));
    remove_directory(&host, "/run/stillframe/mnt/token").unwrap();
    remove_directory(&host, "/run/stillframe/mnt/token").unwrap();
    assert!(!mounts.borrow().directories.contains("/run/stillframe/mnt/token"));
}

#[test]
fn an_xfs_may_share_its_uuid_with_the_origin() {
    let (host, _) = host();
    attach(&host, "/dev/nvme1n1", "xfs", POINT).unwrap();
    assert!(host.calls()[1].contains(" -txfs -orw,nosuid,nodev,X-mount.mkdir=0755,nouuid /dev/nvme1n1 "), "{:?}", host.calls());
    assert!(matches!(attach(&host, "/dev/nvme2n1", "vfat", "/x"), Err(Error::Unsupported(_))));
}

#[test]
fn another_device_at_the_point_is_a_conflict_and_is_left_alone() {
    let (host, mounts) = host();
    attach(&host, "/dev/vg0/other", "ext4", POINT).unwrap();
    assert!(matches!(attach(&host, "/dev/vg0/clone", "ext4", POINT), Err(Error::Conflict(_))));
    assert!(mounts.borrow().has_device("/dev/vg0/other"));
}

#[test]
fn a_busy_point_stays_and_is_told_as_in_use() {
    let (host, mounts) = host();
    attach(&host, "/dev/vg0/clone", "ext4", POINT).unwrap();
    mounts.borrow_mut().busy.insert(POINT.to_owned());
    assert!(matches!(detach(&host, POINT), Err(Error::InUse(_))));
    assert_eq!(mounts.borrow().mounts.len(), 1);
}

#[test]
fn only_points_strictly_below_the_root_are_told() {
    let (host, mounts) = host();
    for point in ["/run/stillframe/mnt", "/run/stillframe/mnt2/a", "/run/stillframe/mnt/a", "/run/stillframe/mnt/a/b"] {
        let (point, source, fs_type) = (point.to_owned(), "/dev/x".to_owned(), "ext4".to_owned());
        mounts.borrow_mut().mounts.push(Mounted { point, source, fs_type });
    }
    let points = |root: &str| below(&host, root).unwrap().into_iter().map(|mounted| mounted.point).collect::<Vec<_>>();
    assert_eq!(points("/run/stillframe/mnt"), ["/run/stillframe/mnt/a", "/run/stillframe/mnt/a/b"]);
    assert_eq!(points("/run/stillframe/mnt/"), points("/run/stillframe/mnt"));
    assert_eq!(all(&host).unwrap().len(), 6);
}

#[test]
fn every_kill_is_made_good_by_the_next_call() {
    for effect in 0..4 {
        for kill in [Kill::Before, Kill::After] {
            let (host, mounts) = host();
            host.kill_at(effect, kill, |host| attach(host, "/dev/vg0/clone", "ext4", POINT));
            attach(&host, "/dev/vg0/clone", "ext4", POINT).unwrap();
            assert_eq!(mounts.borrow().mounts.len(), 1, "{effect} {kill:?}");
            host.kill_at(effect, kill, |host| detach(host, POINT));
            detach(&host, POINT).unwrap();
            assert!(mounts.borrow().mounts.is_empty() && !mounts.borrow().directories.contains(POINT), "{effect} {kill:?}");
        }
    }
}

#[test]
fn what_the_programs_say_decides_the_error() {
    let busy = answering(32, "", "umount: /x: target is busy.");
    assert!(matches!(detach(&busy, POINT), Err(Error::InUse(_))));
    let denied = answering(32, "", "umount: /x: must be superuser to unmount.");
    assert!(matches!(detach(&denied, POINT), Err(Error::Denied(_))));
    let sudo = answering(1, "", "sudo: a password is required");
    assert!(matches!(detach(&sudo, POINT), Err(Error::Denied(_))));
    let not_empty = answering(1, "", "rmdir: failed to remove '/x': Directory not empty");
    assert!(matches!(remove_directory(&not_empty, "/x"), Err(Error::Conflict(_))));
    let damaged = answering(32, "", "mount: /x: wrong fs type, bad option, bad superblock on /dev/y.");
    assert!(matches!(attach(&damaged, "/dev/y", "ext4", "/y"), Err(Error::Internal(_))));
}

#[test]
fn a_report_that_cannot_be_read_is_never_taken_for_an_empty_one() {
    for report in ["", "{}", r#"{"filesystems":[{"source":"/dev/x"}]}"#] {
        assert!(matches!(detach(&answering(0, report, ""), POINT), Err(Error::Internal(_))), "{report}");
    }
    let cut = FakeHost::new();
    cut.on_command(|_| {
        let stdout = r#"{"filesystems":[]}"#.to_owned();
        Ok(Output { status: ExitStatus::Code(0), stdout, stderr: String::new(), truncated: true })
    });
    assert!(matches!(detach(&cut, POINT), Err(Error::Internal(_))));
    assert!(matches!(attach(&cut, "/dev/x", "ext4", POINT), Err(Error::Internal(_))));
}

#[test]
fn a_point_behind_a_symbolic_link_is_refused_and_nothing_stays_mounted() {
    let host = FakeHost::new();
    let mounts = Rc::new(RefCell::new(FakeMounts::default()));
    let table = Rc::clone(&mounts);
    // `/run/link` leads to `/run/real`, and the kernel knows the latter.
    host.on_command(move |invocation| {
        let mut followed = invocation.clone();
        for arg in &mut followed.args {
            *arg = arg.replacen("/run/link", "/run/real", 1);
        }
        table.borrow_mut().answer(&followed).unwrap_or_else(|| Err(CommandError::Denied(followed.program.clone())))
    });
    let refused = attach(&host, "/dev/vg0/clone", "ext4", "/run/link/token/0");
    assert!(matches!(&refused, Err(Error::Invalid(argument)) if argument.message.contains("symbolic link")), "{refused:?}");
    assert!(mounts.borrow().mounts.is_empty() && !mounts.borrow().directories.contains("/run/real/token/0"));
    attach(&host, "/dev/vg0/clone", "ext4", "/run/real/token/0").unwrap();
}
