//! The daemon's socket: one live daemon each, and nobody but its user may connect.
//!
//! A lock file beside it says whether a daemon lives, for a socket stays behind when its daemon is killed. The new socket is made
//! under another name and renamed, so that a client finds the old one or the new one and never none.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;
use stillframe_core::error::{Classify, ErrorClass};
use thiserror::Error;

/// Only its user may connect, and root.
const SOCKET_MODE: u32 = 0o600;

/// A listening socket that this process has claimed.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    inode: u64,
    /// Held as long as the daemon lives.
    _lock: File,
}

impl Socket {
    /// Claims the path and listens there.
    pub fn claim(path: &Path) -> Result<(Self, UnixListener), SocketError> {
        let failed = |source| SocketError::Failed { path: path.to_owned(), source };
        let lock = lock(path)?;
        refuse_what_is_in_the_way(path)?;
        let temporary = beside(path, &format!(".new-{}", std::process::id()));
        // Left by an earlier process with the same id; the lock is ours.
        let _ = std::fs::remove_file(&temporary);
        let listener = UnixListener::bind(&temporary).map_err(failed)?;
        let placed = std::fs::set_permissions(&temporary, Permissions::from_mode(SOCKET_MODE))
            .and_then(|()| temporary.metadata())
            .and_then(|found| std::fs::rename(&temporary, path).map(|()| found.ino()));
        match placed {
            Ok(inode) => Ok((Self { path: path.to_owned(), inode, _lock: lock }, listener)),
            Err(source) => {
                let _ = std::fs::remove_file(&temporary);
                Err(failed(source))
            }
        }
    }

    /// Removes the socket, so that clients do without the daemon at once.
    pub fn remove(self) {
        if self.path.symlink_metadata().is_ok_and(|found| found.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Why there can be no socket.
#[derive(Debug, Error)]
pub enum SocketError {
    /// A daemon lives there.
    #[error("a daemon listens at `{}` already", path.display())]
    Live {
        /// The socket.
        path: PathBuf,
    },
    /// A file or directory has the name.
    #[error("`{}` is there and is no socket", path.display())]
    InTheWay {
        /// What is there.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("cannot listen at `{}`", path.display())]
    Failed {
        /// The socket.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl Classify for SocketError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Live { .. } | Self::InTheWay { .. } => ErrorClass::Refused,
            Self::Failed { .. } => ErrorClass::Config,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Live { .. } => Some("stop it first, or give this one a socket of its own".to_owned()),
            Self::InTheWay { .. } => None,
            Self::Failed { .. } => {
                Some("name a path of at most about 90 bytes in a directory of the user that runs PostgreSQL".to_owned())
            }
        }
    }
}

/// Whether our own user, or root, is at the other end: on another user's word WAL would be archived, recycled or called absent.
pub fn is_trusted(stream: impl AsFd) -> io::Result<bool> {
    let peer = socket_peercred(stream)?.uid;
    Ok(peer == geteuid() || peer.is_root())
}

fn lock(path: &Path) -> Result<File, SocketError> {
    let lock_path = beside(path, ".lock");
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(SOCKET_MODE).open(&lock_path);
    let lock = opened.map_err(|source| SocketError::Failed { path: lock_path.clone(), source })?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(SocketError::Live { path: path.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(SocketError::Failed { path: lock_path, source }),
    }
}

/// A socket that nobody answers is left over. One that answers is of a daemon that knows nothing of our lock.
fn refuse_what_is_in_the_way(path: &Path) -> Result<(), SocketError> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(SocketError::Failed { path: path.to_owned(), source }),
        Ok(found) if !found.file_type().is_socket() => Err(SocketError::InTheWay { path: path.to_owned() }),
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Ok(_) => Err(SocketError::Live { path: path.to_owned() }),
            Err(source) => Err(SocketError::Failed { path: path.to_owned(), source }),
        },
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_may_connect_and_a_graceful_end_leaves_no_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let (socket, _listener) = Socket::claim(&path).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        UnixStream::connect(&path).unwrap();
        socket.remove();
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_left_by_a_killed_daemon_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        UnixStream::connect(&path).unwrap_err();
        let _claimed = Socket::claim(&path).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_live_daemon_keeps_its_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let (_socket, listener) = Socket::claim(&path).unwrap();
        assert!(matches!(Socket::claim(&path), Err(SocketError::Live { .. })));
        UnixStream::connect(&path).unwrap();
        listener.accept().unwrap();
        let other = directory.path().join("of another program");
        let foreign = UnixListener::bind(&other).unwrap();
        assert!(matches!(Socket::claim(&other), Err(SocketError::Live { .. })), "it knows nothing of the lock");
        foreign.accept().unwrap();
    }

    #[test]
    fn a_file_in_the_way_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(Socket::claim(&path), Err(SocketError::InTheWay { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn the_socket_of_a_successor_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let (socket, _listener) = Socket::claim(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let _successor = UnixListener::bind(&path).unwrap();
        socket.remove();
        assert!(path.exists());
    }
}
