//! Secrets in what a server answers, however they are spelled there.
//!
//! A server that gives its request back writes it as its format wants it, and forms, JSON and XML escape different characters; so
//! do libraries of one format among each other. So each character of a secret may stand there as it is or escaped, whatever is
//! done to the others. What a server makes of a secret beyond that (a hash, Base64) is not found.

use std::fmt;
use std::ops::Range;

/// Names that XML and HTML have for characters.
const ENTITIES: [(&str, u8); 8] = [
    ("amp;", b'&'),
    ("lt;", b'<'),
    ("gt;", b'>'),
    ("quot;", b'"'),
    ("apos;", b'\''),
    ("plus;", b'+'),
    ("sol;", b'/'),
    ("equals;", b'='),
];

/// How often something is escaped over and over. Without a bound, an answer of nothing but `\` would take hours.
const MAX_TIMES: usize = 8;

/// What nobody but the host and the service may know.
pub(super) struct Secret(Vec<u8>);

impl Secret {
    /// Keeps it, to look for it.
    pub(super) fn new(secret: &str) -> Self {
        Self(secret.as_bytes().to_vec())
    }

    /// Whether it stands somewhere in there.
    pub(super) fn is_in(&self, bytes: &[u8]) -> bool {
        self.find(bytes, 0).is_some()
    }

    /// Where it stands first, from this place on.
    pub(super) fn find(&self, bytes: &[u8], from: usize) -> Option<Range<usize>> {
        let first = *self.0.first()?;
        let may_begin = |byte: u8| byte == first || matches!(byte, b'%' | b'\\' | b'&' | b'+');
        (from..bytes.len()).filter(|begin| may_begin(bytes[*begin])).find_map(|begin| Some(begin..self.end(bytes, begin)?))
    }

    /// Where it ends, if it begins here. An escape can also be the character itself, so that there may be several ways to read on.
    fn end(&self, bytes: &[u8], begin: usize) -> Option<usize> {
        let mut places = vec![begin];
        for wanted in &self.0 {
            let mut next = Vec::with_capacity(1);
            for place in places {
                spelled(&bytes[place..], *wanted, |length| next.push(place + length));
            }
            next.sort_unstable();
            next.dedup();
            if next.is_empty() {
                return None;
            }
            places = next;
        }
        places.last().copied()
    }
}

/// Tells the length of each spelling of this character that the text begins with. What was escaped twice or more counts too.
fn spelled(text: &[u8], wanted: u8, mut found: impl FnMut(usize)) {
    let Some(first) = text.first() else { return };
    if *first == wanted || (*first == b'+' && wanted == b' ') {
        found(1);
    }
    match first {
        b'%' => {
            let again = repeated(text, 1, b"25");
            (1..=again).step_by(2).filter(|begin| hex(text, *begin) == Some(wanted)).for_each(|begin| found(begin + 2));
        }
        b'\\' => {
            let begin = repeated(text, 1, b"\\");
            match text.get(begin) {
                Some(b'u') if text[begin + 1..].starts_with(b"00") && hex(text, begin + 3) == Some(wanted) => found(begin + 5),
                Some(b'x') if hex(text, begin + 1) == Some(wanted) => found(begin + 3),
                Some(byte) if *byte == wanted => found(begin + 1),
                _ => {}
            }
        }
        b'&' => {
            let again = repeated(text, 1, b"amp;");
            (1..=again).step_by(4).filter_map(|begin| entity(text, begin, wanted)).for_each(found);
        }
        _ => {}
    }
}

/// The place behind these bytes, which may stand there several times.
fn repeated(text: &[u8], begin: usize, bytes: &[u8]) -> usize {
    let times = text[begin..].chunks(bytes.len()).take(MAX_TIMES).take_while(|chunk| *chunk == bytes).count();
    begin + times * bytes.len()
}

/// The byte that two hexadecimal digits stand for.
fn hex(text: &[u8], begin: usize) -> Option<u8> {
    let digits = std::str::from_utf8(text.get(begin..begin + 2)?).ok()?;
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u8::from_str_radix(digits, 16).ok())?
}

/// The end of what stands behind a `&` for this character.
fn entity(text: &[u8], begin: usize, wanted: u8) -> Option<usize> {
    let rest = &text[begin..];
    if let Some((name, _)) = ENTITIES.iter().find(|(name, byte)| *byte == wanted && rest.starts_with(name.as_bytes())) {
        return Some(begin + name.len());
    }
    let number = rest.strip_prefix(b"#")?;
    let length = number.iter().take(10).position(|byte| *byte == b';')?;
    let digits = std::str::from_utf8(&number[..length]).ok()?;
    let value = match digits.strip_prefix(['x', 'X']) {
        Some(digits) => u32::from_str_radix(digits, 16).ok()?,
        None => digits.parse().ok()?,
    };
    (value == u32::from(wanted)).then_some(begin + 1 + length + 1)
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Secret").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn finds_every_spelling_whichever_characters_are_escaped() {
        for (secret, spellings) in [
            (
                "to/ken+a==",
                &[
                    "to/ken+a==",
                    "to%2Fken%2Ba%3D%3D",
                    "to%2fken%2ba%3d%3d",
                    // `quote` of Python keeps the `/`; others keep the `=`.
                    "to/ken%2Ba%3D%3D",
                    "to%2Fken%2Ba==",
                    "to%252Fken%252Ba%253D%253D",
                    "%74%6f/ken+a==",
                    "to\\/ken+a==",
                    "to\\\\/ken+a==",
                    // Gson escapes the `=` alone, .NET the `+` alone and in capitals.
                    "to/ken+a\\u003d\\u003d",
                    "to/ken\\u002Ba==",
                    "to/ken\\x2Ba==",
                    "to&#47;ken&#43;a&#61;&#61;",
                    "to&#x2f;ken&#x2B;a&#x03d;=",
                    "to&sol;ken&plus;a&equals;=",
                    "to/ken&amp;#43;a==",
                ][..],
            ),
            ("a b%\"<&c", &["a b%\"<&c", "a+b%25%22%3C%26c", "a%20b%\\\"<&c", "a b%&quot;&lt;&amp;c", "a b%&#34;&lt;&amp;amp;c"]),
            ("a%25b\\c", &["a%25b\\c", "a%2525b%5Cc", "a%25b\\\\c"]),
        ] {
            for spelling in spellings {
                assert!(Secret::new(secret).is_in(format!("x%&\\{spelling}y").as_bytes()), "{spelling}");
                assert_eq!(Secret::new(secret).find(spelling.as_bytes(), 0), Some(0..spelling.len()), "{spelling}");
            }
        }
    }

    #[test]
    fn no_answer_takes_long_to_look_through() {
        let begin = std::time::Instant::now();
        for piece in ["\\", "%25", "&amp;", "&#", "t", "+"] {
            let text = piece.repeat((1 << 20) / piece.len());
            assert!(!Secret::new("to/ken+").is_in(text.as_bytes()), "{piece}");
        }
        assert!(begin.elapsed() < std::time::Duration::from_secs(30), "{:?}", begin.elapsed());
    }

    #[test]
    fn finds_nothing_else() {
        let secret = Secret::new("to/ken+");
        for text in
            ["", "to/ken", "to/ken ", "to%2Gken+", "to%2", "to&#47ken+", "to&#", "to\\u002", "TO/KEN+", "to\\", "t%6", "日本%"]
        {
            assert!(!secret.is_in(text.as_bytes()), "{text}");
        }
        assert!(!Secret::new("").is_in(b"anything"));
    }
}
