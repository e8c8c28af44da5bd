//! The store, the directories of the cluster, and the providers that would cut them.

use super::{Finding, Subject, Verdict};
use crate::files;
use crate::flows::snapshot_push::{assign, cover};
use crate::flows::{Ports, ProviderChoice};
use crate::paths::Locator;
use crate::postgres::ServerFacts;
use crate::provider::{DataPath, DataRole};
use crate::store::Space;

/// Percent of a disk below which it is told of, and below which it is an alarm.
const FREE_PERCENT: (u64, u64) = (10, 3);

/// Looks at the store.
pub(super) async fn check_store(ports: &Ports<'_>) -> Vec<Finding> {
    let url = ports.store.url();
    let mut findings = vec![match ports.catalog().contents().await {
        Ok(contents) => match contents.complete() {
            Ok(_) => Finding::ok(Subject::Store, format!("{url} answers for the cluster `{}`", ports.layout.cluster())),
            Err(error) => Finding::failed(Subject::Store, &error),
        },
        Err(error) => Finding::failed(Subject::Store, &error),
    }];
    findings.push(match ports.store.prove().await {
        Ok(()) => Finding::ok(Subject::StorePromises, "what is written is read, and of several writers one creates an object"),
        Err(error) => Finding::failed(Subject::StorePromises, &error),
    });
    match ports.store.space().await {
        Ok(Some(space)) => findings.push(of_space(Subject::StoreSpace, "the store", space)),
        Ok(None) => {}
        Err(error) => findings.push(Finding::failed(Subject::StoreSpace, &error)),
    }
    findings
}

/// Looks at the directories and at who would cut them; gives the directories if they are known.
pub(super) async fn check_paths(
    ports: &Ports<'_>,
    locator: &dyn Locator,
    facts: &ServerFacts,
    choice: &ProviderChoice,
    findings: &mut Vec<Finding>,
) -> Option<Vec<DataPath>> {
    let paths = match locator.locate(facts) {
        Ok(paths) => paths,
        Err(error) => {
            findings.push(Finding::failed(Subject::Paths, &error));
            return None;
        }
    };
    let listed: Vec<String> = paths.iter().map(|path| format!("{} on {}", path.path.display(), path.mount_source)).collect();
    findings.push(Finding::ok(Subject::Paths, listed.join(", ")));
    check_space(&paths, findings);
    let assigned = match assign::assign(choice, &paths) {
        Ok(assigned) => assigned,
        Err(error) => {
            findings.push(Finding::failed(Subject::Provider, &error));
            return Some(paths);
        }
    };
    for (name, paths) in assigned {
        match cover::cover(ports, &name, &paths).await {
            Ok(covered) => {
                let volumes: Vec<&str> = covered.volumes.iter().map(|volume| volume.id.as_str()).collect();
                findings.push(Finding::ok(Subject::Provider, format!("`{name}` would cut {}", volumes.join(", "))));
                let warnings = covered.warnings.into_iter();
                findings.extend(warnings.map(|text| Finding::warning(Subject::Provider, format!("`{name}`: {text}"))));
            }
            Err(error) => findings.push(Finding::failed(Subject::Provider, &error)),
        }
    }
    Some(paths)
}

/// A server whose disk is full stops, and one whose archiving fails fills the disk of its WAL.
fn check_space(paths: &[DataPath], findings: &mut Vec<Finding>) {
    for (number, path) in paths.iter().enumerate() {
        let is_told = paths[..number].iter().any(|earlier| earlier.mount_point == path.mount_point);
        // Where a fake or a container names a place that is not here, there is nothing to measure.
        if is_told || !path.path.exists() {
            continue;
        }
        let what = match path.role {
            DataRole::Data => "the data directory",
            DataRole::Wal => "pg_wal",
            DataRole::Tablespace => "a tablespace",
        };
        findings.push(match files::space(&path.path) {
            Ok(space) => of_space(Subject::DataSpace, &format!("{what} (`{}`)", path.mount_point.display()), space),
            Err(error) => Finding::failed(Subject::DataSpace, &error),
        });
    }
}

fn of_space(subject: Subject, what: &str, space: Space) -> Finding {
    let percent = space.free_bytes.saturating_mul(100).checked_div(space.total_bytes).unwrap_or(100);
    let verdict = match percent {
        free if free < FREE_PERCENT.1 => Verdict::Critical,
        free if free < FREE_PERCENT.0 => Verdict::Warning,
        _ => Verdict::Ok,
    };
    let message = format!("{percent} % free on the disk of {what}: {} MiB of {}", space.free_bytes >> 20, space.total_bytes >> 20);
    Finding::new(subject, verdict, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_told_of_before_it_is_full() {
        let verdict = |free_bytes| of_space(Subject::StoreSpace, "the store", Space { free_bytes, total_bytes: 1000 }).verdict;
        assert_eq!([1000, 100, 99, 30, 29, 0].map(verdict), {
            use Verdict::{Critical, Ok, Warning};
            [Ok, Ok, Warning, Warning, Critical, Critical]
        });
        let empty = Space { free_bytes: 0, total_bytes: 0 };
        assert_eq!(of_space(Subject::StoreSpace, "the store", empty).verdict, Verdict::Ok, "it has no size to speak of");
    }
}
