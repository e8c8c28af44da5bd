//! One running server process: starts it, waits for it, ends it.

use std::fs::{self, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::{DEADLINE, POLL_INTERVAL};
use crate::children::{bound_command, spawn};
use crate::server_binaries::note_start;
use crate::{Account, Postgres, is_alive};

/// Below the ports that the kernel gives to outgoing connections, so that none of these gets in between.
const PORTS: std::ops::Range<u16> = 15_000..32_000;
/// Another test process can take a port between the look and the start.
const PORT_ATTEMPTS: usize = 5;
/// What the server logs about a port that is taken.
const PORT_TAKEN: &str = "could not create any TCP/IP sockets";

/// How a server is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Ends the sessions and writes a checkpoint.
    Fast,
    /// Ends at once; the next start recovers from the WAL.
    Immediate,
}

/// A server that runs.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
}

impl Server {
    /// Starts a server and waits until it takes connections; fails with the log of one that ended.
    pub(super) fn start(
        postgres: &Postgres,
        data_directory: &Path,
        socket_directory: &Path,
        log_file: &Path,
        wanted_port: u16,
        variables: &[(String, String)],
    ) -> Result<(Self, u16), String> {
        let mut port = wanted_port;
        for _ in 1..PORT_ATTEMPTS {
            match Self::start_on(postgres, data_directory, socket_directory, log_file, port, variables) {
                Err(log) if log.contains(PORT_TAKEN) => port = free_port(),
                other => return other.map(|server| (server, port)),
            }
        }
        Self::start_on(postgres, data_directory, socket_directory, log_file, port, variables).map(|server| (server, port))
    }

    fn start_on(
        postgres: &Postgres,
        data_directory: &Path,
        socket_directory: &Path,
        log_file: &Path,
        port: u16,
        variables: &[(String, String)],
    ) -> Result<Self, String> {
        let log = OpenOptions::new().create(true).append(true).open(log_file).expect("the scratch directory is ours");
        let logged_before = log.metadata().map_or(0, |metadata| metadata.len());
        // QUIT makes the server end its children and itself at once; after KILL they would linger for a moment.
        let mut command = bound_command(postgres.program("postgres"), "QUIT");
        // On the command line, so that a restored copy of another cluster gets them as well.
        command.arg("-D").arg(data_directory).arg("-p").arg(port.to_string()).arg("-k").arg(socket_directory);
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "logging_collector=off", "-c", "log_destination=stderr"]);
        // Shared memory in files of the data directory, so that a killed server leaves nothing elsewhere.
        command.args(["-c", "dynamic_shared_memory_type=mmap"]);
        // What its commands find in the environment must not depend on who runs the tests, nor differ from what a daemon finds.
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("LC_ALL", "C");
        command.current_dir("/").stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a file can be shared")).stderr(log);
        Account::unprivileged().run_as(&mut command).envs(variables.iter().map(|(name, value)| (name, value)));
        let mut server = Self { child: spawn(command) };
        if server.becomes_ready(data_directory) {
            note_start(postgres.major);
            return Ok(server);
        }
        let log = fs::read(log_file).unwrap_or_default();
        let since_start = log.get(usize::try_from(logged_before).unwrap_or(0)..).unwrap_or_default();
        Err(String::from_utf8_lossy(since_start).into_owned())
    }

    /// Waits until the server takes connections (as a primary or a hot standby); false when it ended.
    fn becomes_ready(&mut self, data_directory: &Path) -> bool {
        let deadline = Instant::now() + DEADLINE;
        let own_pid = self.pid().to_string();
        while Instant::now() < deadline {
            if self.child.try_wait().expect("it is our child").is_some() {
                return false;
            }
            // The file of another server may lie there: a restored copy, a crash.
            let pid_file = fs::read_to_string(data_directory.join("postmaster.pid")).unwrap_or_default();
            let mut lines = pid_file.lines();
            let is_own = lines.next() == Some(own_pid.as_str());
            if is_own && lines.nth(6).is_some_and(|status| matches!(status.trim(), "ready" | "standby")) {
                return true;
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        self.signal(Signal::QUIT);
        let _exit = self.child.wait();
        false
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn reload(&self) {
        self.signal(Signal::HUP);
    }

    pub(super) fn stop(mut self, mode: StopMode) {
        self.signal(match mode {
            StopMode::Fast => Signal::INT,
            StopMode::Immediate => Signal::QUIT,
        });
        let deadline = Instant::now() + DEADLINE;
        while self.child.try_wait().expect("it is our child").is_none() {
            if Instant::now() > deadline {
                self.kill();
                return;
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Kills the server, and waits until its children have noticed: they hold the shared memory that a new start needs.
    pub(super) fn kill(mut self) {
        let pid = self.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        self.signal(Signal::KILL);
        let _exit = self.child.wait();
        let deadline = Instant::now() + DEADLINE;
        for child in children.split_whitespace() {
            let child = child.parse().expect("the kernel lists numbers");
            while is_alive(child) && Instant::now() < deadline {
                std::thread::sleep(POLL_INTERVAL);
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a child has a process id");
        // It may have ended by itself.
        let _ended = kill_process(pid, signal);
    }
}

/// A port that nobody listens on now.
pub(crate) fn free_port() -> u16 {
    let span = u64::from(PORTS.end - PORTS.start);
    // Random keys for each process: two test processes look in different orders.
    let keys = RandomState::new();
    for attempt in 0..span {
        let offset = u16::try_from(keys.hash_one(attempt) % span).expect("the span is below 65536");
        if TcpListener::bind(("127.0.0.1", PORTS.start + offset)).is_ok() {
            return PORTS.start + offset;
        }
    }
    panic!("no port of {PORTS:?} is free");
}
