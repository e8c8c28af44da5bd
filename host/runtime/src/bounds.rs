//! How large and of what form the parts of an answer may be.
//!
//! An identifier that breaks a bound makes the whole answer a bad one: it will be stored, compared and given back. Text for people
//! is cut and escaped instead: a long explanation must not hide the error that it explains.

use std::collections::BTreeMap;

use jiff::Timestamp;
use stillframe_core::provider::{Labels, ProviderFault};
use stillframe_core::text::is_dangerous;

use crate::text::clean;

/// Bytes of a handle; the WIT says so.
pub(crate) const MAX_HANDLE_BYTES: usize = 1_024;

/// Bytes of a token, a name, or an id that a storage system gives: an ARN has up to 2,048, everything else less than 300.
pub(crate) const MAX_ID_BYTES: usize = 2_048;

/// Bytes of a cursor.
pub(crate) const MAX_CURSOR_BYTES: usize = 4_096;

/// Bytes of a path.
pub(crate) const MAX_PATH_BYTES: usize = 4_096;

/// Volumes of one set.
pub(crate) const MAX_MEMBERS: usize = 1_000;

/// Sets on one page; the WIT says so.
pub(crate) const MAX_PAGE_SETS: usize = 100;

/// Pages of one listing: 100,000 sets, more than any storage system keeps of one volume.
pub(crate) const MAX_PAGES: usize = 1_000;

/// Bytes of one listing: as many sets as there may be, each with a passport. A page is small, and a thousand are not.
pub(crate) const MAX_LISTING_BYTES: usize = 256 << 20;

/// Warnings of one check.
pub(crate) const MAX_WARNINGS: usize = 100;

/// Bytes of a JSON Schema.
pub(crate) const MAX_SCHEMA_BYTES: usize = 256 << 10;

/// Capabilities that a provider explains: there are four, and a later version may have more.
pub(crate) const MAX_NEEDS: usize = 16;

/// Pairs, bytes of a key and bytes of a value of labels; the WIT says so.
const MAX_LABELS: usize = 40;
const MAX_LABEL_KEY_BYTES: usize = 128;
const MAX_LABEL_VALUE_BYTES: usize = 256;

/// Bytes of a text for people.
const MAX_WORDS_BYTES: usize = 4 << 10;

/// Bytes of a value that an error quotes.
const MAX_QUOTED_BYTES: usize = 80;

/// A fault of the answer.
pub(crate) fn bad(text: impl Into<String>) -> ProviderFault {
    ProviderFault::BadAnswer(text.into())
}

/// A value from the answer, fit for the text of an error.
pub(crate) fn quoted(value: &str) -> String {
    format!("`{}`", clean(value, MAX_QUOTED_BYTES))
}

/// An identifier: not empty, not too long, and of printable characters.
pub(crate) fn identifier(what: &str, text: String, max_bytes: usize) -> Result<String, ProviderFault> {
    if text.is_empty() {
        return Err(bad(format!("{what} is empty")));
    }
    if text.len() > max_bytes {
        return Err(bad(format!("{what} has {} bytes, and {max_bytes} are allowed", text.len())));
    }
    if text.chars().any(is_dangerous) {
        return Err(bad(format!("{what} {} contains control characters", quoted(&text))));
    }
    Ok(text)
}

/// A text for people.
pub(crate) fn words(text: &str) -> String {
    clean(text, MAX_WORDS_BYTES)
}

/// Not more than this many of them.
pub(crate) fn at_most<T>(what: &str, items: Vec<T>, max: usize) -> Result<Vec<T>, ProviderFault> {
    if items.len() > max {
        return Err(bad(format!("it gave {} {what}, and {max} are allowed", items.len())));
    }
    Ok(items)
}

/// Labels or attributes.
pub(crate) fn labels(what: &str, pairs: Vec<(String, String)>) -> Result<Labels, ProviderFault> {
    let mut labels = BTreeMap::new();
    for (key, value) in at_most(what, pairs, MAX_LABELS)? {
        let key = identifier("a key", key, MAX_LABEL_KEY_BYTES)?;
        if value.len() > MAX_LABEL_VALUE_BYTES {
            return Err(bad(format!(
                "the value of {} has {} bytes, and {MAX_LABEL_VALUE_BYTES} are allowed",
                quoted(&key),
                value.len()
            )));
        }
        if labels.contains_key(&key) {
            return Err(bad(format!("the key {} occurs twice in its {what}", quoted(&key))));
        }
        labels.insert(key, words(&value));
    }
    Ok(labels)
}

/// A moment, in milliseconds since 1970.
pub(crate) fn moment(what: &str, milliseconds: u64) -> Result<Timestamp, ProviderFault> {
    let out_of_range = || bad(format!("{what} is {milliseconds} ms after 1970, which is no date"));
    Timestamp::from_millisecond(i64::try_from(milliseconds).map_err(|_| out_of_range())?).map_err(|_| out_of_range())
}
