//! What can be wrong with a directory that is a store, and what the operator does about it.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;
use stillframe_core::error::{Classify, ErrorClass};
use thiserror::Error;

use super::tree::MARKER;
use crate::MAX_OBJECT_BYTES;

/// Why an operation on the directory failed.
#[derive(Debug, Error)]
pub(super) enum Fault {
    #[error("cannot {step}")]
    System {
        step: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("the directory `{}` does not exist", path.display())]
    RootMissing { path: PathBuf },
    #[error("the directory `{}` holds no `{MARKER}` and so is no store", path.display())]
    MarkerMissing { path: PathBuf },
    #[error("`{MARKER}` says `{found}`, which this version does not know")]
    MarkerUnknown { found: String },
    #[error("`{name}` is a symbolic link")]
    Symlink { name: String },
    #[error("`{name}` is neither a file nor a directory that the key may name")]
    WrongKind { name: String },
    #[error("`{name}` lies on another file system than the store")]
    OtherFileSystem { name: String },
    #[error("an object of {size_bytes} bytes is larger than {MAX_OBJECT_BYTES}")]
    TooLarge { size_bytes: u64 },
    #[error("the file had {expected_bytes} bytes when it was opened and gave {read_bytes}")]
    ChangedWhileRead { expected_bytes: u64, read_bytes: u64 },
    #[error("`{MARKER}` vanished during the operation")]
    MarkerVanished,
    #[error("another process has been listing or replacing objects for {waited_secs} s")]
    LockHeld { waited_secs: u64 },
    #[error("another process keeps deleting the directory of the object")]
    ParentVanishes,
    #[error("the file system {did}")]
    Unfit { did: String },
    #[error("the operating system gave no random bytes")]
    NoRandomness {
        #[source]
        source: getrandom::Error,
    },
}

impl Fault {
    /// Wraps the failure of a system call; `step` completes "cannot …".
    pub(super) fn at(step: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| Self::System { step, source: errno.into() }
    }

    /// Wraps the failure of a call of the standard library.
    pub(super) fn io(step: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System { step, source }
    }
}

impl Classify for Fault {
    fn class(&self) -> ErrorClass {
        match self {
            Self::System { source, .. } => match Errno::from_io_error(source) {
                Some(Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::OPNOTSUPP | Errno::NAMETOOLONG | Errno::MLINK) => {
                    ErrorClass::Config
                }
                Some(Errno::UCLEAN | Errno::BADMSG) => ErrorClass::Corrupt,
                // A full disk, a broken cable, a server that is away: somebody repairs it, and then the next attempt works.
                _ => ErrorClass::Transient,
            },
            Self::RootMissing { .. }
            | Self::MarkerMissing { .. }
            | Self::MarkerUnknown { .. }
            | Self::Symlink { .. }
            | Self::WrongKind { .. }
            | Self::OtherFileSystem { .. }
            | Self::Unfit { .. } => ErrorClass::Config,
            Self::TooLarge { .. } => ErrorClass::Corrupt,
            Self::ChangedWhileRead { .. }
            | Self::MarkerVanished
            | Self::LockHeld { .. }
            | Self::ParentVanishes
            | Self::NoRandomness { .. } => ErrorClass::Transient,
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::System { source, .. } => return Errno::from_io_error(source).and_then(errno_advice).map(str::to_owned),
            Self::RootMissing { .. } => {
                "mount its file system, or make the store with `stillframe store create` if there has never been one"
            }
            Self::MarkerMissing { .. } => {
                "mount its file system; if it is mounted and there has never been a store in it, make one with `stillframe store create`"
            }
            Self::MarkerUnknown { .. } => "use the version of Stillframe that wrote it, or a newer one",
            Self::Symlink { .. } => "move the files into the store; symbolic links inside it are not followed",
            Self::WrongKind { .. } => "move it out of the store: only Stillframe and its peers write there",
            Self::OtherFileSystem { .. } => {
                "keep the whole store on one file system: when a part of it is not mounted, its objects would pass for absent"
            }
            Self::TooLarge { .. } => "nothing that Stillframe writes is that large; look at what it is",
            Self::ChangedWhileRead { .. } => "another program writes into the store in place; try again when it has ended",
            Self::LockHeld { .. } => {
                "look for a process that is stopped or waits for the disk; `flock` of `.stillframe-store` is what it holds"
            }
            Self::Unfit { .. } => "keep the store on a file system whose hard links fail when the name is taken",
            Self::MarkerVanished | Self::ParentVanishes | Self::NoRandomness { .. } => return None,
        };
        Some(text.to_owned())
    }
}

fn errno_advice(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::ACCESS | Errno::PERM => "give the user that runs Stillframe the right to read and write the whole store",
        Errno::ROFS => "the file system is read-only: see the kernel's log for the reason and remount it",
        Errno::NOSPC => "free space on the file system of the store, or make it larger",
        Errno::DQUOT => "raise the disk quota of the user that runs Stillframe",
        Errno::NOLCK => "keep the store on a file system that has locks; over NFS, start its lock service",
        Errno::OPNOTSUPP | Errno::MLINK => "keep the store on a file system that has hard links",
        Errno::NAMETOOLONG => "keep the store on a file system that allows names of 255 bytes, below a shorter path",
        Errno::UCLEAN | Errno::BADMSG => "the file system reports damage: check it",
        Errno::IO | Errno::TIMEDOUT | Errno::STALE => "look at the disk or the file server that holds the store",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;
    use stillframe_core::error::{Classify as _, ErrorClass};

    use super::Fault;

    #[test]
    fn only_what_the_operator_must_change_is_a_matter_of_configuration() {
        for errno in [Errno::NOSPC, Errno::DQUOT, Errno::IO, Errno::TIMEDOUT, Errno::STALE, Errno::NOENT, Errno::MFILE] {
            assert_eq!(Fault::at("write")(errno).class(), ErrorClass::Transient, "{errno:?}");
        }
        for errno in [Errno::ACCESS, Errno::PERM, Errno::ROFS] {
            let fault = Fault::at("write")(errno);
            assert_eq!(fault.class(), ErrorClass::Config, "{errno:?}");
            assert!(fault.hint().is_some(), "{errno:?}");
        }
    }
}
