//! The client's end of the socket of a session.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::protocol::{MAX_MESSAGE_BYTES, Message, Request, to_line};
use crate::daemon::is_trusted;

/// What came of a question.
#[derive(Debug)]
pub enum Answer {
    /// The owner's last word.
    Said(Message),
    /// There is no owner there, or it ended before its last word: its files tell what became of the session.
    Gone,
}

/// Asks the owner, and waits for its last word as long as it takes: the owner has the deadlines. Everything before the last word is
/// told as it comes.
pub fn ask(socket: &Path, request: &Request, mut told: impl FnMut(Message)) -> io::Result<Answer> {
    let mut stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(Answer::Gone);
        }
        Err(error) => return Err(error),
    };
    if !is_trusted(&stream)? {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the socket belongs to another user"));
    }
    if stream.write_all(&to_line(request)).is_err() {
        return Ok(Answer::Gone);
    }
    let mut lines = BufReader::new(stream.take(MAX_MESSAGE_BYTES));
    loop {
        let mut line = Vec::new();
        match lines.read_until(b'\n', &mut line) {
            Ok(_) if line.ends_with(b"\n") => {}
            // Cut off in the middle is as good as nothing.
            Ok(_) | Err(_) => return Ok(Answer::Gone),
        }
        let message: Message = serde_json::from_slice(&line)?;
        if message.is_last() {
            return Ok(Answer::Said(message));
        }
        told(message);
    }
}
