//! The client of the daemon: `wal-push --daemon SOCKET %p` and `wal-fetch --daemon SOCKET %f %p`.
//!
//! It runs before the command line is understood and before anything else starts, so that it costs about a millisecond. It proves
//! that the daemon is ours and works in the same WAL directory with the same configuration. In any doubt it says so and steps aside:
//! the process goes on as the plain command, so that archiving never depends on a daemon, and an absence is only told that the
//! archive was asked about.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::check::{Check, ConfigurationId, DirectoryId};
use super::protocol::{Reply, Request};
use super::socket::is_trusted;

/// Longer than the daemon takes for any request: it answers or has died.
const PATIENCE: Duration = Duration::from_secs(150);

/// How a call of the process ends that a daemon has done for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The file is archived, or restored.
    Done,
    /// The archive certainly does not have it.
    Missing,
}

/// Lets the daemon do it, when the arguments (without the program's name) name one and it can; else tells why not, on standard
/// error, and returns none.
pub fn try_daemon(arguments: impl IntoIterator<Item = OsString>) -> Option<Outcome> {
    let call = Call::parse(arguments)?;
    match call.send() {
        Ok(outcome) => Some(outcome),
        Err(reason) => {
            let socket = call.socket.display();
            let _gone = writeln!(io::stderr(), "warning: the daemon at `{socket}` is not used: {reason}");
            None
        }
    }
}

/// What the arguments ask for.
#[derive(Debug, PartialEq, Eq)]
struct Call {
    socket: PathBuf,
    config: Option<PathBuf>,
    work: Work,
}

#[derive(Debug, PartialEq, Eq)]
enum Work {
    Push { path: PathBuf },
    Fetch { name: String, destination: PathBuf },
}

impl Call {
    /// Reads the arguments. None when they name no daemon, or anything that is not known here: then they are for the plain command.
    fn parse(arguments: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let (mut socket, mut config, mut words) = (None, None, Vec::new());
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.to_str() {
                // Whoever names two is told off by the plain command.
                Some("--daemon") if socket.is_none() => socket = Some(PathBuf::from(arguments.next()?)),
                Some("--config") if config.is_none() => config = Some(PathBuf::from(arguments.next()?)),
                Some("--verbose" | "-v" | "-vv") => {}
                Some(text) if text.starts_with('-') => match text.split_once('=') {
                    Some(("--daemon", path)) if socket.is_none() => socket = Some(PathBuf::from(path)),
                    Some(("--config", path)) if config.is_none() => config = Some(PathBuf::from(path)),
                    _ => return None,
                },
                _ => words.push(argument),
            }
        }
        let work = match words.as_slice() {
            [command, path] if command == OsStr::new("wal-push") => Work::Push { path: path.into() },
            [command, name, destination] if command == OsStr::new("wal-fetch") => {
                Work::Fetch { name: name.to_str()?.to_owned(), destination: destination.into() }
            }
            _ => return None,
        };
        Some(Self { socket: socket?, config, work })
    }

    fn send(&self) -> Result<Outcome, String> {
        let (path, request) = match &self.work {
            Work::Push { path } => (path, Request::Push(text_name(path)?)),
            // The daemon knows the directory by its own path, which is proven to be the same.
            Work::Fetch { name, destination } => (
                destination,
                Request::Fetch(name.clone(), Path::new("pg_wal").join(destination.file_name().ok_or("no file is named")?)),
            ),
        };
        let directory = DirectoryId::around(path).map_err(|error| error.to_string())?;
        let configuration = ConfigurationId::of_process(self.config.as_deref())
            .map_err(|error| format!("the configuration file cannot be found: {error}"))?;
        let mut stream = open(&self.socket).map_err(|error| error.to_string())?;
        match ask(&mut stream, &Request::Check(Some(Check { directory, configuration })))? {
            Reply::Serving => {}
            Reply::Reconfigured => {
                return Err("it was started with another configuration, environment, host name or program: restart it".to_owned());
            }
            Reply::Failed => return Err("it serves another data directory, or is busy".to_owned()),
            // The daemon of WAL-G answers so to any check.
            Reply::Done | Reply::Missing => return Err("it is the daemon of another program".to_owned()),
        }
        match (ask(&mut stream, &request)?, &self.work) {
            (Reply::Done, Work::Push { .. }) => Ok(Outcome::Done),
            (Reply::Done, Work::Fetch { destination, .. }) if destination.exists() => Ok(Outcome::Done),
            (Reply::Done, Work::Fetch { .. }) => Err("it says that it has restored the file, and there is none".to_owned()),
            (Reply::Missing, Work::Fetch { .. }) => Ok(Outcome::Missing),
            (Reply::Failed | Reply::Missing | Reply::Serving | Reply::Reconfigured, _) => {
                Err("it failed; its log says why".to_owned())
            }
        }
    }
}

fn text_name(path: &Path) -> Result<String, String> {
    path.file_name().and_then(OsStr::to_str).map(str::to_owned).ok_or_else(|| "no WAL file is named".to_owned())
}

/// Connects to a daemon of our own user, or of root.
///
/// Never waits for one that does not accept: the plain command is quicker.
fn open(socket: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let stream = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&stream, &SocketAddrUnix::new(socket)?)?;
    if !is_trusted(&stream)? {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to another user"));
    }
    let stream = UnixStream::from(stream);
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn ask(stream: &mut UnixStream, request: &Request) -> Result<Reply, String> {
    let message = request.to_bytes().map_err(|error| error.to_string())?;
    let mut answer = [0];
    stream.write_all(&message).and_then(|()| stream.read_exact(&mut answer)).map_err(|error| error.to_string())?;
    Reply::parse(answer[0]).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
