//! The daemon, its client and the prefetcher as processes: who is served, who is refused, what happens without a daemon, and what
//! is left behind.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

mod endings;
mod prefetcher;
mod site;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use rustix::process::Signal;

use site::{SOON, Site, make_data_directory, said, segment};

#[test]
fn archives_and_restores_for_its_client_which_says_nothing() {
    let site = Site::new();
    let _daemon = site.daemon();
    let path = site.segment(3);
    let pushed = site.through_daemon(&["wal-push", &path]);
    assert_eq!((pushed.status.code(), said(&pushed)), (Some(0), String::new()));
    assert_eq!(site.archived(), ["000000010000000000000003.zst"]);
    let fetched = site.through_daemon(&["wal-fetch", "000000010000000000000003", "pg_wal/RECOVERYXLOG"]);
    assert_eq!((fetched.status.code(), said(&fetched)), (Some(0), String::new()));
    assert_eq!(std::fs::read(site.path("data/pg_wal/RECOVERYXLOG")).unwrap(), segment(3));
    let absent = site.through_daemon(&["wal-fetch", "000000010000000000000004", "pg_wal/RECOVERYXLOG"]);
    assert_eq!((absent.status.code(), said(&absent)), (Some(1), String::new()));
}

#[test]
fn without_a_daemon_the_plain_command_does_it_and_says_why() {
    let site = Site::new();
    let path = site.segment(3);
    let pushed = site.through_daemon(&["wal-push", &path]);
    assert_eq!(pushed.status.code(), Some(0));
    assert!(said(&pushed).starts_with("warning: the daemon at `"), "{}", said(&pushed));
    let absent = site.through_daemon(&["wal-fetch", "000000010000000000000004", "pg_wal/RECOVERYXLOG"]);
    assert_eq!(absent.status.code(), Some(1));
    std::fs::remove_file(site.path("stillframe.toml")).unwrap();
    let failed = site.through_daemon(&["wal-fetch", "000000010000000000000003", "pg_wal/RECOVERYXLOG"]);
    assert_eq!(failed.status.code(), Some(203), "never a code that PostgreSQL takes for absence");
}

#[test]
fn a_failure_of_the_daemon_is_told_by_the_plain_command() {
    let site = Site::new();
    let mut daemon = site.daemon();
    let path = site.segment(3);
    std::fs::rename(site.path("store"), site.path("gone")).unwrap();
    let pushed = site.through_daemon(&["wal-push", &path]);
    assert!(pushed.status.code() > Some(1), "{pushed:?}");
    assert!(said(&pushed).contains("error: "), "{}", said(&pushed));
    let fetched = site.through_daemon(&["wal-fetch", "000000010000000000000003", "pg_wal/RECOVERYXLOG"]);
    assert!(fetched.status.code() > Some(200), "{fetched:?}");
    std::fs::rename(site.path("gone"), site.path("store")).unwrap();
    assert_eq!(site.through_daemon(&["wal-push", &path]).status.code(), Some(0));
    assert!(daemon.child.try_wait().unwrap().is_none(), "it goes on");
}

#[test]
fn another_servers_directory_is_not_served() {
    let site = Site::new();
    let _daemon = site.daemon();
    site.segment(3);
    make_data_directory(&site.path("clone"));
    let mut clone_content = segment(3);
    clone_content[5000] ^= 1;
    std::fs::write(site.path("clone/pg_wal/000000010000000000000003"), clone_content).unwrap();
    let socket = site.path("socket");
    let mut command = site.command(&["wal-push", "--daemon", socket.to_str().unwrap(), "pg_wal/000000010000000000000003"]);
    let pushed = command.current_dir(site.path("clone")).output().unwrap();
    assert!(said(&pushed).contains("another data directory"), "{}", said(&pushed));
    // The plain command has pushed the clone's file, and not the daemon the one of its own directory.
    assert!(pushed.status.success());
    let path = site.segment(3);
    assert!(!site.through_daemon(&["wal-push", &path]).status.success(), "the archive holds the clone's content");
}

