//! Guests: a kernel of its own that has what the kernel of the machine lacks, with the machine's file system as its root.
//!
//! A test that needs one runs once more inside of it: the guest starts the same executable with the name of the test. All that it
//! writes goes into its memory, over the machine's file system. A guest that dies, takes too long or runs no test is a failure.

mod emulator;
mod script;
mod user_mode_linux;

use std::env;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use stillframe_tests::{Cluster, ConfigFile, ScratchDirectory, Stillframe, compiled_cache, spawn};

/// Tells the second run of the test where it is.
const VARIABLE: &str = "STILLFRAME_GUEST";
/// Tells it whether the power was cut before.
const BOOT: &str = "STILLFRAME_GUEST_BOOT";
/// What the guest prints before the exit code of the test.
const LAST_WORDS: &str = "stillframe-guest: the test ended with";
/// What it prints to have its power cut.
const CUT: &str = "stillframe-guest: cut the power";
/// Longest life of a guest: the slowest takes a third of it on a machine with two cores that does something else as well.
const DEADLINE: Duration = Duration::from_mins(15);
/// Version of the servers in all guests: the one that Debian 12 has, with pgbench.
const MAJOR: u32 = 15;

/// How a guest is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The kernel is a process of the machine: as fast as the machine, with one processor. Has every module of device mapper.
    UserModeLinux,
    /// The kernel of the distribution on an emulated processor: ten times slower. Has OpenZFS.
    Emulator,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::UserModeLinux => "user-mode-linux",
            Self::Emulator => "emulator",
        }
    }

    /// How providers are run there. Compiling a component on the emulated processor takes minutes; what is compiled for the
    /// interpreter serves on every processor, so that it can be done before.
    fn engine(self) -> &'static str {
        match self {
            Self::UserModeLinux => "native",
            Self::Emulator => "pulley",
        }
    }
}

/// Which start of a guest on its disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Boot {
    /// It ends by itself.
    Only,
    /// It ends by a power cut.
    Cut,
    /// After that.
    Again,
}

/// A guest in which a test runs.
#[derive(Debug)]
#[must_use]
pub struct Guest {
    kind: Kind,
    disks_mib: Vec<u64>,
    providers: ConfigFile,
    names: Vec<String>,
}

impl Guest {
    /// User-mode Linux: for LVM.
    pub fn user_mode_linux() -> Self {
        Self::of(Kind::UserModeLinux)
    }

    /// An emulated machine: for ZFS.
    pub fn emulator() -> Self {
        Self::of(Kind::Emulator)
    }

    fn of(kind: Kind) -> Self {
        Self { kind, disks_mib: Vec::new(), providers: ConfigFile::new(), names: Vec::new() }
    }

    /// Adds an empty disk.
    pub fn disk_mib(mut self, size_mib: u64) -> Self {
        self.disks_mib.push(size_mib);
        self
    }

    /// Compiles the component of a provider before the guest starts; the configuration is the one that it needs to be described.
    pub fn provider(mut self, name: &str, configure: impl FnOnce(ConfigFile) -> ConfigFile) -> Self {
        self.providers = configure(self.providers);
        self.names.push(name.to_owned());
        self
    }

    /// Runs the test inside, with the paths of the disks. The name is that of the calling test, and must be right: this is checked.
    #[track_caller]
    pub fn run(self, test: &str, body: impl FnOnce(&[PathBuf])) {
        if is_guest() {
            return body(&disks_inside());
        }
        self.prepared(|scripts, images| self.boot(Boot::Only, scripts, test, images));
    }

    /// Runs the first part of a test, cuts the power while everything that it gives is alive, and runs the second part in a new guest
    /// with the same disks; else as [`Self::run`].
    #[track_caller]
    pub fn run_through_a_power_cut<Alive>(
        self,
        test: &str,
        before: impl FnOnce(&[PathBuf]) -> Alive,
        after: impl FnOnce(&[PathBuf]),
    ) {
        if !is_guest() {
            self.prepared(|scripts, images| {
                self.boot(Boot::Cut, scripts, test, images);
                self.boot(Boot::Again, scripts, test, images);
            });
        } else if env::var(BOOT).is_ok_and(|boot| boot == Boot::Again.name()) {
            after(&disks_inside());
        } else {
            let _alive = before(&disks_inside());
            cut_power();
        }
    }

