//! Rights that `zfs allow` delegates: what is needed, what is there, and the command that gives the rest.

use std::collections::{BTreeMap, BTreeSet};

/// What backing up needs on each dataset. Destroying a snapshot needs `mount` as well, although nothing is mounted.
pub(crate) const BACKUP: &[&str] = &["destroy", "hold", "mount", "release", "snapshot", "userprop"];

/// What a restore needs on each dataset and on the dataset for clones, besides the right to mount, which only root has on Linux.
pub(crate) const RESTORE: &[&str] =
    &["canmount", "clone", "create", "destroy", "devices", "mount", "mountpoint", "readonly", "setuid", "userprop"];

/// How to get the rights.
pub(crate) fn hint(datasets: &[&str], rights: &[&str]) -> String {
    let command = |dataset: &&str| format!("`zfs allow -u USER {} {dataset}`", rights.join(","));
    format!(
        "{} delegates what is needed to the user that Stillframe runs as, or let zfs run as root by `command_prefix`",
        datasets.iter().map(command).collect::<Vec<_>>().join(" and ")
    )
}

/// What nobody was given of these rights, by what `zfs allow` prints about a dataset: judged by the user who has most of them.
/// Whether that is the user that Stillframe runs as, a provider does not know.
pub(crate) fn missing<'a>(printed: &str, dataset: &str, needed: &[&'a str]) -> Vec<&'a str> {
    let granted = Granted::read(printed, dataset);
    let missing = |who: &BTreeSet<String>| needed.iter().copied().filter(|right| !who.contains(*right)).collect::<Vec<_>>();
    granted.users.values().map(missing).chain([missing(&granted.everybody)]).min_by_key(Vec::len).unwrap_or_default()
}

/// Rights on one dataset.
#[derive(Default)]
struct Granted {
    /// Including what everybody has.
    users: BTreeMap<String, BTreeSet<String>>,
    /// Everybody, and groups: who is in them is not known, so they count in favour.
    everybody: BTreeSet<String>,
}

impl Granted {
    fn read(printed: &str, dataset: &str) -> Self {
        let mut granted = Self::default();
        let mut sets: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let (mut is_here, mut title) = (false, "");
        for line in printed.lines() {
            if let Some(place) = line.strip_prefix("---- Permissions on ") {
                is_here = place.trim_end_matches('-').trim() == dataset;
            } else if !line.starts_with('\t') {
                title = line.trim_end_matches(':').trim();
            } else if title == "Permission sets" {
                let (set, rights) = line.trim().split_once(' ').unwrap_or_default();
                sets.entry(set).or_default().extend(rights.split(','));
            } else if title == "Local+Descendent permissions"
                || title == ["Descendent permissions", "Local permissions"][usize::from(is_here)]
            {
                granted.add(line.trim());
            }
        }
        granted.expand(&sets);
        granted
    }

    /// Adds a line: `user postgres hold,release`, `everyone mount`.
    fn add(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let rights = |list: &str| list.split(',').map(str::to_owned).collect::<Vec<_>>();
        match words[..] {
            ["user", who, list] => self.users.entry(who.to_owned()).or_default().extend(rights(list)),
            ["group", _, list] | ["everyone", list] => self.everybody.extend(rights(list)),
            _ => {}
        }
    }

    fn expand(&mut self, sets: &BTreeMap<&str, Vec<&str>>) {
        let everybody = self.everybody.clone();
        for who in self.users.values_mut().chain([&mut self.everybody]) {
            who.extend(everybody.iter().cloned());
            // A set may hold sets; each round opens one level.
            for _ in 0..sets.len() {
                let inside = who.iter().filter_map(|right| sets.get(right.as_str())).flatten().map(|right| (*right).to_owned());
                let inside: Vec<String> = inside.collect();
                who.extend(inside);
            }
        }
    }
}

#[cfg(test)]
mod tests;
