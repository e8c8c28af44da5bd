//! A btrfs in memory behind the capability `command`: subvolumes with their numbers, and what the programs say about them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use stillframe_sdk::command::{CommandError, ExitStatus, Invocation, Output};
use stillframe_sdk::testing::FakeHost;

/// One subvolume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subvolume {
    pub(super) number: u64,
    pub(super) is_read_only: bool,
}

/// What there is.
#[derive(Debug, Default)]
pub(super) struct Storage {
    pub(super) subvolumes: BTreeMap<String, Subvolume>,
    pub(super) directories: BTreeSet<String>,
    /// What snapshots have in place of subvolumes.
    pub(super) placeholders: BTreeSet<String>,
    /// Mount points with their source, the directory that they show, and their options.
    pub(super) mounts: BTreeMap<String, (String, String, String)>,
    /// Whether the caller may delete what is read-only.
    pub(super) is_root: bool,
    /// Words of the arguments that fail, and what the program then says.
    pub(super) failures: Vec<(String, String)>,
    /// The program that is killed next.
    pub(super) killed: Option<String>,
    next: u64,
}

/// Shared with the host.
#[derive(Debug, Clone, Default)]
pub(super) struct FakeBtrfs(pub(super) Rc<RefCell<Storage>>);

impl FakeBtrfs {
    /// Answers the programs of this host.
    pub(super) fn attach(&self, host: &FakeHost) {
        let storage = Rc::clone(&self.0);
        host.on_command(move |invocation| storage.borrow_mut().run(invocation));
    }

    pub(super) fn subvolume(&self, path: &str) {
        self.0.borrow_mut().add(path, false);
    }

    pub(super) fn directory(&self, path: &str) {
        self.0.borrow_mut().directories.insert(path.to_owned());
    }

    pub(super) fn mount(&self, point: &str, source: &str, shown: &str, subvolume: &str) {
        let options = format!("rw,relatime,user_subvol_rm_allowed,subvol={subvolume}");
        self.0.borrow_mut().mounts.insert(point.to_owned(), (source.to_owned(), shown.to_owned(), options));
        self.subvolume(point);
    }

    /// Kills this program when it is run next.
    pub(super) fn kill(&self, program: &str) {
        self.0.borrow_mut().killed = Some(program.to_owned());
    }

    pub(super) fn fail(&self, containing: &str, words: &str) {
        self.0.borrow_mut().failures.push((containing.to_owned(), words.to_owned()));
    }

    /// Every snapshot, markers left out.
    pub(super) fn snapshots(&self) -> Vec<String> {
        let storage = self.0.borrow();
        let is_snapshot = |path: &&String| path.contains("/snaps/") && !path.ends_with("/stillframe-snapshots");
        storage.subvolumes.keys().filter(is_snapshot).cloned().collect()
    }
}

impl Storage {
    fn add(&mut self, path: &str, is_read_only: bool) {
        self.next += 1;
        let number = 255 + self.next;
        self.subvolumes.insert(path.to_owned(), Subvolume { number, is_read_only });
    }

    fn holder(&self, path: &str) -> Option<&Subvolume> {
        let is_there = self.subvolumes.contains_key(path) || self.directories.contains(path);
        let is_above = |top: &&String| path == *top || path.starts_with(&format!("{top}/")) || *top == "/";
        let top = self.subvolumes.keys().filter(is_above).max_by_key(|top| top.len());
        top.filter(|_| is_there).and_then(|top| self.subvolumes.get(top))
    }

