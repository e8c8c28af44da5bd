//! Bytes as lower-case hexadecimal digits, two for each.

use std::fmt::Write;

/// Writes the digits.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads any number of bytes.
pub(crate) fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    text.as_bytes().chunks(2).map(|pair| from_hex::<1>(std::str::from_utf8(pair).ok()?).map(|[byte]| byte)).collect()
}

/// Reads exactly so many bytes.
pub(crate) fn from_hex<const LENGTH: usize>(text: &str) -> Option<[u8; LENGTH]> {
    let is_legal = text.len() == 2 * LENGTH && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let mut bytes = [0; LENGTH];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = is_legal.then(|| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()).flatten()?;
    }
    Some(bytes)
}
