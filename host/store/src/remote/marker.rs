//! The object that makes a place a store.
//!
//! A mistyped prefix, or a bucket that somebody made anew, is empty: without a marker it would prove that every segment is absent,
//! and PostgreSQL would end its recovery there. Only `create` writes it.

use bytes::Bytes;

use super::fault::Fault;
use super::wire::Wire;

/// Name of the marker; no key can name it, because of its dot.
pub(super) const MARKER: &str = ".stillframe-store.json";

/// What it says. A version that changes the meaning of the store's content writes another number.
const TEXT: &[u8] = b"{\"format_version\":1}\n";

/// Writes the marker unless there is one.
pub(super) async fn make(wire: &dyn Wire) -> Result<(), Fault> {
    wire.put_if_absent(MARKER, Bytes::from_static(TEXT)).await.map(|_| ())
}

/// Proves that the marker is there and says what this version understands.
pub(super) async fn prove(wire: &dyn Wire) -> Result<(), Fault> {
    match wire.get(MARKER).await? {
        Some(text) if text == TEXT => Ok(()),
        Some(text) => Err(Fault::MarkerUnknown { found: String::from_utf8_lossy(&text).chars().take(80).collect() }),
        None => Err(Fault::MarkerMissing),
    }
}
