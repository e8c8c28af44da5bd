//! Which tests run on a version, by name, and which do not, with the reason.

use std::fmt;

use super::Extent;
use super::exceptions::EXCEPTIONS;
use super::short::SHORT;
use crate::account::is_root;
use crate::failure::Failure;

/// One test: its executable, and its name there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Test {
    pub(crate) executable: String,
    pub(crate) name: String,
}

impl fmt::Display for Test {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.executable, self.name)
    }
}

/// What is to run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) tests: Vec<Test>,
    /// What would be among them, and why it is not.
    pub(crate) not_here: Vec<(Test, String)>,
}

impl Plan {
    /// Chooses among all tests there are.
    pub(crate) fn of(version: u32, extent: Extent, filter: Option<&str>, all: &[Test]) -> Result<Self, Failure> {
        prove_names(all)?;
        let is_wanted = |test: &&Test| {
            let is_listed = SHORT.iter().any(|(executable, name)| test.executable == *executable && test.name == *name);
            (extent == Extent::All || is_listed) && filter.is_none_or(|text| test.name.contains(text))
        };
        let mut plan = Self { tests: Vec::new(), not_here: Vec::new() };
        for test in all.iter().filter(is_wanted) {
            match reason_against(test, version, is_root()) {
                Some(why) => plan.not_here.push((test.clone(), why)),
                None => plan.tests.push(test.clone()),
            }
        }
        if plan.tests.is_empty() {
            return Err(Failure::new(format!("no test is to run on PostgreSQL {version}: none has such a name")));
        }
        Ok(plan)
    }
}

/// A list that names what is not there (any more) tests less than it says.
fn prove_names(all: &[Test]) -> Result<(), Failure> {
    let is_short = |test: &Test, listed: &(&str, &str)| test.executable == listed.0 && test.name == listed.1;
    let short = SHORT.iter().filter(|listed| !all.iter().any(|test| is_short(test, listed))).copied();
    let excepted = EXCEPTIONS.iter().filter(|exception| !all.iter().any(|test| exception.is_about(test)));
    let unknown = short.chain(excepted.map(|exception| (exception.executable, exception.name)));
    let missing: Vec<String> = unknown.map(|(executable, name)| format!("`{executable} {name}`")).collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(format!("there is no test {}: mend the lists in xtask/src/matrix", missing.join(", "))))
    }
}

fn reason_against(test: &Test, version: u32, is_root: bool) -> Option<String> {
    let excepted =
        EXCEPTIONS.iter().filter(|exception| exception.is_about(test)).find(|exception| !exception.versions.contains(&version));
    let mounts = test.executable == "ebs" || (test.executable == "ec2_simulator" && test.name.starts_with("disks::"));
    match excepted {
        Some(exception) => Some(exception.why.to_owned()),
        None if mounts && !is_root => Some("it mounts disks of a simulated EC2, which takes root".to_owned()),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{EXCEPTIONS, Extent, Plan, SHORT, Test, reason_against};

    fn test(executable: &str, name: &str) -> Test {
        Test { executable: executable.to_owned(), name: name.to_owned() }
    }

    fn all() -> Vec<Test> {
        let excepted = EXCEPTIONS.iter().map(|exception| test(exception.executable, exception.name));
        let mut all: Vec<Test> = SHORT.iter().map(|(executable, name)| test(executable, name)).chain(excepted).collect();
        all.push(test("wal", "another"));
        all.sort();
        all.dedup();
        all
    }

    #[test]
    fn about_twenty_short_tests_run_on_each_version() {
        for version in 10..=18 {
            let plan = Plan::of(version, Extent::Short, None, &all()).unwrap();
            assert!((15..=30).contains(&plan.tests.len()), "{version}: {}", plan.tests.len());
            assert_eq!(plan.tests.len() + plan.not_here.len(), SHORT.len(), "{version}");
        }
    }

    #[test]
    fn what_is_not_on_a_version_is_named_with_its_reason_and_nothing_else_is_left_out() {
        for version in 10..=18 {
            let plan = Plan::of(version, Extent::All, None, &all()).unwrap();
            assert_eq!(plan.tests.len() + plan.not_here.len(), all().len(), "{version}");
            assert!(plan.not_here.iter().all(|(_, why)| why.len() > 20), "{version}");
        }
    }

    #[test]
    fn every_test_runs_on_some_version() {
        for exception in EXCEPTIONS {
            let runs =
                (10..=18).any(|version| reason_against(&test(exception.executable, exception.name), version, true).is_none());
            assert!(runs, "{}", exception.name);
        }
    }

    #[test]
    fn a_listed_test_that_is_not_there_is_a_failure() {
        let mut fewer = all();
        let (executable, name) = SHORT[0];
        fewer.retain(|found| *found != test(executable, name));
        let failure = Plan::of(10, Extent::All, None, &fewer).unwrap_err().to_string();
        assert!(failure.contains(name), "{failure}");
    }

    #[test]
    fn a_filter_that_nothing_matches_is_a_failure() {
        assert!(Plan::of(10, Extent::All, Some("no such name"), &all()).is_err());
        assert_eq!(Plan::of(10, Extent::All, Some("another"), &all()).unwrap().tests, [test("wal", "another")]);
    }
}
