//! Facts as tags of a logical volume.
//!
//! A tag is `stillframe.<key>=<value>`, of letters, digits and `_+.-/=!:#&`, at most 1,024 bytes. A byte that is not plain is
//! written `!XX`; a list of pairs is written `name=value&name` (the second without a value); what is too long for one tag goes on
//! in `stillframe.<key>#1=` and so on. Nothing is dropped, and `lvs -o lv_tags` can be read by a person.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What every tag of ours begins with.
pub(crate) const PREFIX: &str = "stillframe.";

/// Most bytes of a value in one tag: the prefix, the longest key and a number fit beside it into 1,024.
const MAX_VALUE_BYTES: usize = 900;

/// The tags of a fact.
pub(crate) fn text(key: &str, value: &str) -> Vec<String> {
    chunks(key, &escape(value))
}

/// The tags of a list of pairs, none of which has an empty name.
pub(crate) fn pairs<'a>(key: &str, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let pair = |(name, value)| match escape(value) {
        value if value.is_empty() => escape(name),
        value => format!("{}={value}", escape(name)),
    };
    let joined: Vec<String> = pairs.map(pair).collect();
    chunks(key, &joined.join("&"))
}

fn chunks(key: &str, value: &str) -> Vec<String> {
    if value.is_empty() {
        return vec![format!("{PREFIX}{key}=")];
    }
    // Escaped text is ASCII, so that every place is the border of a character.
    let parts = value.as_bytes().chunks(MAX_VALUE_BYTES).map(String::from_utf8_lossy);
    let tag = |(number, part)| if number == 0 { format!("{PREFIX}{key}={part}") } else { format!("{PREFIX}{key}#{number}={part}") };
    parts.enumerate().map(tag).collect()
}

/// The facts that the tags of a volume tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Facts(BTreeMap<String, String>);

impl Facts {
    /// Reads the tags that are ours, whatever others there are.
    pub(crate) fn of(tags: &[String]) -> Self {
        let ours = tags.iter().filter_map(|tag| tag.strip_prefix(PREFIX)?.split_once('='));
        Self(ours.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    /// A fact; none when it is not there or was not written by this module.
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        unescape(&self.joined(key)?)
    }

    /// A number.
    pub(crate) fn number<N: std::str::FromStr>(&self, key: &str) -> Option<N> {
        self.text(key)?.parse().ok()
    }

    /// A list of pairs.
    pub(crate) fn pairs(&self, key: &str) -> Option<Vec<(String, String)>> {
        let joined = self.joined(key)?;
        let pair = |text: &str| {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            Some((unescape(name)?, unescape(value)?))
        };
        joined.split('&').filter(|text| !text.is_empty()).map(pair).collect()
    }

    fn joined(&self, key: &str) -> Option<String> {
        let mut joined = self.0.get(key)?.clone();
        for part in (1..).map_while(|number| self.0.get(&format!("{key}#{number}"))) {
            joined.push_str(part);
        }
        Some(joined)
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"_+.-/:".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "!{byte:02X}");
        }
    }
    escaped
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        if *first == b'!' {
            let (hex, behind) = behind.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
            rest = behind;
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::{Facts, pairs, text};

    /// By `lvm(8)`.
    fn is_legal(tag: &str) -> bool {
        tag.len() <= 1_024 && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+.-/=!:#&".contains(&byte))
    }

    #[test]
    fn every_text_comes_back_as_it_was() {
        let long = "/ä b=c&d#e!f%".repeat(400);
        for value in ["", "plain", "!", "!20", "a,b", "=", "#1=x", "\u{1F600}\n", long.as_str()] {
            let tags = text("key", value);
            assert!(tags.iter().all(|tag| is_legal(tag)), "{tags:?}");
            assert_eq!(Facts::of(&tags).text("key").as_deref(), Some(value));
        }
        assert!(text("key", &long).len() > 5);
    }

    #[test]
    fn pairs_come_back_in_their_order() {
        let long = "&=".repeat(600);
        let list = [("b", "1"), ("a=&", "!"), ("e", ""), ("c", long.as_str())];
        let tags = pairs("labels", list.into_iter());
        assert!(tags.iter().all(|tag| is_legal(tag)), "{tags:?}");
        let read = Facts::of(&tags).pairs("labels").unwrap();
        assert_eq!(read, list.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(Facts::of(&pairs("labels", std::iter::empty())).pairs("labels"), Some(Vec::new()));
    }

    #[test]
    fn what_is_damaged_is_no_fact() {
        let facts = |tag: &str| Facts::of(&[tag.to_owned()]);
        for tag in ["stillframe.key=!", "stillframe.key=!G0", "stillframe.key=!FF", "other.key=x", "stillframe.key"] {
            assert_eq!(facts(tag).text("key"), None, "{tag}");
        }
        assert_eq!(facts("stillframe.list=a&b=!").pairs("list"), None);
    }
}
