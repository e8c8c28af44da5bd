//! Which provider cuts which directory of the cluster.
//!
//! One backup may use several: PGDATA on one storage system, `pg_wal` on another. What the configuration names for a directory
//! counts; everything else goes to the provider of the backup. A name counts more than a path, and a longer path more than a shorter
//! one, so that an exception can be written beside the rule.

use std::path::PathBuf;

use super::PushError;
use crate::provider::{DataPath, DataPathName, ProviderName};

/// Which provider cuts what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderChoice {
    /// For every directory that no rule names.
    pub default: Option<ProviderName>,
    /// For some directories.
    pub rules: Vec<PathRule>,
}

/// The provider of some directories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRule {
    /// Which.
    pub selector: PathSelector,
    /// Who cuts them.
    pub provider: ProviderName,
}

/// Which directories a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathSelector {
    /// The one of this name.
    Name(DataPathName),
    /// Those that are, or lie below, this directory, links resolved.
    Below(PathBuf),
}

impl PathSelector {
    /// How well a rule fits: more is better, and none means not at all.
    fn fit(&self, path: &DataPath) -> Option<usize> {
        match self {
            Self::Name(name) => (*name == path.name).then_some(usize::MAX),
            Self::Below(directory) => path.path.starts_with(directory).then(|| directory.components().count()),
        }
    }
}

impl std::fmt::Display for PathSelector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => name.fmt(formatter),
            Self::Below(directory) => directory.display().fmt(formatter),
        }
    }
}

/// The directories of each provider, in cutting order of the providers: the one whose files come last is last.
pub(in crate::flows) fn assign(
    choice: &ProviderChoice,
    paths: &[DataPath],
) -> Result<Vec<(ProviderName, Vec<DataPath>)>, PushError> {
    let mut parts: Vec<(ProviderName, Vec<DataPath>)> = Vec::new();
    for path in paths {
        let best = choice.rules.iter().filter_map(|rule| Some((rule.selector.fit(path)?, &rule.provider)));
        let named = best.max_by_key(|(fit, _)| *fit).map(|(_, provider)| provider);
        let provider = named.or(choice.default.as_ref()).ok_or_else(|| PushError::NoProvider { path: path.path.clone() })?;
        match parts.iter_mut().find(|(known, _)| known == provider) {
            Some((_, paths)) => paths.push(path.clone()),
            None => parts.push((provider.clone(), vec![path.clone()])),
        }
    }
    parts.sort_by_key(|(_, paths)| paths.iter().any(comes_last));
    Ok(parts)
}

/// The rules that are about no directory of this cluster.
pub(super) fn idle<'a>(choice: &'a ProviderChoice, paths: &'a [DataPath]) -> impl Iterator<Item = &'a PathRule> {
    choice.rules.iter().filter(|rule| paths.iter().all(|path| rule.selector.fit(path).is_none()))
}

/// Whether a directory holds files that must be cut after everything else: on a standby the end of the backup is what `pg_control`
/// says.
pub(super) fn comes_last(path: &DataPath) -> bool {
    !path.last.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Locator;
    use crate::postgres::Tablespace;
    use crate::testing::{FakeLocator, FakeServer};

    fn provider(name: &str) -> ProviderName {
        name.to_owned().try_into().unwrap()
    }

    fn paths() -> Vec<DataPath> {
        let server = FakeServer::new(jiff::Timestamp::UNIX_EPOCH);
        let tablespace = |oid, location: &str| Tablespace { oid, name: format!("t{oid}"), location: location.into() };
        server.change(|facts| {
            facts.tablespaces = vec![tablespace(1, "/fast/a"), tablespace(2, "/fast/b/c"), tablespace(3, "/fastest")];
        });
        FakeLocator.locate(&server.facts()).unwrap()
    }

    fn assigned(default: Option<&str>, rules: &[(PathSelector, &str)]) -> Result<Vec<(String, Vec<String>)>, PushError> {
        let rules =
            rules.iter().map(|(selector, name)| PathRule { selector: selector.clone(), provider: provider(name) }).collect();
        let parts = assign(&ProviderChoice { default: default.map(provider), rules }, &paths())?;
        let names = |paths: Vec<DataPath>| paths.iter().map(|path| path.name.to_string()).collect();
        Ok(parts.into_iter().map(|(provider, paths)| (provider.to_string(), names(paths))).collect())
    }

    fn part(provider: &str, names: &[&str]) -> (String, Vec<String>) {
        (provider.to_owned(), names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn without_rules_one_provider_cuts_everything() {
        let all = ["data", "tablespace-1", "tablespace-2", "tablespace-3"];
        assert_eq!(assigned(Some("zfs"), &[]).unwrap(), [part("zfs", &all)]);
        assert!(matches!(assigned(None, &[]), Err(PushError::NoProvider { path }) if path == std::path::Path::new("/pgdata")));
    }

    #[test]
    fn a_name_counts_more_than_a_path_and_a_longer_path_more_than_a_shorter_one() {
        let below = |path: &str| PathSelector::Below(path.into());
        let rules =
            [(below("/fast"), "lvm"), (below("/fast/b"), "btrfs"), (PathSelector::Name(DataPathName::Tablespace(1)), "ebs")];
        let parts = assigned(Some("zfs"), &rules).unwrap();
        let expected = [part("ebs", &["tablespace-1"]), part("btrfs", &["tablespace-2"]), part("zfs", &["data", "tablespace-3"])];
        assert_eq!(parts, expected, "whole parts of a path count, and the provider of pg_control is last");
    }

    #[test]
    fn a_rule_that_is_about_nothing_is_found() {
        let rule = |path: &str| PathRule { selector: PathSelector::Below(path.into()), provider: provider("lvm") };
        let choice = ProviderChoice { default: None, rules: vec![rule("/fast"), rule("/fas"), rule("/fast/a")] };
        let paths = paths();
        assert_eq!(idle(&choice, &paths).collect::<Vec<_>>(), [&choice.rules[1]]);
    }
}
