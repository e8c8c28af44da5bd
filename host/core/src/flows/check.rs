//! Proves the set-up: server, archiving, directories, providers, store, and what is there to restore from.
//!
//! Every part is looked at, whatever the others came to: whoever sets up a cluster wants the whole list. The only side effects are a
//! restore point and a new segment on the server, which can be left out, and probes in the store, which are removed.

mod backups;
mod finding;
mod primary;
mod server;
mod storage;

use std::time::Duration;

use crate::flows::{Ports, ProviderChoice};
use crate::paths::Locator;
use crate::postgres::Connection;
use crate::provider::Token;
use crate::retention::RetentionRule;
use crate::store::Store;

pub use finding::{Failed, Finding, Subject, Verdict};

/// What to prove.
#[derive(Debug, Clone)]
pub struct CheckRequest {
    /// Who would cut what.
    pub providers: ProviderChoice,
    /// Whether a segment is sent through the archive.
    pub round_trip: RoundTrip,
    /// How old the newest backup may be; none when nobody says.
    pub max_backup_age: Option<Duration>,
    /// The rule by which backups are deleted; none when there is none.
    pub retention: Option<RetentionRule>,
}

/// Whether a segment is sent through the archive.
#[derive(Debug, Clone)]
pub enum RoundTrip {
    /// A restore point is created, and its segment finished, archived, and compared.
    Made {
        /// Ends the name of the restore point.
        token: Token,
        /// How long the server may take to archive it.
        deadline: Duration,
    },
    /// It is not: the server is not written to.
    LeftOut,
}

/// The server that is looked at.
pub struct CheckedServer<'a> {
    /// A session, or why there is none.
    pub connection: Result<Box<dyn Connection>, Failed>,
    /// The same on the primary of a standby; none when it is no standby, or nobody says where its primary is.
    pub primary: Option<Result<Box<dyn Connection>, Failed>>,
    /// Finds the server's directories on this machine; none when nobody says where they are.
    pub locator: Option<&'a dyn Locator>,
}

/// Looks at everything, in the order in which the parts rest on each other.
///
/// `external` is the place in which another tool keeps the WAL of some backups, for reading; none when there is none.
pub async fn check(
    ports: &Ports<'_>,
    server: CheckedServer<'_>,
    external: Option<&dyn Store>,
    request: &CheckRequest,
) -> Vec<Finding> {
    let mut findings = storage::check_store(ports).await;
    let mut connection = match server.connection {
        Ok(connection) => Some(connection),
        Err(failed) => {
            findings.push(failed.critical(Subject::Server));
            None
        }
    };
    let mut facts = None;
    if let Some(connection) = &mut connection {
        facts = server::check_server(ports, &mut **connection, &mut findings).await;
    }
    let mut primary = match &facts {
        Some(standby) if standby.in_recovery => primary::check_primary(standby, server.primary, &mut findings).await,
        _ => None,
    };
    let paths = match (&facts, server.locator) {
        (Some(facts), Some(locator)) => storage::check_paths(ports, locator, facts, &request.providers, &mut findings).await,
        (None, _) => None,
        (Some(_), None) => {
            findings.push(Finding::skipped(Subject::Paths, "the configuration does not say where the data directory is"));
            None
        }
    };
    if let (Some(connection), Some(facts)) = (&mut connection, &facts) {
        let round_trip = &request.round_trip;
        // The files of the primary are on another machine.
        let finding = match &mut primary {
            Some((primary, facts)) => server::RoundTripOf { facts, paths: None, round_trip }.check(ports, &mut **primary).await,
            None => server::RoundTripOf { facts, paths: paths.as_deref(), round_trip }.check(ports, &mut **connection).await,
        };
        findings.push(finding);
    }
    backups::check_backups(ports, request, external, facts.as_ref(), &mut findings).await;
    findings
}

/// The worst that was found: what a monitor wants to know.
#[must_use]
pub fn worst(findings: &[Finding]) -> Verdict {
    findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok)
}
