//! Patterns for one argument: literal text with placeholders.
//!
//! Matching walks an argument once per piece of the pattern, with the set of all places that the pieces before can end at. So it
//! takes time in proportion to the argument, whatever a provider puts there, and decides about every way to read it at once.

mod class;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;

use class::{Names, Places};

/// How often a pattern may match arguments that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Times {
    /// Exactly once.
    Once,
    /// `?`: once or not at all.
    Optional,
    /// `...`: once or more often.
    Some,
    /// `...?`: any number of times, none included.
    Any,
}

/// One argument, and how often it may stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    pieces: Vec<Piece>,
    pub(crate) times: Times,
}

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// This text.
    Literal(String),
    /// `{name}`
    Name,
    /// `{number}`
    Number,
    /// `{text}`
    Text,
    /// `{one:a|b}`
    One(Vec<String>),
    /// `{below:/dir}`: an absolute path strictly below one of these.
    Below(Vec<String>),
    /// `{under:tank/pg}`: one of these names, or a name below one.
    Under(Vec<String>),
}

/// Bytes of `{name}`.
const MAX_NAME_BYTES: usize = 128;

/// Bytes of `{number}`: as many digits as a 64-bit number has.
const MAX_NUMBER_BYTES: usize = 20;

/// Bytes of `{text}`.
const MAX_TEXT_BYTES: usize = 4_096;

/// Bytes of a path or of a hierarchical name.
const MAX_PATH_BYTES: usize = 4_096;

impl Pattern {
    /// Whether there is any argument that it describes.
    pub(crate) fn can_match(&self) -> bool {
        !self
            .pieces
            .iter()
            .any(|piece| matches!(piece, Piece::One(texts) | Piece::Below(texts) | Piece::Under(texts) if texts.is_empty()))
    }

    /// Whether the pattern describes the whole of this argument.
    #[must_use]
    pub fn matches(&self, argument: &str) -> bool {
        let mut places = Places::at_the_begin(argument);
        for piece in &self.pieces {
            places = piece.step(argument, &places);
            if places.is_empty() {
                return false;
            }
        }
        places.has(argument.len())
    }
}

impl Piece {
    /// The places at which this piece can end, if it begins at one of these.
    fn step(&self, argument: &str, from: &Places) -> Places {
        match self {
            Self::Literal(text) => class::literals(argument, from, std::slice::from_ref(text)),
            Self::One(texts) => class::literals(argument, from, texts),
            Self::Name => class::run(argument, from, 1..=MAX_NAME_BYTES, class::begins_name, class::is_in_name),
            Self::Number => class::run(argument, from, 1..=MAX_NUMBER_BYTES, class::is_digit, class::is_digit),
            Self::Text => class::run(argument, from, 0..=MAX_TEXT_BYTES, class::is_printable, class::is_printable),
            Self::Below(roots) => class::names(argument, from, roots, &Names::paths(MAX_PATH_BYTES)),
            Self::Under(roots) => class::names(argument, from, roots, &Names::parts(MAX_PATH_BYTES)),
        }
    }
}

impl fmt::Display for Pattern {
    /// As a person reads it: `-ostillframe:<name>=<text>…`; what may be left out stands in brackets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pieces: String = self.pieces.iter().map(Piece::words).collect();
        match self.times {
            Times::Once => formatter.write_str(&pieces),
            Times::Optional => write!(formatter, "[{pieces}]"),
            Times::Some => write!(formatter, "{pieces}…"),
            Times::Any => write!(formatter, "[{pieces}…]"),
        }
    }
}

impl Piece {
    fn words(&self) -> String {
        match self {
            Self::Literal(text) => text.clone(),
            Self::Name => "<name>".to_owned(),
            Self::Number => "<number>".to_owned(),
            Self::Text => "<text>".to_owned(),
            Self::One(texts) => format!("<{}>", texts.join("|")),
            Self::Below(roots) if roots.iter().any(String::is_empty) => "<path>".to_owned(),
            Self::Below(roots) => format!("<path below {}>", roots.join(" or ")),
            Self::Under(roots) => format!("<{} or below>", roots.join(" or ")),
        }
    }
}
