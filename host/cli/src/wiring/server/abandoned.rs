//! What a killed drill has left running: found by where it works, and stopped only on proof that it was a drill's.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use stillframe_core::postgres::ServerError;

use super::failed;
use super::process::POLL;

/// Stops the server on this data directory and returns its process when nothing works there any more.
///
/// The command line is looked at first: a server that has only just been started works nowhere yet.
pub(super) async fn stop(data_directory: &Path, socket_directory: &Path, deadline: Duration) -> Result<Option<u32>, ServerError> {
    let found = first_process_of(data_directory);
    let ours = |pid: &u32| names_socket(*pid, socket_directory);
    if let Some(pid) = found.filter(|pid| !ours(pid)) {
        return Err(ServerError::NotOurs { pid, data_directory: data_directory.to_owned() });
    }
    let begun = Instant::now();
    let mut stopped = None;
    // A process that it has just started still has its command line, and so may be found in its place.
    while let Some(pid) = processes().find(|pid| ours(pid) && is_alive(*pid)) {
        let is_late = begun.elapsed() > deadline;
        if begun.elapsed() > 2 * deadline {
            return Err(ServerError::WillNotStop { pid, data_directory: data_directory.to_owned() });
        }
        // The handle first: whose it is does not change any more.
        if let Some(handle) = open(pid)
            && ours(&pid)
        {
            signal(&handle, if is_late { Signal::KILL } else { Signal::QUIT }, data_directory)?;
            stopped = stopped.or(found).or(Some(pid));
        }
        tokio::time::sleep(POLL).await;
    }
    // Without their first process, the others end by themselves.
    wait_until_nobody_is_in(data_directory, deadline).await?;
    Ok(stopped)
}

/// Waits until no process works in the directory.
pub(super) async fn wait_until_nobody_is_in(directory: &Path, deadline: Duration) -> Result<(), ServerError> {
    let begun = Instant::now();
    loop {
        let Ok(here) = fs::metadata(directory) else { return Ok(()) };
        let Some(pid) = processes().find(|pid| works_in(*pid, &here) && is_alive(*pid)) else { return Ok(()) };
        if begun.elapsed() > deadline {
            return Err(ServerError::WillNotStop { pid, data_directory: directory.to_owned() });
        }
        tokio::time::sleep(POLL).await;
    }
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The process that the file names, if it works there.
fn first_process_of(data_directory: &Path) -> Option<u32> {
    let here = fs::metadata(data_directory).ok()?;
    first_process(data_directory).filter(|pid| works_in(*pid, &here) && is_alive(*pid))
}

/// Whether it is there, and not only its exit code.
fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn first_process(data_directory: &Path) -> Option<u32> {
    let contents = fs::read_to_string(data_directory.join("postmaster.pid")).ok()?;
    contents.lines().next()?.trim().parse().ok()
}

fn works_in(pid: u32, here: &Metadata) -> bool {
    let found = fs::metadata(format!("/proc/{pid}/cwd"));
    found.is_ok_and(|found| (found.dev(), found.ino()) == (here.dev(), here.ino()))
}

/// Whether its command line says that its socket lies there.
fn names_socket(pid: u32, socket_directory: &Path) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let wanted = format!("unix_socket_directories={}", socket_directory.display());
    let quoted = format!("unix_socket_directories=\"{}\"", socket_directory.display().to_string().replace('"', "\"\""));
    line.split(|byte| *byte == 0).any(|argument| argument == wanted.as_bytes() || argument == quoted.as_bytes())
}

fn open(pid: u32) -> Option<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

fn signal(handle: &OwnedFd, signal: Signal, data_directory: &Path) -> Result<(), ServerError> {
    match pidfd_send_signal(handle, signal) {
        // It has ended by itself.
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(errno) => Err(failed("stop the server on", data_directory, errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::process::{Order, Process};
    use super::*;

    /// A process that works in a directory, under a command line of its own.
    fn start(directory: &Path, argument: &str) -> Process {
        let script = format!("cd '{}' && echo $$ > postmaster.pid && exec sleep 600", directory.display());
        let arguments = ["-c", &script, argument].map(Into::into).to_vec();
        let log = fs::File::create(directory.join("log")).unwrap();
        Process::start(&Order { program: "/bin/sh".into(), arguments, variables: Vec::new() }, log).unwrap()
    }

    /// The same, while the shell waits: its command line stays.
    fn start_server(directory: &Path, socket: &Path) -> Process {
        let script = format!("cd '{}' && echo $$ > postmaster.pid && while :; do read line; done < fifo", directory.display());
        let setting = format!("unix_socket_directories={}", socket.display());
        let arguments = ["-c", &script, "postgres", &setting].map(Into::into).to_vec();
        rustix::fs::mkfifoat(rustix::fs::CWD, directory.join("fifo"), rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        let log = fs::File::create(directory.join("log")).unwrap();
        Process::start(&Order { program: "/bin/sh".into(), arguments, variables: Vec::new() }, log).unwrap()
    }

    async fn wait_for_pid_file(directory: &Path) {
        while first_process(directory).is_none() {
            tokio::time::sleep(POLL).await;
        }
    }

    #[tokio::test]
    async fn a_server_that_names_the_socket_of_the_drill_is_stopped() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        let mut process = start_server(directory.path(), &socket);
        wait_for_pid_file(directory.path()).await;
        let stopped = stop(directory.path(), &socket, Duration::from_secs(10)).await.unwrap();
        assert_eq!(stopped, first_process(directory.path()));
        assert!(process.end(Signal::KILL, Duration::from_secs(10)).await.unwrap());
    }

    #[tokio::test]
    async fn a_process_that_somebody_else_has_started_there_lives_on() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = start(directory.path(), "other");
        wait_for_pid_file(directory.path()).await;
        let stopped = stop(directory.path(), &directory.path().join("s"), Duration::from_secs(10)).await;
        assert!(matches!(stopped, Err(ServerError::NotOurs { .. })), "{stopped:?}");
        assert!(process.ended().unwrap().is_none());
        process.end(Signal::KILL, Duration::from_secs(10)).await.unwrap();
    }

    #[tokio::test]
    async fn a_process_of_another_directory_is_none_of_ours_whatever_the_file_says() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut process = start(there.path(), "other");
        wait_for_pid_file(there.path()).await;
        fs::copy(there.path().join("postmaster.pid"), here.path().join("postmaster.pid")).unwrap();
        assert_eq!(stop(here.path(), &here.path().join("s"), Duration::from_secs(10)).await.unwrap(), None);
        assert!(process.ended().unwrap().is_none());
        process.end(Signal::KILL, Duration::from_secs(10)).await.unwrap();
    }
}