#[test]
fn replaces_the_socket_of_a_killed_daemon_and_not_of_a_live_one() {
    let site = Site::new();
    let mut killed = site.daemon();
    let second = site.command(&["wal-daemon"]).arg(site.path("socket")).output().unwrap();
    assert_eq!(second.status.code(), Some(4), "{second:?}");
    killed.signal(Signal::KILL);
    killed.child.wait().unwrap();
    assert!(site.path("socket").exists());
    let _daemon = site.daemon();
    let path = site.segment(3);
    let pushed = site.through_daemon(&["wal-push", &path]);
    assert_eq!((pushed.status.code(), said(&pushed)), (Some(0), String::new()));
}

#[test]
fn tells_the_service_manager_that_it_lives_and_that_it_ends() {
    let site = Site::new();
    for signal in [Signal::TERM, Signal::INT] {
        let mut daemon = site.daemon();
        daemon.says("WATCHDOG=1");
        daemon.says("WATCHDOG=1");
        daemon.signal(signal);
        daemon.says("STOPPING=1");
        assert!(daemon.child.wait().unwrap().success());
        assert!(!site.path("socket").exists());
    }
}

#[test]
fn a_client_of_walgs_daemon_is_served_in_the_data_directory_and_refused_elsewhere() {
    let site = Site::new();
    let _daemon = site.daemon();
    site.segment(3);
    make_data_directory(&site.path("clone"));
    let push = || {
        let mut stream = UnixStream::connect(site.path("socket")).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.write_all(b"C\0\x08CHECKF\0\x1b000000010000000000000003").unwrap();
        let mut answers = Vec::new();
        stream.read_to_end(&mut answers).unwrap();
        answers
    };
    // No other test of this process depends on where it works.
    for elsewhere in ["clone", "data/pg_wal", ""] {
        std::env::set_current_dir(site.path(elsewhere)).unwrap();
        assert_eq!(push(), b"OE", "{elsewhere}");
    }
    assert!(site.archived().is_empty(), "{:?}", site.archived());
    std::os::unix::fs::symlink(site.path("data"), site.path("link")).unwrap();
    std::env::set_current_dir(site.path("link")).unwrap();
    assert_eq!(push(), b"OO");
    std::env::set_current_dir("/").unwrap();
    assert_eq!(site.archived(), ["000000010000000000000003.zst"]);
}

#[test]
fn what_is_configured_otherwise_is_done_by_the_plain_command() {
    let site = Site::new();
    let _daemon = site.daemon();
    site.configure("new.toml", "new store", "");
    let socket = site.path("socket");
    let push = |config: &str, path: &str, variables: &[(&str, &str)]| {
        let mut command = site.configured(config, &["wal-push", "--daemon", socket.to_str().unwrap(), path]);
        let pushed = command.envs(variables.iter().copied()).output().unwrap();
        assert!(pushed.status.success(), "{pushed:?}");
        said(&pushed).contains("another configuration, environment, host name or program: restart it")
    };
    assert!(push("new.toml", &site.segment(3), &[]), "another file");
    assert_eq!((site.archived(), site.archived_in("new store").len()), (vec![], 1));
    assert!(push("stillframe.toml", &site.segment(4), &[("STILLFRAME_ARCHIVE_COMPRESSION", "lz4")]), "overruled");
    assert_eq!(site.archived(), ["000000010000000000000004.lz4"]);
    assert!(!push("stillframe.toml", &site.segment(5), &[]), "the same");
    site.configure("stillframe.toml", "new store", "");
    assert!(push("stillframe.toml", &site.segment(6), &[]), "changed since");
    assert_eq!((site.archived().len(), site.archived_in("new store").len()), (2, 2));
}

