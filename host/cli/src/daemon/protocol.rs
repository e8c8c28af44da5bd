//! The messages of WAL-G's daemon, so that its clients and PostgreSQL's `walg_archive` library can speak to ours.
//!
//! A message is its type, its whole length as a 16-bit number in network order, and a body: a check, a file name for `wal-push`, or
//! counted arguments for `wal-fetch`. The answer is one byte. What we add is in the body of a check, which others leave alone: our
//! own client says there where it works and what it is configured with, and takes only an answer that no other daemon gives.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use thiserror::Error;

use super::check::Check;

/// Bytes before the body: the type and the length.
pub const HEAD_BYTES: usize = 3;

/// Begins a check of our client.
const OURS: &str = "stillframe ";

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Whether the daemon answers; from our client, whether it serves exactly this.
    Check(Option<Check>),
    /// Archive the file of this name.
    Push(String),
    /// Restore the file of this name to this place, `pg_wal/<file name>`.
    Fetch(String, PathBuf),
}

/// What the daemon answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// It is done.
    Done,
    /// It is not done.
    Failed,
    /// The file is certainly not in the archive.
    Missing,
    /// To a check of our client: it is served.
    Serving,
    /// To a check of our client: it is configured otherwise, or another program, than the daemon that was started.
    Reconfigured,
}

/// A message that cannot be understood, or not be sent.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ProtocolError {
    /// Neither check, push nor fetch.
    #[error("a message of the unknown type {0:#04x}")]
    Type(u8),
    /// Shorter than its own head.
    #[error("a message that says that it has {0} bytes")]
    Length(u16),
    /// The body is not what its type says.
    #[error("a message with a malformed body")]
    Body,
    /// A place for a restored file that PostgreSQL would not name.
    #[error("a destination other than `pg_wal/<file name>`")]
    Destination,
    /// More than 65,535 bytes.
    #[error("a message that is too long")]
    TooLong,
    /// No answer that we know.
    #[error("the unknown answer {0:#04x}")]
    Reply(u8),
}

/// Bytes of the body that follows this head.
pub fn body_length(head: [u8; HEAD_BYTES]) -> Result<usize, ProtocolError> {
    let length = u16::from_be_bytes([head[1], head[2]]);
    usize::from(length).checked_sub(HEAD_BYTES).ok_or(ProtocolError::Length(length))
}

impl Request {
    /// Reads a message.
    pub fn parse(head: [u8; HEAD_BYTES], body: &[u8]) -> Result<Self, ProtocolError> {
        match head[0] {
            b'C' => {
                let ours = std::str::from_utf8(body).ok().and_then(|text| text.strip_prefix(OURS));
                Ok(Self::Check(ours.and_then(Check::parse)))
            }
            b'F' => String::from_utf8(body.to_vec()).map(Self::Push).map_err(|_| ProtocolError::Body),
            b'f' => match parse_arguments(body).ok_or(ProtocolError::Body)?.as_slice() {
                [name, destination] => {
                    let name = std::str::from_utf8(name).map_err(|_| ProtocolError::Body)?;
                    let destination = PathBuf::from(OsString::from_vec(destination.to_vec()));
                    Ok(Self::Fetch(name.to_owned(), parse_destination(&destination).ok_or(ProtocolError::Destination)?))
                }
                _ => Err(ProtocolError::Body),
            },
            other => Err(ProtocolError::Type(other)),
        }
    }

    /// Writes a message.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ProtocolError> {
        let (kind, body) = match self {
            Self::Check(None) => (b'C', b"CHECK".to_vec()),
            Self::Check(Some(check)) => (b'C', format!("{OURS}{}", check.to_text()).into_bytes()),
            Self::Push(name) => (b'F', name.clone().into_bytes()),
            Self::Fetch(name, destination) => {
                let mut body = vec![2];
                for argument in [name.as_bytes(), destination.as_os_str().as_bytes()] {
                    let length = u16::try_from(argument.len()).map_err(|_| ProtocolError::TooLong)?;
                    body.extend(length.to_be_bytes());
                    body.extend(argument);
                }
                (b'f', body)
            }
        };
        let length = u16::try_from(HEAD_BYTES + body.len()).map_err(|_| ProtocolError::TooLong)?;
        Ok([&[kind], &length.to_be_bytes()[..], &body].concat())
    }
}

impl Reply {
    /// The byte that says it.
    pub fn to_byte(self) -> u8 {
        match self {
            Self::Done => b'O',
            Self::Failed => b'E',
            Self::Missing => b'N',
            Self::Serving => b'S',
            Self::Reconfigured => b'R',
        }
    }

