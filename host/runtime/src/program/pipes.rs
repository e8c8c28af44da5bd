//! What goes into a program and what comes out, all at once.
//!
//! A program never waits for us: what is beyond the limit is read and dropped, and its standard error is read while it writes to
//! standard output. And we never wait for its children: they may hold a pipe open long after the program has ended.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;

use super::process::Process;

/// Bytes that are moved at a time.
const CHUNK_BYTES: usize = 16 << 10;

/// Bytes that a pipe can hold at most: what is read after the program's end is what it wrote, and not what its children go on
/// writing.
const PIPE_BYTES: usize = 1 << 20;

/// What was kept of an output.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Kept {
    /// As text; what is not UTF-8 is replaced.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Whether there was more.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }
}

/// The pipes of one program, none of which blocks.
pub(super) struct Pipes {
    stdin: Option<ChildStdin>,
    input: Vec<u8>,
    written: usize,
    stdout: Drain<ChildStdout>,
    stderr: Drain<ChildStderr>,
}

/// An output that is read until it ends, and of which the begin is kept.
struct Drain<R> {
    pipe: Option<R>,
    kept: Kept,
    max_bytes: usize,
}

impl Pipes {
    /// Takes the pipes of a child.
    pub(super) fn new(child: &mut Child, input: Option<String>, max_bytes: usize) -> io::Result<Self> {
        let stdin = child.stdin.take();
        if let Some(stdin) = &stdin {
            never_block(stdin)?;
        }
        let stdout = Drain::new(child.stdout.take(), max_bytes)?;
        let stderr = Drain::new(child.stderr.take(), max_bytes)?;
        Ok(Self { stdin, input: input.unwrap_or_default().into_bytes(), written: 0, stdout, stderr })
    }

    /// Waits until something can be passed on, the program ends or the time is over; passes it on.
    pub(super) fn pass_on(&mut self, process: Option<&Process>, longest: Duration) -> io::Result<()> {
        let timeout = Timespec { tv_sec: longest.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: longest.subsec_nanos().into() };
        {
            let mut waited_for: Vec<PollFd<'_>> = Vec::with_capacity(4);
            let descriptor = process.and_then(Process::descriptor);
            waited_for.extend(descriptor.map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN)));
            waited_for.extend(self.stdin.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::OUT)));
            waited_for.extend(self.stdout.pipe.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
            waited_for.extend(self.stderr.pipe.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
            match rustix::event::poll(&mut waited_for, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.feed();
        self.stdout.read(CHUNK_BYTES)?;
        self.stderr.read(CHUNK_BYTES)
    }

    /// Takes what the program has written before its end.
    pub(super) fn end(mut self) -> (Kept, Kept) {
        // What cannot be read any more was not written by the program.
        let _ = self.stdout.read(PIPE_BYTES);
        let _ = self.stderr.read(PIPE_BYTES);
        (self.stdout.kept, self.stderr.kept)
    }

    /// Writes what fits. A program that closes its input does not want the rest, which is no fault.
    fn feed(&mut self) {
        let Some(pipe) = &mut self.stdin else { return };
        while self.written < self.input.len() {
            match pipe.write(&self.input[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.stdin = None;
    }
}

impl<R: Read + AsFd> Drain<R> {
    fn new(pipe: Option<R>, max_bytes: usize) -> io::Result<Self> {
        if let Some(pipe) = &pipe {
            never_block(pipe)?;
        }
        Ok(Self { pipe, kept: Kept::default(), max_bytes })
    }

    /// Reads what is there, about as many bytes as this at most.
    fn read(&mut self, max_bytes: usize) -> io::Result<()> {
        let mut chunk = [0; CHUNK_BYTES];
        let mut read = 0;
        while read < max_bytes {
            let Some(pipe) = &mut self.pipe else { return Ok(()) };
            match pipe.read(&mut chunk) {
                Ok(0) => self.pipe = None,
                Ok(count) => {
                    read += count;
                    let kept = count.min(self.max_bytes - self.kept.bytes.len());
                    self.kept.bytes.extend_from_slice(&chunk[..kept]);
                    self.kept.is_cut |= kept < count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn never_block(pipe: &impl AsFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(pipe)?;
    Ok(rustix::fs::fcntl_setfl(pipe, flags | OFlags::NONBLOCK)?)
}
