//! The versions of PostgreSQL that `--pg` names.

use std::ops::RangeInclusive;
use std::str::FromStr;

/// Those that Stillframe supports; the harness has server binaries of each.
const SUPPORTED: RangeInclusive<u32> = 10..=18;

/// `all`, or a list such as `10,14`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Versions(Vec<u32>);

impl Versions {
    /// Oldest first.
    pub(crate) fn majors(&self) -> impl Iterator<Item = u32> {
        self.0.iter().copied()
    }
}

impl FromStr for Versions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self(SUPPORTED.collect()));
        }
        let one = |word: &str| {
            let version = word.trim().parse().ok().filter(|version| SUPPORTED.contains(version));
            version.ok_or_else(|| format!("`{word}` is no version from {} to {}", SUPPORTED.start(), SUPPORTED.end()))
        };
        let mut versions = text.split(',').map(one).collect::<Result<Vec<u32>, String>>()?;
        versions.sort_unstable();
        versions.dedup();
        Ok(Self(versions))
    }
}

#[cfg(test)]
mod tests {
    use super::{SUPPORTED, Versions};

    /// Where the harness lists its server binaries.
    const HARNESS: &str = include_str!("../../../tests/src/server_binaries.rs");

    fn majors(text: &str) -> Result<Vec<u32>, String> {
        Ok(text.parse::<Versions>()?.majors().collect())
    }

    #[test]
    fn all_is_every_version_from_10_to_18_and_the_harness_has_binaries_of_each() {
        assert_eq!(majors("all").unwrap(), (10..=18).collect::<Vec<u32>>());
        for major in SUPPORTED {
            assert!(HARNESS.contains(&format!("\n    ({major}, \"{major}.")), "{major}");
        }
    }

    #[test]
    fn a_list_is_taken_once_and_in_order() {
        assert_eq!(majors("14,10,14").unwrap(), [10, 14]);
        assert_eq!(majors("18").unwrap(), [18]);
    }

    #[test]
    fn what_is_no_supported_version_is_refused_and_nothing_is_left_out_silently() {
        for text in ["", "9", "19", "10,", "10,9.6", "ALL", "10-12"] {
            assert!(majors(text).is_err(), "{text}");
        }
    }
}
