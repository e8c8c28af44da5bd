//! The end of what a guest writes to standard error: a panic's message, a Python traceback.
//!
//! Writing never fails and never waits, however much there is: a guest that cannot write dies of that, and hides why it did.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::text::clean;

/// What is kept.
const KEPT_BYTES: usize = 4 << 10;

/// What one write may carry.
const WRITE_BYTES: usize = 64 << 10;

/// What is quoted in an error.
const QUOTED_BYTES: usize = 2 << 10;

/// Keeps the last bytes that were written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tail(Arc<Mutex<VecDeque<u8>>>);

impl Tail {
    /// The last lines as one line, without what only repeats a panic's manual; none when nothing was written.
    pub(crate) fn quote(&self) -> Option<String> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(kept.make_contiguous()).into_owned();
        let lines: Vec<&str> =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("note: run with")).collect();
        let line = lines.join(" ");
        let begin = line.len().saturating_sub(QUOTED_BYTES);
        let begin = (begin..line.len()).find(|place| line.is_char_boundary(*place)).unwrap_or(begin);
        (!line.is_empty()).then(|| clean(&line[begin..], 2 * QUOTED_BYTES))
    }

    fn push(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(&bytes[bytes.len().saturating_sub(KEPT_BYTES)..]);
        let surplus = kept.len().saturating_sub(KEPT_BYTES);
        kept.drain(..surplus);
    }
}

impl IsTerminal for Tail {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Tail {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Tail {
    async fn ready(&mut self) {}
}

impl OutputStream for Tail {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES)
    }
}

impl AsyncWrite for Tail {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT_BYTES, Tail};

    #[test]
    fn keeps_the_end_of_a_flood() {
        let tail = Tail::default();
        for number in 0..10_000 {
            tail.push(format!("line {number}\n").as_bytes());
        }
        assert!(tail.0.lock().unwrap().len() <= KEPT_BYTES);
        assert!(tail.quote().unwrap().ends_with("line 9998 line 9999"));
    }

    #[test]
    fn quotes_a_panic_as_one_line() {
        let tail = Tail::default();
        assert_eq!(tail.quote(), None);
        tail.push(b"\nthread 'main' panicked at src/lib.rs:1:2:\nno \x1b[31mluck\nnote: run with `RUST_BACKTRACE=1` ...\n");
        assert_eq!(tail.quote().unwrap(), "thread 'main' panicked at src/lib.rs:1:2: no \\u{1b}[31mluck");
    }
}
