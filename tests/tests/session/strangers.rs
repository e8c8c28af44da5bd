//! Sessions and other users of the machine.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use stillframe_tests::set_mode;

use crate::{begin, end, held, site};

#[test]
fn nobody_else_can_look_into_the_sessions() {
    let site = site();
    let id = begin(&site, &[]);
    let directory = site.place("sessions");
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let modes: BTreeSet<u32> = fs::read_dir(&directory).unwrap().map(|entry| mode(&entry.unwrap().path())).collect();
    assert_eq!(modes, [0o600].into(), "record, lock, socket and log");
    set_mode(&directory, 0o755);
    let refused = end(&site, &id, &[]);
    assert!(refused.code() == Some(3) && refused.says("chmod 700"), "{refused}");
    set_mode(&directory, 0o700);
    assert!(end(&site, &id, &[]).is_success());
}

#[test]
fn another_user_is_refused_even_where_the_files_let_him_in() {
    let site = site();
    let id = begin(&site, &[]);
    let socket = site.place("sessions").join(format!("{id}.sock"));
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&site.place("sessions")), mode(&socket)), (0o700, 0o600));
    // Nobody but root can be somebody else; for others, these modes are all there is to look at.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    // root is trusted; so the stranger is `nobody`, let in by hand.
    for path in [site.directory.path(), &site.place("sessions")] {
        set_mode(path, 0o755);
    }
    set_mode(&socket, 0o777);
    let script = "use IO::Socket::UNIX; $SIG{PIPE} = q(IGNORE); my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die qq(cannot connect: $!); \
                  print $s qq(\"abort\"\n); $s->flush; my $n = sysread($s, my $answer, 9); print $n // 0;";
    let mut stranger = Command::new("setpriv");
    stranger.args(["--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/perl", "-e", script]).arg(&socket);
    let asked = stranger.current_dir("/").output().unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    assert_eq!(String::from_utf8_lossy(&asked.stdout), "0", "no answer");
    for path in [site.directory.path(), &site.place("sessions")] {
        set_mode(path, 0o700);
    }
    assert_eq!(held(&site), "1");
    assert!(end(&site, &id, &[]).is_success());
}
