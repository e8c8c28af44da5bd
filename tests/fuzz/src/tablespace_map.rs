//! `tablespace_map`: where the server puts links at its first start.

use std::path::PathBuf;

use stillframe_core::postgres::TablespaceMap;

use crate::Verdict;

/// What was read is written and read again as it was, and a move moves one tablespace and no other.
pub fn target(data: &[u8]) -> Verdict {
    let map = TablespaceMap::new(data.to_vec());
    assert_eq!(map.as_bytes(), data);
    let Ok(links) = map.links() else { return Verdict::Refused };
    assert_eq!(TablespaceMap::of(&links).links().as_ref(), Ok(&links), "a map that is written is read otherwise");
    assert_eq!(map.remapped(&[]).and_then(|map| map.links()).as_ref(), Ok(&links), "no move moves");
    let json = serde_json::to_string(&map).expect("a map is written as JSON");
    assert_eq!(serde_json::from_str::<TablespaceMap>(&json).ok().as_ref(), Some(&map), "a map changes in the catalog");
    if let Some(first) = links.first() {
        let new = PathBuf::from("/new\n\\place");
        let moved = map.remapped(&[(first.location.clone(), new.clone())]).and_then(|map| map.links());
        let expected: Vec<_> = links
            .iter()
            .cloned()
            .map(|mut link| {
                if link.location == first.location {
                    link.location.clone_from(&new);
                }
                link
            })
            .collect();
        assert_eq!(moved.as_ref(), Ok(&expected), "a move has moved something else");
    }
    for link in &links {
        assert!(link.oid > 0 && !link.location.as_os_str().is_empty(), "a link from nothing or to nowhere: {link:?}");
    }
    Verdict::Accepted
}
