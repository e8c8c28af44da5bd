//! JSON records with a format version and a checksum: how every object of the catalog is written and read.
//!
//! A bit that flips in a position or in a handle leaves a record that can be read and is not true: WAL that it needs would go, or
//! its snapshot be missed. The checksum is the last member, and of all that stands before it. Records from before there was one
//! have none.

use std::borrow::Cow;

use bytes::Bytes;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::{CatalogError, FORMAT_VERSION};
use crate::store::Key;

/// What stands before the checksum, and behind it.
const AROUND_CHECKSUM: (&str, &str) = (",\n  \"checksum\": \"", "\"\n}\n");

/// Digits of a checksum.
const CHECKSUM_DIGITS: usize = 8;

/// How a record ends without one.
const END: &str = "\n}";

/// The one field that every version of every record has.
#[derive(Deserialize)]
struct Versioned {
    format_version: u32,
    checksum: Option<IgnoredAny>,
}

/// Renders a record, indented: an operator may have to read it in an emergency.
pub(super) fn to_bytes<T: Serialize>(key: &Key, record: &T) -> Result<Bytes, CatalogError> {
    let mut text = serde_json::to_vec_pretty(record).map_err(|source| CatalogError::Malformed { key: key.clone(), source })?;
    // No record is without members.
    text.truncate(text.len() - END.len());
    let checksum = checksum(&text);
    text.extend([AROUND_CHECKSUM.0, &checksum, AROUND_CHECKSUM.1].concat().bytes());
    Ok(text.into())
}

/// CRC-32C, in hexadecimal digits: it is for accidents, and finds every one that changes up to four bytes in a row.
fn checksum(content: &[u8]) -> String {
    format!("{:08x}", crc32c::crc32c(content))
}

fn changed(key: &Key) -> CatalogError {
    CatalogError::Inconsistent { key: key.clone(), reason: "its content is not that of its checksum".to_owned() }
}

/// Reads a record of a kind that has had one form so far.
pub(super) fn from_bytes<T: DeserializeOwned>(key: &Key, body: &[u8]) -> Result<T, CatalogError> {
    let (_, body) = opened(key, body, FORMAT_VERSION)?;
    serde_json::from_slice(&body).map_err(|source| CatalogError::Malformed { key: key.clone(), source })
}

/// Reads a record of a kind whose form has changed: `upgrade` makes the newest form of an older one.
pub(super) fn from_older_bytes<T: DeserializeOwned>(
    key: &Key,
    body: &[u8],
    newest: u32,
    upgrade: impl FnOnce(u32, &mut serde_json::Map<String, serde_json::Value>),
) -> Result<T, CatalogError> {
    let (found, body) = opened(key, body, newest)?;
    let malformed = |source| CatalogError::Malformed { key: key.clone(), source };
    if found == newest {
        return serde_json::from_slice(&body).map_err(malformed);
    }
    let mut record = serde_json::from_slice(&body).map_err(malformed)?;
    upgrade(found, &mut record);
    serde_json::from_value(record.into()).map_err(malformed)
}

/// The version of a record, and the record without its checksum, once that was compared.
///
/// The version is looked at first: a newer record may have any other shape.
fn opened<'a>(key: &Key, body: &'a [u8], newest: u32) -> Result<(u32, Cow<'a, [u8]>), CatalogError> {
    let versioned: Versioned =
        serde_json::from_slice(body).map_err(|source| CatalogError::Malformed { key: key.clone(), source })?;
    let found = versioned.format_version;
    if !(1..=newest).contains(&found) {
        return Err(CatalogError::UnknownVersion { key: key.clone(), found, newest });
    }
    match sealed(body) {
        Some((content, told)) if told == checksum(content).as_bytes() => {
            Ok((found, Cow::Owned([content, END.as_bytes()].concat())))
        }
        Some(_) => Err(changed(key)),
        // Whoever changed the form of the record left the checksum of what it was.
        None if versioned.checksum.is_some() => Err(changed(key)),
        None => Ok((found, Cow::Borrowed(body))),
    }
}

/// What stands before the checksum, and the checksum; none where there is none in our form.
fn sealed(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (before, behind) = AROUND_CHECKSUM;
    let rest = body.strip_suffix(behind.as_bytes())?;
    let (rest, told) = rest.split_at_checked(rest.len().checked_sub(CHECKSUM_DIGITS)?)?;
    Some((rest.strip_suffix(before.as_bytes())?, told))
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::{from_bytes, to_bytes};
    use crate::catalog::CatalogError;
    use crate::store::Key;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Record {
        format_version: u32,
        position: u64,
        note: String,
    }

    fn read(body: &[u8]) -> Result<Record, CatalogError> {
        from_bytes(&Key::parse("main/record.json").unwrap(), body)
    }

    #[test]
    fn no_record_is_read_in_which_one_bit_is_not_as_it_was_written() {
        let record = Record { format_version: 1, position: 1_234_567, note: "on \"db1\"".to_owned() };
        let body = to_bytes(&Key::parse("main/record.json").unwrap(), &record).unwrap();
        assert_eq!(read(&body).unwrap(), record);
        for at in 0..body.len() {
            for bit in 0..8 {
                let mut flipped = body.to_vec();
                flipped[at] ^= 1 << bit;
                assert!(read(&flipped).is_err(), "bit {bit} of byte {at}: {}", String::from_utf8_lossy(&flipped));
            }
            assert!(read(&body[..at]).is_err(), "cut after {at} bytes");
        }
    }

    #[test]
    fn a_record_from_before_there_were_checksums_is_read_and_one_that_was_changed_since_is_not() {
        let text = r#"{"format_version": 1, "position": 7, "note": ""}"#;
        assert_eq!(read(text.as_bytes()).unwrap().position, 7);
        let reformatted = text.replace("\"note\"", "\"checksum\": \"00\", \"note\"");
        assert!(matches!(read(reformatted.as_bytes()), Err(CatalogError::Inconsistent { .. })));
    }
}
