//! A position in the write-ahead log.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Byte position in the WAL of a cluster, written `X/Y` in hexadecimal as PostgreSQL does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lsn(pub u64);

/// A text that is no position.
#[derive(Debug, Error)]
#[error("`{0}` is not a WAL position: it has the form `16/B374D848`")]
pub struct InvalidLsn(pub String);

impl fmt::Display for Lsn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl FromStr for Lsn {
    type Err = InvalidLsn;

    fn from_str(text: &str) -> Result<Self, InvalidLsn> {
        let half = |digits: &str| {
            let legal = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            legal.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
        };
        text.split_once('/')
            .and_then(|(high, low)| Some(Self(half(high)? << 32 | half(low)?)))
            .ok_or_else(|| InvalidLsn(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Lsn;

    proptest! {
        #[test]
        fn survives_text(position: u64) {
            prop_assert_eq!(Lsn(position).to_string().parse::<Lsn>().unwrap(), Lsn(position));
        }

        #[test]
        fn never_panics_on_text(text: String) {
            let _ = text.parse::<Lsn>();
        }
    }

    #[test]
    fn refuses_what_postgresql_refuses() {
        for text in ["", "/", "0", "0/", "/0", "0/G", "123456789/0", "0/123456789", "+1/0", " 0/0"] {
            assert!(text.parse::<Lsn>().is_err(), "{text:?}");
        }
    }
}
