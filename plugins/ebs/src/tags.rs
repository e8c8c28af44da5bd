//! Text as tags.
//!
//! EC2 takes 50 tags with keys of 128 and values of 256 characters, of which every AWS service takes letters, digits, blanks and
//! `+ - = . _ : / @`. Everything else is written as `=` with two hexadecimal digits, a text that is too long goes on in
//! `key+2`, `key+3`: nothing is dropped. What is encoded has no character that means something in a filter.

use std::collections::BTreeMap;

use stillframe_sdk::{Error, invalid};

/// Tags of one object.
pub(crate) const MAX_TAGS: usize = 50;

const MAX_KEY_BYTES: usize = 128;
const MAX_VALUE_BYTES: usize = 256;

/// Which punctuation stays as it is in a value.
pub(crate) const IN_VALUE: &[u8] = b" +-._:/@";

/// Which stays in a field of a list: not the separators.
pub(crate) const IN_FIELD: &[u8] = b"-._/@";

/// Which stays in a key: not what separates a key's parts.
const IN_KEY: &[u8] = b"-._/@";

/// Writes a text with letters, digits and this punctuation only.
pub(crate) fn encode(text: &str, keep: &[u8]) -> String {
    let last = text.len().saturating_sub(1);
    let mut encoded = String::with_capacity(text.len());
    for (index, byte) in text.bytes().enumerate() {
        // A blank at an edge is lost by one tool or another.
        let at_edge = byte == b' ' && (index == 0 || index == last);
        if byte.is_ascii_alphanumeric() || keep.contains(&byte) && !at_edge {
            encoded.push(char::from(byte));
        } else {
            encoded.push('=');
            encoded.extend([byte >> 4, byte & 15].map(|digit| char::from(b"0123456789ABCDEF"[usize::from(digit)])));
        }
    }
    encoded
}

/// Reads what [`encode`] wrote; none when it is something else.
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        if *byte == b'=' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            decoded.push(u8::from_str_radix(digits, 16).ok()?);
            rest = tail.get(2..)?;
        } else {
            decoded.push(*byte);
            rest = tail;
        }
    }
    String::from_utf8(decoded).ok()
}

/// The key of a label. Stillframe's own keep their names, others get a prefix, so that the operator's tags are not taken for them.
pub(crate) fn label_key(label: &str) -> String {
    let encoded = encode(label, IN_KEY);
    if label.starts_with("stillframe-") { encoded } else { format!("stillframe-label:{encoded}") }
}

/// The labels among the tags.
pub(crate) fn labels(tags: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let label = |key: &String| {
        let encoded = key.strip_prefix("stillframe-label:").or_else(|| key.starts_with("stillframe-").then_some(key.as_str()))?;
        // What is continued is read with its beginning.
        (!encoded.contains('+')).then_some(())?;
        Some((decode(encoded)?, decode(&take(tags, key)?)?))
    };
    tags.keys().filter_map(label).collect()
}

/// Adds an encoded text, in as many tags as it needs.
pub(crate) fn put(tags: &mut Vec<(String, String)>, key: &str, encoded: &str) -> Result<(), Error> {
    if key.len() > MAX_KEY_BYTES - "+99".len() {
        return Err(invalid("labels", format!("`{key}` is too long for the key of a tag")));
    }
    let mut rest = encoded;
    for number in 1.. {
        let (value, tail) = rest.split_at(cut_at(rest));
        tags.push((if number == 1 { key.to_owned() } else { format!("{key}+{number}") }, value.to_owned()));
        rest = tail;
        if rest.is_empty() {
            break;
        }
    }
    Ok(())
}

/// Where a value ends: before its limit, and not beside a blank. It is ASCII, so every place is a boundary.
fn cut_at(text: &str) -> usize {
    if text.len() <= MAX_VALUE_BYTES {
        return text.len();
    }
    let is_blank = |index: usize| text.as_bytes().get(index) == Some(&b' ');
    (1..=MAX_VALUE_BYTES).rev().find(|end| !is_blank(end - 1) && !is_blank(*end)).unwrap_or(MAX_VALUE_BYTES)
}

/// The encoded text of a key, put together again.
pub(crate) fn take(tags: &BTreeMap<String, String>, key: &str) -> Option<String> {
    let mut text = tags.get(key)?.clone();
    for number in 2..=MAX_TAGS {
        let Some(more) = tags.get(&format!("{key}+{number}")) else { break };
        text.push_str(more);
    }
    Some(text)
}

/// The value that a filter on this key must have to find the text: filters see single tags.
pub(crate) fn filter_value(encoded: &str) -> &str {
    encoded.split_at(cut_at(encoded)).0
}