    /// Does everything that is slow inside, and lends the disks.
    fn prepared(&self, run: impl FnOnce(&ScratchDirectory, &[PathBuf])) {
        self.compile_components();
        // The template of the data directory: `initdb` takes half a minute on an emulated processor.
        drop(Cluster::builder(MAJOR).create());
        let scratch = ScratchDirectory::create();
        // Memory lies below `/dev`, where a guest has devices of its own.
        let scripts = ScratchDirectory::create_on_disk();
        run(&scripts, &images(&scratch, &self.disks_mib));
    }

    #[track_caller]
    fn boot(&self, boot: Boot, scripts: &ScratchDirectory, test: &str, images: &[PathBuf]) {
        let command = match self.kind {
            Kind::UserModeLinux => user_mode_linux::command(scripts, test, boot, images),
            Kind::Emulator => emulator::command(scripts, test, boot, images),
        };
        let transcript = Machine::boot(command).transcript(boot);
        let has_succeeded = match boot {
            Boot::Cut => transcript.contains(CUT),
            // No test of that name would be a success as well.
            Boot::Only | Boot::Again => {
                transcript.contains(&format!("{LAST_WORDS} 0")) && transcript.contains("test result: ok. 1 passed")
            }
        };
        assert!(has_succeeded, "`{test}` in a guest, {}: it failed; what it said is above", self.kind.name());
    }

    fn compile_components(&self) {
        let scratch = ScratchDirectory::create();
        let config = self.providers.clone().value("runtime", "engine", self.kind.engine());
        let config = config.value("runtime", "cache", compiled_cache().display().to_string());
        let config = config.value("cluster", "name", "none").store_directory(&scratch.join("store"));
        let stillframe = Stillframe::new(config.write(scratch.path()));
        for name in &self.names {
            stillframe.succeed(["provider", "inspect", name]);
        }
    }
}

impl Boot {
    fn name(self) -> &'static str {
        match self {
            Self::Only => "only",
            Self::Cut => "cut",
            Self::Again => "again",
        }
    }
}

/// Ends the guest at once: nothing is stopped before, and nothing is written any more.
fn cut_power() -> ! {
    eprintln!("{CUT}");
    loop {
        std::thread::park();
    }
}

fn disks_inside() -> Vec<PathBuf> {
    env::var("STILLFRAME_GUEST_DISKS").unwrap().split_whitespace().map(PathBuf::from).collect()
}

/// Whether this is the run inside.
pub fn is_guest() -> bool {
    env::var_os(VARIABLE).is_some()
}

/// How providers must be run here.
pub fn engine() -> &'static str {
    if is_emulated() { Kind::Emulator.engine() } else { Kind::UserModeLinux.engine() }
}

/// Whether the processor is an emulated one.
pub(crate) fn is_emulated() -> bool {
    env::var(VARIABLE).is_ok_and(|kind| kind == Kind::Emulator.name())
}

/// A guest that runs; dropped, it is killed.
struct Machine {
    process: Child,
    lines: Receiver<String>,
}

impl Machine {
    fn boot(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut process = spawn(command);
        let console = process.stdout.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            // The console of a kernel that dies may write anything.
            for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                    return;
                }
            }
        });
        Self { process, lines }
    }

    /// Shows what it says, up to its end; cuts its power when it wants that.
    #[track_caller]
    fn transcript(&mut self, boot: Boot) -> String {
        let mut transcript = String::new();
        let began = Instant::now();
        loop {
            match self.lines.recv_timeout(DEADLINE.saturating_sub(began.elapsed())) {
                Ok(line) => {
                    eprintln!("guest | {line}");
                    if boot == Boot::Cut && line.contains(CUT) {
                        // The last of its processes closes the pipe: nobody writes to the disks when this loop has ended.
                        self.process.kill().expect("it has not ended by itself");
                    }
                    transcript.push_str(&line);
                    transcript.push('\n');
                }
                Err(RecvTimeoutError::Disconnected) => return transcript,
                Err(RecvTimeoutError::Timeout) => panic!("the guest has not ended within {} s", DEADLINE.as_secs()),
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ended_already = self.process.kill();
        let _exit = self.process.wait();
    }
}

/// Makes the images of the disks, of which only what is written takes room.
fn images(scratch: &ScratchDirectory, disks_mib: &[u64]) -> Vec<PathBuf> {
    let image = |(number, size_mib): (usize, &u64)| {
        let path = scratch.join(format!("disk{number}"));
        let made = File::create(&path).and_then(|file| file.set_len(size_mib << 20));
        made.unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        path
    };
    disks_mib.iter().enumerate().map(image).collect()
}
