//! A store, a data directory and a daemon for them.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub(crate) const CLUSTER: u64 = 7_000_000_000_000_000_001;

/// Longest wait for what a test expects to happen.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A store, a data directory and a configuration file that names them.
pub(crate) struct Site {
    pub(crate) base: tempfile::TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        let site = Self { base: tempfile::tempdir().unwrap() };
        make_data_directory(&site.path("data"));
        site.configure("stillframe.toml", "store", "");
        site
    }

    /// Writes a configuration file with this store, which it makes, and with these further lines.
    pub(crate) fn configure(&self, name: &str, store: &str, more: &str) {
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

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.base.path().join(name)
    }

    /// The program in the data directory, as PostgreSQL calls it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.configured("stillframe.toml", arguments)
    }

    pub(crate) fn configured(&self, config: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stillframe"));
        command.env_clear().current_dir(self.path("data")).arg("--config").arg(self.path(config)).args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts the daemon, and waits until it says that it is ready.
    pub(crate) fn daemon(&self) -> Daemon {
        self.daemon_with(&[])
    }

    pub(crate) fn daemon_with(&self, variables: &[(&str, &OsStr)]) -> Daemon {
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

    pub(crate) fn through_daemon(&self, arguments: &[&str]) -> Output {
        let socket = self.path("socket");
        let (command, rest) = arguments.split_first().unwrap();
        self.run(&[&[*command, "--daemon", socket.to_str().unwrap()], rest].concat())
    }

    /// Writes a segment that waits to be archived.
    pub(crate) fn segment(&self, number: u32) -> String {
        let name = format!("0000000100000000{number:08X}");
        std::fs::write(self.path("data/pg_wal").join(&name), segment(number)).unwrap();
        std::fs::write(self.path("data/pg_wal/archive_status").join(format!("{name}.ready")), b"").unwrap();
        format!("pg_wal/{name}")
    }

    pub(crate) fn archived(&self) -> Vec<String> {
        self.archived_in("store")
    }

    pub(crate) fn archived_in(&self, store: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(store).join("main/wal_005")) else { return Vec::new() };
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

pub(crate) struct Daemon {
    pub(crate) child: Child,
    pub(crate) notified: UnixDatagram,
}

impl Daemon {
    /// Waits until the service manager is told so.
    pub(crate) fn says(&self, expected: &str) {
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
    pub(crate) fn sockets(&self) -> usize {
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        let links = descriptors.filter_map(|descriptor| std::fs::read_link(descriptor.unwrap().path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
    }

    /// Tells it to end, and waits until it has.
    pub(crate) fn ends(mut self) {
        self.signal(Signal::TERM);
        // What it says must not fill the pipe.
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert!(self.child.wait().unwrap().success(), "{log}");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn make_data_directory(path: &Path) {
    std::fs::create_dir_all(path.join("pg_wal/archive_status")).unwrap();
    std::fs::create_dir_all(path.join("global")).unwrap();
    let mut control = vec![0; 8192];
    control[0..8].copy_from_slice(&CLUSTER.to_ne_bytes());
    control[8..12].copy_from_slice(&1300_u32.to_ne_bytes());
    let checksum = crc32c::crc32c(&control[..288]);
    control[288..292].copy_from_slice(&checksum.to_ne_bytes());
    std::fs::write(path.join("global/pg_control"), control).unwrap();
}

pub(crate) fn segment(number: u32) -> Vec<u8> {
    let mut content = vec![u8::try_from(number).unwrap(); 1 << 20];
    content[0..2].copy_from_slice(&0xD110_u16.to_ne_bytes());
    content[2..4].copy_from_slice(&2_u16.to_ne_bytes());
    content[4..8].copy_from_slice(&1_u32.to_ne_bytes());
    content[8..16].copy_from_slice(&(u64::from(number) << 20).to_ne_bytes());
    content[24..32].copy_from_slice(&CLUSTER.to_ne_bytes());
    content[32..36].copy_from_slice(&(1_u32 << 20).to_ne_bytes());
    content
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
