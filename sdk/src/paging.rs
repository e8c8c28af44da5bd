//! Pages of a listing, for storage systems that have no order of their own.

use crate::{Error, invalid};

/// The label that `list-sets` selects by.
pub const OWNER_LABEL: &str = "stillframe-owner";

/// Most sets on one page, by the interface.
const PAGE_LEN: usize = 100;

/// The page after this cursor, and the cursor of the next one. Oldest first: `place` gives when a set began, in milliseconds since 1970,
/// and what decides between two of the same millisecond. A cursor of somebody else is the error `invalid`.
pub fn page<T>(
    mut items: Vec<T>,
    cursor: Option<&str>,
    place: impl for<'a> Fn(&'a T) -> (u64, &'a str),
) -> Result<(Vec<T>, Option<String>), Error> {
    items.sort_by(|one, other| place(one).cmp(&place(other)));
    if let Some(cursor) = cursor {
        let after = cursor.split_once(':').and_then(|(ms, rest)| Some((ms.parse().ok()?, rest)));
        let after = after.ok_or_else(|| invalid("cursor", format!("`{cursor}` was not given by this provider")))?;
        items.retain(|item| place(item) > after);
    }
    let has_more = items.len() > PAGE_LEN;
    items.truncate(PAGE_LEN);
    let next = items.last().filter(|_| has_more).map(place).map(|(ms, rest)| format!("{ms}:{rest}"));
    Ok((items, next))
}

#[cfg(test)]
mod tests {
    use super::page;

    #[test]
    fn the_pages_of_a_listing_hold_every_item_once_and_in_order() {
        let items: Vec<(u64, String)> = (0..250).rev().map(|number| (number / 3, format!("{number:03}"))).collect();
        let (mut seen, mut cursor, mut pages) = (Vec::new(), None, 0);
        loop {
            let (page, next) = page(items.clone(), cursor.as_deref(), |(ms, name)| (*ms, name)).unwrap();
            seen.extend(page);
            pages += 1;
            match next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        let mut expected = items;
        expected.sort();
        assert_eq!((seen, pages), (expected, 3));
        assert!(page(vec![(1, String::new())], Some("x"), |(ms, name)| (*ms, name)).is_err());
    }
}
