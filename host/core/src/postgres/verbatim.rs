//! Bytes in JSON as they are: text where they are UTF-8, so that a person can read them, and hexadecimal digits where not.

use serde::{Deserialize, Serialize};

use crate::hex::to_hex;

/// The stored form of a file's contents: `"text"` or `{"hex": "00ff"}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(super) enum Verbatim {
    Text(String),
    Binary { hex: String },
}

impl From<Vec<u8>> for Verbatim {
    fn from(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(|error| Self::Binary { hex: to_hex(error.as_bytes()) }, Self::Text)
    }
}

impl TryFrom<Verbatim> for Vec<u8> {
    type Error = String;

    fn try_from(stored: Verbatim) -> Result<Self, String> {
        match stored {
            Verbatim::Text(text) => Ok(text.into_bytes()),
            Verbatim::Binary { hex } => from_hex(&hex).ok_or_else(|| "`hex` holds something else than pairs of digits".to_owned()),
        }
    }
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_byte_survives_json(bytes: Vec<u8>) {
            let json = serde_json::to_string(&Verbatim::from(bytes.clone())).unwrap();
            let read: Verbatim = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(Vec::try_from(read).unwrap(), bytes);
        }
    }

    #[test]
    fn text_stays_readable_and_wrong_digits_are_refused() {
        assert_eq!(serde_json::to_string(&Verbatim::from(b"LABEL: \xC3\xA4\n".to_vec())).unwrap(), "\"LABEL: ä\\n\"");
        for hex in ["0", "0g", "+1"] {
            assert!(Vec::try_from(Verbatim::Binary { hex: hex.to_owned() }).is_err(), "{hex:?}");
        }
    }
}