#[test]
fn variables_of_walg_that_name_another_store_are_heeded_by_the_plain_command() {
    let site = Site::new();
    site.configure("b.toml", "b", "");
    std::fs::write(site.path("stillframe.toml"), format!("[cluster]\npgdata = \"{}\"\n", site.path("data").display())).unwrap();
    let prefix = |store: &str| site.path(store).join("main").into_os_string();
    let _daemon = site.daemon_with(&[("WALG_FILE_PREFIX", &prefix("store")), ("PGDATA", "/other".as_ref())]);
    let socket = site.path("socket");
    let push = |path: &str, store: &str| {
        let mut command = site.command(&["wal-push", "--daemon", socket.to_str().unwrap(), path]);
        // PostgreSQL gives these to what it starts, and a service manager does not.
        command.env("WALG_FILE_PREFIX", prefix(store)).env("PGSYSCONFDIR", "/etc").env("PG_OOM_ADJUST_VALUE", "0");
        let pushed = command.output().unwrap();
        assert!(pushed.status.success(), "{pushed:?}");
        said(&pushed).contains("restart it")
    };
    assert!(push(&site.segment(3), "b"), "it names another store");
    assert_eq!((site.archived().len(), site.archived_in("b").len()), (0, 1));
    assert!(!push(&site.segment(4), "store"), "the same");
    assert_eq!((site.archived().len(), site.archived_in("b").len()), (1, 1));
}

#[test]
fn who_restores_needs_no_file_of_recipients_and_nobody_archives_without_it() {
    let site = Site::new();
    assert!(site.run(&["wal-push", &site.segment(3)]).status.success());
    site.configure("stillframe.toml", "store", "[archive]\nrecipients_file = \"/nowhere/recipients\"\n");
    let _daemon = site.daemon();
    let socket = site.path("socket");
    for through in [&[][..], &["--daemon", socket.to_str().unwrap()]] {
        let run = |command: &str, rest: &[&str]| site.run(&[&[command], through, rest].concat());
        let fetched = run("wal-fetch", &["000000010000000000000003", "pg_wal/RECOVERYXLOG"]);
        assert_eq!((fetched.status.code(), said(&fetched)), (Some(0), String::new()));
        let pushed = run("wal-push", &[&site.segment(4)]);
        assert_eq!(pushed.status.code(), Some(3), "{pushed:?}");
        assert!(said(&pushed).contains("/nowhere/recipients"), "{}", said(&pushed));
    }
    assert_eq!(site.archived().len(), 1);
}

#[test]
fn a_file_of_recipients_counts_as_it_is_and_not_as_it_was_when_the_daemon_began() {
    const RECIPIENTS: [&str; 2] = [
        "age1un06tuec6aahgpjgdkqc6yytcmr7hadynymyp7drq0x2x4dlqytqz2lncl",
        "age1m3ukxz4u3hj4hv2whuynlsj5t7pu29rk6f9rh3frq0a3554lruhqrm794s",
    ];
    let site = Site::new();
    let file = site.path("recipients");
    site.configure("stillframe.toml", "store", &format!("[archive]\nrecipients_file = \"{}\"\n", file.display()));
    std::fs::write(&file, RECIPIENTS[0]).unwrap();
    let _daemon = site.daemon();
    let push = |number| {
        let path = site.segment(number);
        site.through_daemon(&["wal-push", &path])
    };
    for (number, text) in [(3, RECIPIENTS[0].to_owned()), (4, RECIPIENTS.join("\n"))] {
        std::fs::write(&file, text).unwrap();
        let pushed = push(number);
        assert_eq!((pushed.status.code(), said(&pushed)), (Some(0), String::new()), "the daemon does it");
    }
    let recipients = site.archived().into_iter().map(|name| {
        let object = std::fs::read(site.path("store/main/wal_005").join(name)).unwrap();
        String::from_utf8_lossy(&object).matches("-> X25519 ").count()
    });
    assert_eq!(recipients.collect::<Vec<_>>(), [1, 2]);
    std::fs::write(&file, "").unwrap();
    let pushed = push(5);
    assert_eq!(pushed.status.code(), Some(3), "{pushed:?}");
    assert_eq!(site.archived().len(), 2, "nothing is archived for nobody, and nothing in the clear");
}
