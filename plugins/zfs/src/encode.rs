//! Values of user properties: percent-encoded, so that what `zfs` prints has no tab, line break or separator of ours in it.

/// Encodes every byte but letters, digits and a few harmless signs.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'/' | b'+' | b'@') {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.extend([byte >> 4, byte & 15].map(|digit| char::from(b"0123456789ABCDEF"[usize::from(digit)])));
        }
    }
    encoded
}

/// Decodes; none for what was not encoded here.
pub(crate) fn decode(encoded: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some(percent) = rest.find('%') {
        bytes.extend_from_slice(&rest.as_bytes()[..percent]);
        let digits = rest.get(percent + 1..percent + 3)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[percent + 3..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn any_text_comes_back_and_nothing_that_separates_is_left() {
        let strange = "a b\tc\nd\"e'f=g,h%i\\Größe \u{1f600}\u{0}";
        let encoded = encode(strange);
        assert_eq!(decode(&encoded).as_deref(), Some(strange));
        assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic() && !b"=,'\"\\".contains(&byte)), "{encoded}");
        assert_eq!(encode("/15/main"), "/15/main");
        assert_eq!(decode(""), Some(String::new()));
    }

    #[test]
    fn what_was_not_encoded_here_is_refused() {
        for text in ["%", "%4", "%zz", "%+1", "%FF", "a%"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
