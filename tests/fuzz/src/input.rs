//! Takes an input apart: lines first, and what is left as it is.
//!
//! Lines keep seeds readable, and a change of one byte changes one thing.

use std::borrow::Cow;

/// An input that is read from its beginning.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    /// The next line, without its end; empty when nothing is left.
    pub(crate) fn line(&mut self) -> &'a [u8] {
        let (line, rest) = match self.rest.iter().position(|byte| *byte == b'\n') {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, &[][..]),
        };
        self.rest = rest;
        line
    }

    /// The next line as text, whatever its bytes are.
    pub(crate) fn text(&mut self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.line())
    }

    /// The next line as a number; 0 when it is none.
    pub(crate) fn number(&mut self) -> u64 {
        self.text().trim().parse().unwrap_or(0)
    }

    /// The next line as the length of a list.
    pub(crate) fn length(&mut self, most: usize) -> usize {
        usize::try_from(self.number()).unwrap_or(usize::MAX).min(most)
    }

    /// The next line as a text that may be absent: `-` is none.
    pub(crate) fn optional(&mut self) -> Option<String> {
        Some(self.text().into_owned()).filter(|text| text != "-")
    }

    /// Whether the next line says so.
    pub(crate) fn flag(&mut self) -> bool {
        self.line() == b"yes"
    }

    /// All that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// All that is left, as text.
    pub(crate) fn rest_text(self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.rest)
    }

    /// All that is left up to a line that is `%%`, and what is behind it.
    pub(crate) fn parts(self) -> (&'a [u8], &'a [u8]) {
        const MARK: &[u8] = b"\n%%\n";
        match self.rest.windows(MARK.len()).position(|window| window == MARK) {
            Some(at) => (&self.rest[..at], &self.rest[at + MARK.len()..]),
            None => (self.rest, &[]),
        }
    }
}
