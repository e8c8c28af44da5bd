//! Reading a pattern, with the values of the provider's keys in it.

use stillframe_core::text::is_dangerous;

use super::class::Names;
use super::{MAX_PATH_BYTES, Pattern, Piece, Times};
use crate::policy::{Keys, PolicyError};

/// Bytes of a pattern's text.
const MAX_PATTERN_BYTES: usize = 4_096;

/// Placeholders, for an error.
const KNOWN: &str = "`{name}`, `{number}`, `{text}`, `{one:a|b}`, `{below:/directory}` and `{under:name}`";

impl Pattern {
    /// Reads a pattern that stands at this place of a policy.
    pub fn parse(text: &str, place: &str, keys: &Keys<'_>) -> Result<Self, PolicyError> {
        let wrong = |reason: String| PolicyError::rule(place, format!("in the pattern `{text}`: {reason}"));
        if text.len() > MAX_PATTERN_BYTES || text.chars().any(is_dangerous) {
            return Err(PolicyError::rule(place, format!("a pattern is printable and has at most {MAX_PATTERN_BYTES} bytes")));
        }
        let (body, times) = times(text);
        if body.is_empty() {
            return Err(wrong("it describes no argument; write its text, or a placeholder".to_owned()));
        }
        let mut pieces = Vec::new();
        let mut rest = body;
        while !rest.is_empty() {
            let (literal, placeholder, behind) = split(rest).map_err(&wrong)?;
            if !literal.is_empty() {
                pieces.push(Piece::Literal(literal.to_owned()));
            }
            if let Some(placeholder) = placeholder {
                pieces.push(piece(placeholder, &pieces, keys, &wrong)?);
            }
            rest = behind;
        }
        Ok(Self { pieces, times })
    }
}

/// The suffix that says how often, taken off.
fn times(text: &str) -> (&str, Times) {
    if let Some(body) = text.strip_suffix("...?") {
        (body, Times::Any)
    } else if let Some(body) = text.strip_suffix("...") {
        (body, Times::Some)
    } else if let Some(body) = text.strip_suffix('?') {
        (body, Times::Optional)
    } else {
        (text, Times::Once)
    }
}

/// The text before the next placeholder, its content, and what is behind.
fn split(text: &str) -> Result<(&str, Option<&str>, &str), String> {
    let (literal, placeholder) = match text.split_once('{') {
        None => (text, None),
        Some((literal, rest)) => (literal, Some(rest)),
    };
    if literal.contains('}') {
        return Err("a `}` closes what nothing has opened; braces enclose a placeholder and cannot be text".to_owned());
    }
    let Some(rest) = placeholder else { return Ok((literal, None, "")) };
    match rest.split_once('}') {
        Some((content, behind)) if !content.contains('{') => Ok((literal, Some(content), behind)),
        _ => Err("a `{` is not closed by `}`".to_owned()),
    }
}

fn piece(content: &str, before: &[Piece], keys: &Keys<'_>, wrong: &impl Fn(String) -> PolicyError) -> Result<Piece, PolicyError> {
    let (name, argument) = content.split_once(':').map_or((content, None), |(name, argument)| (name, Some(argument)));
    match (name, argument) {
        ("name", None) => Ok(Piece::Name),
        ("number", None) => Ok(Piece::Number),
        // `..` is a text too.
        ("text", None) if before.iter().any(is_path) => Err(wrong(
            "`{text}` could lead out of the path that stands before it; write `{name}`, `{below:/directory}` or `{under:name}`"
                .to_owned(),
        )),
        // Alone, or behind hyphens, it could be any option of the program.
        ("text", None) if before.iter().any(is_word) => Ok(Piece::Text),
        ("text", None) => Err(wrong("`{text}` stands only behind text that does not consist of `-` alone".to_owned())),
        ("one", Some(argument)) => one(argument, keys, wrong).map(Piece::One),
        ("below", Some(argument)) => below(argument, keys, wrong).map(Piece::Below),
        ("under", Some(argument)) => under(argument, keys, wrong).map(Piece::Under),
        _ => Err(wrong(format!("there is no placeholder `{{{content}}}`; there are {KNOWN}"))),
    }
}

fn is_word(piece: &Piece) -> bool {
    matches!(piece, Piece::Literal(text) if text.chars().any(|character| character != '-'))
}

/// Whether it is a path, a hierarchical name or the beginning of one.
fn is_path(piece: &Piece) -> bool {
    match piece {
        Piece::Literal(text) => text.contains('/'),
        Piece::One(texts) => texts.iter().any(|text| text.contains('/')),
        Piece::Below(_) | Piece::Under(_) => true,
        Piece::Name | Piece::Number | Piece::Text => false,
    }
}

fn one(argument: &str, keys: &Keys<'_>, wrong: &impl Fn(String) -> PolicyError) -> Result<Vec<String>, PolicyError> {
    let mut texts = Vec::new();
    for text in argument.split('|') {
        if text.is_empty() {
            return Err(wrong("`{one:...}` has an empty alternative".to_owned()));
        }
        texts.extend(keys.list(text, "the policy allows nothing without it")?);
    }
    Ok(texts)
}

fn below(argument: &str, keys: &Keys<'_>, wrong: &impl Fn(String) -> PolicyError) -> Result<Vec<String>, PolicyError> {
    let legal = |path: &str| path == "/" || path.strip_prefix('/').is_some_and(|rest| Names::paths(MAX_PATH_BYTES).is_name(rest));
    let paths = values(argument, keys, wrong, "an absolute path without `.`, `..` and empty parts", legal)?;
    // The root's own `/` begins what is below it.
    Ok(paths.into_iter().map(|path| if path == "/" { String::new() } else { path }).collect())
}

fn under(argument: &str, keys: &Keys<'_>, wrong: &impl Fn(String) -> PolicyError) -> Result<Vec<String>, PolicyError> {
    let rules = Names::parts(MAX_PATH_BYTES);
    let wanted = "a name of letters, digits, `_`, `.`, `:` and `-`, with `/` between its parts, none of which begins with `-`";
    values(argument, keys, wrong, wanted, |name| rules.is_name(name))
}

/// The values of a placeholder's argument, each of which must be as it is wanted.
fn values(
    argument: &str,
    keys: &Keys<'_>,
    wrong: &impl Fn(String) -> PolicyError,
    wanted: &str,
    legal: impl Fn(&str) -> bool,
) -> Result<Vec<String>, PolicyError> {
    let values = keys.list(argument, &format!("set it to {wanted}, or to a list of them"))?;
    match values.iter().find(|value| !legal(value)) {
        None => Ok(values),
        Some(value) => Err(match Keys::reference(argument) {
            Some(key) => PolicyError::key(key, format!("`{value}` is not {wanted}")),
            None => wrong(format!("`{value}` is not {wanted}")),
        }),
    }
}
