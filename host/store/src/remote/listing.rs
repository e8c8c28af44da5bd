//! A page of a [`Store`](stillframe_core::store::Store) from the pages of a server.
//!
//! Servers give fewer objects than asked for, and show what somebody else put there. And a server that lists out of order would
//! make a walk over pages skip objects: WAL would pass for missing, or an old backup for deleted.

use stillframe_core::store::{Key, ObjectEntry, PAGE};

use super::fault::Fault;
use super::wire::Wire;

/// Lists at most `limit` objects with legal keys; fewer only when there are no others.
pub(crate) async fn page(wire: &dyn Wire, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<ObjectEntry>, Fault> {
    let mut entries = Vec::new();
    let mut last = after.map(|key| key.as_str().to_owned());
    while entries.len() < limit {
        let page = wire.list(prefix, last.as_deref(), (limit - entries.len()).min(PAGE)).await?;
        for (name, size_bytes) in page.entries {
            if !name.starts_with(prefix) || last.as_ref().is_some_and(|last| *last >= name) {
                return Err(Fault::Disordered { name, after: last.unwrap_or_default() });
            }
            // What is no key is not ours: the marker, or an object that somebody else put there.
            if let Ok(key) = Key::parse(&name) {
                entries.push(ObjectEntry { key, size_bytes });
            }
            last = Some(name);
        }
        if page.is_last {
            break;
        }
    }
    entries.truncate(limit);
    Ok(entries)
}