    /// What a byte says.
    pub fn parse(byte: u8) -> Result<Self, ProtocolError> {
        let known = [Self::Done, Self::Failed, Self::Missing, Self::Serving, Self::Reconfigured];
        known.into_iter().find(|reply| reply.to_byte() == byte).ok_or(ProtocolError::Reply(byte))
    }
}

/// What PostgreSQL gives as %p. An absolute path could lie in another server's directory, which nobody has proven to be meant.
fn parse_destination(path: &Path) -> Option<PathBuf> {
    let mut components = path.components();
    match (components.next()?, components.next()?, components.next()) {
        (Component::Normal(directory), Component::Normal(file), None) if directory == "pg_wal" => {
            Some(Path::new(directory).join(file))
        }
        _ => None,
    }
}

/// A count, and so many arguments, each after its length; nothing may follow.
fn parse_arguments(body: &[u8]) -> Option<Vec<&[u8]>> {
    let (count, mut rest) = body.split_first()?;
    let mut arguments = Vec::new();
    for _ in 0..*count {
        let (length, behind) = rest.split_first_chunk::<2>()?;
        let (argument, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        arguments.push(argument);
        rest = behind;
    }
    rest.is_empty().then_some(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(message: &[u8]) -> Result<Request, ProtocolError> {
        let head = message[..HEAD_BYTES].try_into().unwrap();
        assert_eq!(body_length(head)?, message.len() - HEAD_BYTES);
        Request::parse(head, &message[HEAD_BYTES..])
    }

    #[test]
    fn reads_what_clients_of_walg_write() {
        assert_eq!(parse(b"C\0\x08CHECK"), Ok(Request::Check(None)));
        assert_eq!(parse(b"C\0\x03"), Ok(Request::Check(None)));
        assert_eq!(parse(b"F\0\x1b000000010000000000000003"), Ok(Request::Push("000000010000000000000003".to_owned())));
        let fetch = b"f\0\x33\x02\0\x1800000001000000000000000A\0\x13pg_wal/RECOVERYXLOG".to_vec();
        assert_eq!(parse(&fetch).unwrap().to_bytes().unwrap(), fetch);
        assert_eq!(parse(&fetch), Ok(Request::Fetch("00000001000000000000000A".to_owned(), "pg_wal/RECOVERYXLOG".into())));
    }

    #[test]
    fn refuses_what_is_cut_off_too_long_or_unknown() {
        assert_eq!(body_length(*b"F\0\x02"), Err(ProtocolError::Length(2)));
        assert_eq!(parse(b"X\0\x03"), Err(ProtocolError::Type(b'X')));
        for body in [
            &b""[..],
            b"\x01\0\x01a",
            b"\x02\0\x01a",
            b"\x02\0\x01a\0\x02b",
            b"\x02\0\x01a\0\x01bc",
            b"\x02\xff\xffa",
            b"\x03\0\0\0\0\0\0",
        ] {
            assert_eq!(Request::parse(*b"f\0\0", body), Err(ProtocolError::Body), "{body:?}");
        }
        assert_eq!(Request::parse(*b"F\0\0", b"\xff"), Err(ProtocolError::Body));
        assert_eq!(Request::Push("x".repeat(65_533)).to_bytes(), Err(ProtocolError::TooLong));
    }

    #[test]
    fn a_check_of_ours_is_read_as_it_was_written() {
        let check = Check::parse("1 2 3 4 5 -6 7").unwrap();
        assert_eq!(parse(&Request::Check(Some(check)).to_bytes().unwrap()), Ok(Request::Check(Some(check))));
    }

    #[test]
    fn a_file_is_restored_to_the_wal_directory_and_nowhere_else() {
        let parsed = |destination: &str| parse(&Request::Fetch("X".to_owned(), destination.into()).to_bytes().unwrap());
        assert_eq!(parsed("pg_wal//x"), Ok(Request::Fetch("X".to_owned(), "pg_wal/x".into())));
        for destination in [
            "/data/pg_wal/x",
            "/pg_wal/x",
            "../pg_wal/x",
            "pg_wal/../x",
            "pg_wal/..",
            "pg_wal",
            "pg_wal/",
            "pg_wal/a/b",
            "base/x",
            "x",
            "",
        ] {
            assert_eq!(parsed(destination), Err(ProtocolError::Destination), "{destination}");
        }
    }

    #[test]
    fn only_the_known_answers_are_answers() {
        assert_eq!(Reply::parse(b'O'), Ok(Reply::Done));
        assert_eq!(Reply::parse(b'E'), Ok(Reply::Failed));
        assert_eq!(Reply::parse(b'N'), Ok(Reply::Missing));
        assert_eq!(Reply::parse(b'S'), Ok(Reply::Serving));
        assert_eq!(Reply::parse(b'R'), Ok(Reply::Reconfigured));
        assert_eq!(Reply::parse(0), Err(ProtocolError::Reply(0)));
    }
}
