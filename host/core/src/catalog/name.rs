//! The name of a backup.
//!
//! Sortable by time, unique, and legal as a ZFS snapshot, an LVM volume, an EC2 tag and an object key. Never derived from a WAL
//! position: two backups of a standby can have the same one. The letters between the digits keep it free of any run of 24
//! hexadecimal digits, which WAL-G would take for a segment.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Digits of the random part: Crockford's, in lower case.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Length of the random part: 40 bits.
const RANDOM_LEN: usize = 8;

/// Name of a backup: `sf-20261121T083214Z-9k3m2p7x`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupName(String);

impl BackupName {
    /// Makes a name from the moment and 5 random bytes.
    #[must_use]
    pub fn new(now: Timestamp, random: [u8; 5]) -> Self {
        let moment = now.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
        let bits = random.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
        let digits: String = (0..RANDOM_LEN)
            .rev()
            .map(|place| char::from(ALPHABET[usize::try_from(bits >> (place * 5) & 31).unwrap_or(0)]))
            .collect();
        Self(format!("sf-{moment}-{digits}"))
    }

    /// The moment that it was made of; none when its digits are no date.
    #[must_use]
    pub fn moment(&self) -> Option<Timestamp> {
        let text = self.0.split('-').nth(1)?;
        Some(DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is no name of a backup.
#[derive(Debug, Error)]
#[error("`{0}` is not the name of a backup: they look like `sf-20261121T083214Z-9k3m2p7x`")]
pub struct InvalidBackupName(pub String);

impl FromStr for BackupName {
    type Err = InvalidBackupName;

    fn from_str(text: &str) -> Result<Self, InvalidBackupName> {
        if is_legal(text) { Ok(Self(text.to_owned())) } else { Err(InvalidBackupName(text.to_owned())) }
    }
}

impl TryFrom<String> for BackupName {
    type Error = InvalidBackupName;

    fn try_from(text: String) -> Result<Self, InvalidBackupName> {
        text.parse()
    }
}

impl From<BackupName> for String {
    fn from(name: BackupName) -> Self {
        name.0
    }
}

impl fmt::Display for BackupName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn is_legal(text: &str) -> bool {
    let mut parts = text.split('-');
    let (prefix, moment, random) = (parts.next(), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let digits_at =
        |range: std::ops::Range<usize>| moment.get(range).is_some_and(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    prefix == Some("sf")
        && parts.next().is_none()
        && moment.len() == 16
        && digits_at(0..8)
        && moment.get(8..9) == Some("T")
        && digits_at(9..15)
        && moment.ends_with('Z')
        && random.len() == RANDOM_LEN
        && random.bytes().all(|byte| ALPHABET.contains(&byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::BackupName;

    proptest! {
        #[test]
        fn every_name_can_be_read_back_and_sorts_by_time(seconds in 0i64..4_000_000_000, later in 1i64..1_000_000, random: [u8; 5]) {
            let name = BackupName::new(jiff::Timestamp::from_second(seconds).unwrap(), random);
            prop_assert_eq!(name.as_str().parse::<BackupName>().unwrap(), name.clone());
            prop_assert_eq!(name.moment().map(jiff::Timestamp::as_second), Some(seconds));
            prop_assert!(name < BackupName::new(jiff::Timestamp::from_second(seconds + later).unwrap(), [0; 5]));
        }

        #[test]
        fn never_panics_on_a_name(text: String) {
            let _ = text.parse::<BackupName>().map(|name| name.moment());
        }
    }

    #[test]
    fn holds_no_run_of_24_hexadecimal_digits() {
        let name = BackupName::new(jiff::Timestamp::from_second(1_795_250_000).unwrap(), [0xFF; 5]);
        let longest = name.as_str().split(|letter: char| !letter.is_ascii_hexdigit()).map(str::len).max();
        assert!(longest < Some(24), "{name}");
    }
}
