//! The daemon, its client and the prefetcher as processes: who is served, who is refused, what happens without a daemon, and what
//! is left behind.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process};

const CLUSTER: u64 = 7_000_000_000_000_000_001;

/// Longest wait for what a test expects to happen.
const SOON: Duration = Duration::from_secs(30);

/// A store, a data directory and a configuration file that names them.
struct Site {
    base: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self { base: tempfile::tempdir().unwrap() };
        make_data_directory(&site.path("data"));
        site.configure("stillframe.toml", "store", "");
        site
    }

    /// Writes a configuration file with this store, which it makes, and with these further lines.
    fn configure(&self, name: &str, store: &str, more: &str) {
        let (data, place) = (self.path("data"), self.path(store));
        let config = format!(
            "[cluster]\nname = \"main\"\npgdata = \"{}\"\n[store]\nurl = \"file://{}\"\n{more}",
            data.display(),
            place.display()
        );
        std::fs::write(self.path(name), config).unwrap();
        if !place.exists() {
            std::fs::create_dir(&place).unwrap();
            let created = self.configured(name, &["store", "create"]).output().unwrap();
            assert!(created.status.success(), "{created:?}");
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.base.path().join(name)
    }

    /// The program in the data directory, as PostgreSQL calls it.
    fn command(&self, arguments: &[&str]) -> Command {
        self.configured("stillframe.toml", arguments)
    }

    fn configured(&self, config: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stillframe"));
        command.env_clear().current_dir(self.path("data")).arg("--config").arg(self.path(config)).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts the daemon, and waits until it says that it is ready.
    fn daemon(&self) -> Daemon {
        self.daemon_with(&[])
    }

    fn daemon_with(&self, variables: &[(&str, &OsStr)]) -> Daemon {
        let address = self.path("notify");
        let _ = std::fs::remove_file(&address);
        let notified = UnixDatagram::bind(&address).unwrap();
        notified.set_read_timeout(Some(SOON)).unwrap();
        let mut command = self.command(&["wal-daemon"]);
        // Much more is said than anybody hears: the tests read little of it.
        command.arg(self.path("socket")).env("NOTIFY_SOCKET", &address).env("WATCHDOG_USEC", "20000");
        command.envs(variables.iter().copied());
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let daemon = Daemon { child, notified };
        daemon.says("READY=1");
        daemon
    }

    fn through_daemon(&self, arguments: &[&str]) -> Output {
        let socket = self.path("socket");
        let (command, rest) = arguments.split_first().unwrap();
        self.run(&[&[*command, "--daemon", socket.to_str().unwrap()], rest].concat())
    }

    /// Writes a segment that waits to be archived.
    fn segment(&self, number: u32) -> String {
        let name = format!("0000000100000000{number:08X}");
        std::fs::write(self.path("data/pg_wal").join(&name), segment(number)).unwrap();
        std::fs::write(self.path("data/pg_wal/archive_status").join(format!("{name}.ready")), b"").unwrap();
        format!("pg_wal/{name}")
    }

    fn archived(&self) -> Vec<String> {
        self.archived_in("store")
    }

    fn archived_in(&self, store: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(store).join("main/wal_005")) else { return Vec::new() };
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

struct Daemon {
    child: Child,
    notified: UnixDatagram,
}

impl Daemon {
    /// Waits until the service manager is told so.
    fn says(&self, expected: &str) {
        let begin = Instant::now();
        let mut message = [0; 256];
        while begin.elapsed() < SOON {
            let length = self.notified.recv(&mut message).unwrap();
            if std::str::from_utf8(&message[..length]).unwrap().lines().any(|line| line == expected) {
                return;
            }
        }
        panic!("the service manager is never told {expected}");
    }

    /// How many sockets it has.
    fn sockets(&self) -> usize {
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        let links = descriptors.filter_map(|descriptor| std::fs::read_link(descriptor.unwrap().path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
    }

    /// Tells it to end, and waits until it has.
    fn ends(mut self) {
        self.signal(Signal::TERM);
        // What it says must not fill the pipe.
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert!(self.child.wait().unwrap().success(), "{log}");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn make_data_directory(path: &Path) {
    std::fs::create_dir_all(path.join("pg_wal/archive_status")).unwrap();
    std::fs::create_dir_all(path.join("global")).unwrap();
    let mut control = vec![0; 8192];
    control[0..8].copy_from_slice(&CLUSTER.to_ne_bytes());
    control[8..12].copy_from_slice(&1300_u32.to_ne_bytes());
    let checksum = crc32c::crc32c(&control[..288]);
    control[288..292].copy_from_slice(&checksum.to_ne_bytes());
    std::fs::write(path.join("global/pg_control"), control).unwrap();
}

fn segment(number: u32) -> Vec<u8> {
    let mut content = vec![u8::try_from(number).unwrap(); 1 << 20];
    content[0..2].copy_from_slice(&0xD110_u16.to_ne_bytes());
    content[2..4].copy_from_slice(&2_u16.to_ne_bytes());
    content[4..8].copy_from_slice(&1_u32.to_ne_bytes());
    content[8..16].copy_from_slice(&(u64::from(number) << 20).to_ne_bytes());
    content[24..32].copy_from_slice(&CLUSTER.to_ne_bytes());
    content[32..36].copy_from_slice(&(1_u32 << 20).to_ne_bytes());
    content
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

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

/// A pair of keys for tests.
const RECIPIENT: &str = "age1g9j5fuzgas3tavdfwqrt4tdhfjncx58dky2qv46x7prxcevtvcfqgpp2mj";
const IDENTITY: &str = "AGE-SECRET-KEY-1Y33XH0TTUSY6SAXJZJ3WPYNYSA6TH4FXZP2VKL497AM48N74U7TSSTZ2JW";

/// A program that prints the private key, and not before it may.
struct HeldKey {
    asked: PathBuf,
    allowed: PathBuf,
}

impl HeldKey {
    /// Archives segment 3 plain and segment 5 encrypted, and configures what decrypts it.
    fn configure(site: &Site) -> Self {
        let (program, asked, allowed) = (site.path("program"), site.path("asked"), site.path("allowed"));
        let (begun, held) = (asked.display(), allowed.display());
        let script = format!("#!/bin/sh\n: > '{begun}'\nuntil test -e '{held}'; do sleep 0.01; done\necho {IDENTITY}\n");
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, Permissions::from_mode(0o700)).unwrap();
        assert!(site.run(&["wal-push", &site.segment(3)]).status.success());
        site.configure("stillframe.toml", "store", &format!("[archive]\nrecipients = [\"{RECIPIENT}\"]\n"));
        assert!(site.run(&["wal-push", &site.segment(5)]).status.success());
        let more = format!("[archive]\nfetch_ahead = 0\nidentity_command = [\"{}\"]\n", program.display());
        site.configure("stillframe.toml", "store", &more);
        Self { asked, allowed }
    }

    /// A fetch of the encrypted segment, when it waits for the key.
    fn waiting_fetch(&self, site: &Site) -> Child {
        let socket = site.path("socket");
        let fetch = ["wal-fetch", "--daemon", socket.to_str().unwrap(), "000000010000000000000005", "pg_wal/RECOVERYXLOG"];
        let waiting = site.command(&fetch).spawn().unwrap();
        let begin = Instant::now();
        while !self.asked.exists() {
            assert!(begin.elapsed() < SOON, "nobody asks for the key");
            std::thread::yield_now();
        }
        waiting
    }

    fn give(&self) {
        std::fs::write(&self.allowed, "").unwrap();
    }
}

#[test]
fn a_fetch_of_a_client_that_has_died_gives_nothing_a_name() {
    let site = Site::new();
    let key = HeldKey::configure(&site);
    let daemon = site.daemon_with(&[("PATH", "/usr/bin:/bin".as_ref())]);
    // The server is stopped at once, and what recovers for it with it.
    let mut died = key.waiting_fetch(&site);
    died.kill().unwrap();
    died.wait().unwrap();
    // It is started again, and asks for another file in the same place.
    let fetched = site.through_daemon(&["wal-fetch", "000000010000000000000003", "pg_wal/RECOVERYXLOG"]);
    assert_eq!((fetched.status.code(), said(&fetched)), (Some(0), String::new()));
    key.give();
    // Its end waits for all that it still works on.
    daemon.ends();
    assert!(std::fs::read(site.path("data/pg_wal/RECOVERYXLOG")).unwrap() == segment(3), "another segment has taken its place");
}

#[test]
fn of_two_fetches_to_one_place_the_later_one_counts() {
    let site = Site::new();
    let key = HeldKey::configure(&site);
    let daemon = site.daemon_with(&[("PATH", "/usr/bin:/bin".as_ref())]);
    let mut earlier = key.waiting_fetch(&site);
    let connected = daemon.sockets();
    let socket = site.path("socket");
    let fetch = ["wal-fetch", "--daemon", socket.to_str().unwrap(), "000000010000000000000003", "pg_wal/RECOVERYXLOG"];
    let mut later = site.command(&fetch).spawn().unwrap();
    let begin = Instant::now();
    while daemon.sockets() <= connected && later.try_wait().unwrap().is_none() {
        assert!(begin.elapsed() < SOON, "it never asks");
    }
    key.give();
    assert!(earlier.wait().unwrap().success() && later.wait().unwrap().success());
    daemon.ends();
    assert!(std::fs::read(site.path("data/pg_wal/RECOVERYXLOG")).unwrap() == segment(3), "the earlier one has taken its place");
}

#[test]
fn a_daemon_that_ends_leaves_no_prefetched_segments_behind() {
    let site = Site::new();
    let spool = site.path("spool");
    site.configure("stillframe.toml", "store", &format!("[archive]\nspool = \"{}\"\n", spool.display()));
    for number in 3..12 {
        assert!(site.run(&["wal-push", &site.segment(number)]).status.success());
    }
    for _ in 0..10 {
        let daemon = site.daemon();
        let fetched = site.through_daemon(&["wal-fetch", "000000010000000000000003", "pg_wal/RECOVERYXLOG"]);
        assert_eq!((fetched.status.code(), said(&fetched)), (Some(0), String::new()));
        let begin = Instant::now();
        while prefetched(&spool).is_empty() {
            assert!(begin.elapsed() < SOON, "nothing is prefetched");
        }
        daemon.ends();
        assert_eq!(prefetched(&spool), Vec::<PathBuf>::new());
    }
}

/// Segments that lie in the spool, or are on their way there.
fn prefetched(spool: &Path) -> Vec<PathBuf> {
    let below = |directory: PathBuf| std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let places = below(spool.to_owned()).flat_map(below);
    let fetched = places.filter(|place| place.file_name().unwrap().to_string_lossy().starts_with("fetched-"));
    fetched.flat_map(below).filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("00000001")).collect()
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

/// The process that fetches ahead for a site; it is not our child.
struct Prefetcher {
    process: PathBuf,
}

impl Prefetcher {
    fn find(site: &Site) -> Self {
        let begin = Instant::now();
        while begin.elapsed() < SOON {
            if let Some(found) = Self::look_for(site) {
                return found;
            }
        }
        panic!("nothing is prefetched");
    }

    fn look_for(site: &Site) -> Option<Self> {
        let config = site.path("stillframe.toml");
        let mut processes = std::fs::read_dir("/proc").unwrap().map(|entry| Self { process: entry.unwrap().path() });
        processes.find(|found| {
            let line = found.command_line();
            line.contains("\0wal-prefetch\0") && line.contains(config.to_str().unwrap())
        })
    }

    /// Empty when it has ended.
    fn command_line(&self) -> String {
        std::fs::read_to_string(self.process.join("cmdline")).unwrap_or_default()
    }

    fn open_files(&self) -> Vec<PathBuf> {
        let descriptors = std::fs::read_dir(self.process.join("fd")).unwrap();
        descriptors.filter_map(|descriptor| std::fs::read_link(descriptor.unwrap().path()).ok()).collect()
    }
}

#[test]
fn the_prefetcher_keeps_nothing_of_the_server_and_ends_with_it() {
    let site = Site::new();
    site.configure("stillframe.toml", "store", &format!("[archive]\nspool = \"{}\"\n", site.path("spool").display()));
    for number in 3..9 {
        assert!(site.run(&["wal-push", &site.segment(number)]).status.success());
    }
    std::fs::write(site.path("data/postmaster.pid"), format!("{}\n", std::process::id())).unwrap();
    std::fs::write(site.path("data/relation"), "").unwrap();
    // As PostgreSQL hands on its files to what it starts, with several under one number or another.
    let files = [(); 3].map(|()| File::open(site.path("data/relation")).unwrap());
    for file in &files {
        fcntl_setfd(file, FdFlags::empty()).unwrap();
    }
    let fetched = site.run(&["wal-fetch", "000000010000000000000003", "pg_wal/RECOVERYXLOG"]);
    drop(files);
    assert!(fetched.status.success(), "{fetched:?}");
    let prefetcher = Prefetcher::find(&site);
    // It has looked for the server before it opens anything in the spool.
    let begin = Instant::now();
    while !prefetcher.open_files().iter().any(|file| file.starts_with(site.path("spool"))) {
        assert!(begin.elapsed() < SOON, "it never works");
    }
    let data = site.path("data").canonicalize().unwrap();
    let kept: Vec<PathBuf> = prefetcher.open_files().into_iter().filter(|file| file.starts_with(&data)).collect();
    assert!(kept.is_empty(), "{kept:?}");
    // Without anybody who takes the segments it would wait much longer.
    let begin = Instant::now();
    std::fs::remove_file(site.path("data/postmaster.pid")).unwrap();
    while !prefetcher.command_line().is_empty() {
        assert!(begin.elapsed() < SOON / 2, "it goes on without its server");
        std::thread::yield_now();
    }
}

#[test]
fn nothing_is_left_to_a_server_that_is_process_1_for_it_would_take_its_death_for_a_crash() {
    let site = Site::new();
    site.configure("stillframe.toml", "store", &format!("[archive]\nspool = \"{}\"\n", site.path("spool").display()));
    for number in 3..6 {
        assert!(site.run(&["wal-push", &site.segment(number)]).status.success());
    }
    std::fs::write(site.path("data/postmaster.pid"), format!("1\n{}\n", site.path("data").display())).unwrap();
    let fetch = ["-v", "wal-fetch", "000000010000000000000003", "pg_wal/RECOVERYXLOG"];
    let fetched = site.run(&fetch);
    assert_eq!(fetched.status.code(), Some(0));
    assert_eq!(said(&fetched).matches("the server is process 1").count(), 1, "{}", said(&fetched));
    assert!(Prefetcher::look_for(&site).is_none());
    std::fs::write(site.path("data/postmaster.pid"), "10\n").unwrap();
    assert!(!said(&site.run(&fetch)).contains("process 1"));
    Prefetcher::find(&site);
    std::fs::remove_file(site.path("data/postmaster.pid")).unwrap();
}

#[test]
fn a_prefetcher_that_fails_ends_without_a_code_and_nobody_takes_it_for_a_push() {
    let site = Site::new();
    let destination = site.path("data/pg_wal/RECOVERYXLOG");
    let destination = destination.to_str().unwrap();
    let good = ["wal-prefetch", "000000010000000000000003", "16777216", destination];
    let code = |config: &str, arguments: &[&str]| site.configured(config, arguments).output().unwrap().status.code();
    assert_eq!(code("absent.toml", &good), Some(0), "no configuration");
    site.configure("gone.toml", "gone", "");
    std::fs::remove_dir_all(site.path("gone")).unwrap();
    assert_eq!(code("gone.toml", &good), Some(0), "no store");
    for bad in [["wal-prefetch", "3", "16777216", destination], ["wal-prefetch", good[1], "17", destination]] {
        assert_eq!(code("stillframe.toml", &bad), Some(0), "{bad:?}");
    }
    assert_eq!(code("stillframe.toml", &[&good[..], &["--of-a-later-version", "x"]].concat()), Some(0));
    assert_eq!(code("stillframe.toml", &["wal-prefetch", &site.segment(3)]), Some(2), "an archive_command");
    assert_eq!(code("stillframe.toml", &["wal-prefetch", good[1], destination]), Some(202), "a restore_command");
}