    fn run(&mut self, invocation: &Invocation) -> Result<Output, CommandError> {
        let args: Vec<&str> = invocation.args.iter().map(String::as_str).collect();
        let line = args.join(" ");
        if let Some(index) = self.failures.iter().position(|(containing, _)| line.contains(containing)) {
            let (_, words) = self.failures.remove(index);
            return Ok(failed(&words));
        }
        if self.killed.take_if(|program| *program == invocation.program).is_some() {
            return Ok(Output { status: ExitStatus::Signal(9), stdout: String::new(), stderr: String::new(), truncated: false });
        }
        Ok(match (invocation.program.as_str(), &args[..]) {
            ("findmnt", ["--json", "--target", directory, "--output", _]) => self.findmnt(directory),
            ("btrfs", ["inspect-internal", "rootid", path]) if self.placeholders.contains(*path) => {
                failed("ERROR: failed to lookup root id: Inappropriate ioctl for device")
            }
            ("rmdir", [path]) if self.placeholders.remove(*path) => said(""),
            ("btrfs", ["inspect-internal", "rootid", path]) => match self.holder(path) {
                Some(subvolume) => said(&format!("{}\n", subvolume.number)),
                None => failed(&format!("ERROR: cannot access '{path}': No such file or directory")),
            },
            ("btrfs", ["subvolume", "create", path]) => {
                self.add(path, false);
                said("Create subvolume\n")
            }
            ("btrfs", ["subvolume", "snapshot", "-r", source, copy]) => self.snapshot(source, copy, true),
            ("btrfs", ["subvolume", "snapshot", source, copy]) => self.snapshot(source, copy, false),
            ("btrfs", ["property", "set", "-ts", path, "ro", "false"]) => {
                self.subvolumes.get_mut(*path).unwrap().is_read_only = false;
                said("")
            }
            ("btrfs", ["subvolume", "delete", "--commit-after", path]) => self.delete(path),
            _ => return Err(CommandError::Denied(format!("no rule allows `{} {line}`", invocation.program))),
        })
    }

    fn findmnt(&self, directory: &str) -> Output {
        let is_above = |point: &&String| directory == *point || directory.starts_with(&format!("{point}/"));
        let Some(point) = self.mounts.keys().filter(is_above).max_by_key(|point| point.len()) else { return failed("") };
        let (source, shown, options) = &self.mounts[point];
        let brackets = if shown == "/" { String::new() } else { format!("[{shown}]") };
        said(&format!(
            r#"{{"filesystems": [{{"source":"{source}{brackets}", "fstype":"btrfs", "fsroot":"{shown}", "options":"{options}"}}]}}"#
        ))
    }

    fn snapshot(&mut self, source: &str, copy: &str, is_read_only: bool) -> Output {
        if !self.subvolumes.contains_key(source) {
            return failed("ERROR: Not a Btrfs subvolume: Invalid argument");
        }
        assert!(self.holder(copy).is_none(), "the program would make it inside of `{copy}`");
        let inner = self.subvolumes.keys().chain(&self.placeholders).filter_map(|path| path.strip_prefix(&format!("{source}/")));
        let inner: Vec<String> = inner.map(|within| format!("{copy}/{within}")).collect();
        self.placeholders.extend(inner);
        self.add(copy, is_read_only);
        said(&format!("Create a snapshot of '{source}' in '{copy}'\n"))
    }

    fn delete(&mut self, path: &str) -> Output {
        match self.subvolumes.get(path) {
            None => failed("ERROR: Could not statfs: No such file or directory"),
            Some(subvolume) if subvolume.is_read_only && !self.is_root => {
                failed("ERROR: Could not destroy subvolume/snapshot: Read-only file system\nWARNING: deletion failed")
            }
            Some(_) if self.subvolumes.keys().any(|other| other.starts_with(&format!("{path}/"))) => {
                failed("ERROR: Could not destroy subvolume/snapshot: Directory not empty")
            }
            Some(_) => {
                self.subvolumes.remove(path);
                self.placeholders.retain(|placeholder| !placeholder.starts_with(&format!("{path}/")));
                said("Delete subvolume\n")
            }
        }
    }
}

fn said(stdout: &str) -> Output {
    Output { status: ExitStatus::Code(0), stdout: stdout.to_owned(), stderr: String::new(), truncated: false }
}

fn failed(stderr: &str) -> Output {
    Output { status: ExitStatus::Code(1), stdout: String::new(), stderr: stderr.to_owned(), truncated: false }
}
