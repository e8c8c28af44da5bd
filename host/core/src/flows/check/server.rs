//! The server: its rights, its clock, its archiving, and one segment that goes all the way into the archive.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Finding, RoundTrip, Subject};
use crate::files::read_if_present;
use crate::flows::Ports;
use crate::postgres::{ArchiveMode, Connection, ServerFacts, WalSegment};
use crate::provider::{DataPath, DataRole};

/// Beyond the first, times of restores and rules are off by what people notice; beyond the second, leases and signatures fail.
const CLOCK_TOLERANCES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(5));

/// First and longest pause between two looks into the archive.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Looks at the server; gives its facts if it tells them.
pub(super) async fn check_server(
    ports: &Ports<'_>,
    connection: &mut dyn Connection,
    findings: &mut Vec<Finding>,
) -> Option<ServerFacts> {
    match connection.missing_grants().await {
        Ok(missing) if missing.is_empty() => findings.push(Finding::ok(Subject::Rights, "the role may take backups")),
        Ok(missing) => {
            let finding =
                Finding::critical(Subject::Rights, format!("the role lacks {} of the rights that it needs", missing.len()));
            findings.push(finding.with_hint(format!("run as a superuser: {}", missing.join(" "))));
        }
        Err(error) => findings.push(Finding::failed(Subject::Rights, &error)),
    }
    let asked_at = ports.clock.now();
    let facts = match connection.facts().await {
        Ok(facts) => facts,
        Err(error) => {
            findings.push(Finding::failed(Subject::Server, &error));
            return None;
        }
    };
    let answered_at = ports.clock.now();
    let role = if facts.in_recovery { "standby" } else { "primary" };
    let message = format!(
        "PostgreSQL {}, {role} on timeline {}, system identifier {}",
        facts.version, facts.timeline, facts.system_identifier
    );
    findings.push(Finding::ok(Subject::Server, message));
    findings.push(check_clock(asked_at, facts.now, answered_at));
    // Who archives what a standby replays is its primary's matter, or its own.
    if !facts.in_recovery || facts.archive_mode == ArchiveMode::Always {
        findings.push(check_archiving(connection, &facts).await);
    }
    Some(facts)
}

/// Compares the clocks: what the server said lies between question and answer, or they differ.
fn check_clock(asked_at: Timestamp, servers: Timestamp, answered_at: Timestamp) -> Finding {
    let nearest = servers.clamp(asked_at, answered_at.max(asked_at));
    let ahead = servers.duration_since(nearest);
    let off = ahead.unsigned_abs();
    if off < CLOCK_TOLERANCES.0 {
        return Finding::ok(Subject::Clock, "the server's clock and this host's agree");
    }
    let direction = if ahead > SignedDuration::ZERO { "ahead of" } else { "behind" };
    let message = format!("the server's clock is {} s {direction} this host's", off.as_secs());
    let finding = if off < CLOCK_TOLERANCES.1 { Finding::warning } else { Finding::critical };
    finding(Subject::Clock, message)
        .with_hint("let both follow one time server: targets of restores and rules of retention are times")
}

pub(super) async fn check_archiving(connection: &mut dyn Connection, facts: &ServerFacts) -> Finding {
    let hint = "set archive_mode = on and archive_command = 'stillframe wal-push %p', then restart the server";
    if facts.archive_mode == ArchiveMode::Off {
        return Finding::critical(Subject::Archiving, "archive_mode = off").with_hint(hint);
    }
    if !facts.archiver_is_set {
        return Finding::critical(Subject::Archiving, "archive_command = ''").with_hint(hint);
    }
    match connection.archiver().await {
        Ok(status) if status.is_failing => {
            let file = status.last_failed_wal.unwrap_or_else(|| "a file".to_owned());
            Finding::critical(Subject::Archiving, format!("the server's archiver fails at {file}"))
                .with_hint("the server's log says why; WAL piles up in pg_wal until it works again")
        }
        Ok(status) => match status.last_archived_wal {
            Some(file) => Finding::ok(Subject::Archiving, format!("the server archives; the newest file is {file}")),
            None => Finding::warning(Subject::Archiving, "the server has archived nothing yet"),
        },
        Err(error) => Finding::failed(Subject::Archiving, &error),
    }
}

/// One segment's way through the archive.
pub(super) struct RoundTripOf<'a> {
    pub(super) facts: &'a ServerFacts,
    pub(super) paths: Option<&'a [DataPath]>,
    pub(super) round_trip: &'a RoundTrip,
}

impl RoundTripOf<'_> {
    /// Creates a restore point, switches to a new segment, waits for the finished one in the archive and compares both.
    pub(super) async fn check(&self, ports: &Ports<'_>, connection: &mut dyn Connection) -> Finding {
        const SUBJECT: Subject = Subject::RoundTrip;
        let RoundTrip::Made { token, deadline } = self.round_trip else {
            return Finding::skipped(SUBJECT, "no segment was sent through the archive: it was not asked for");
        };
        let facts = self.facts;
        if facts.in_recovery {
            return Finding::skipped(SUBJECT, "a standby can finish no segment, and no primary was asked to");
        }
        if facts.archive_mode == ArchiveMode::Off || !facts.archiver_is_set {
            return Finding::skipped(SUBJECT, "the server does not archive");
        }
        let position = match connection.create_restore_point_and_switch(&format!("stillframe-check-{}", token.0)).await {
            Ok(position) => position,
            Err(error) => return Finding::failed(SUBJECT, &error),
        };
        // The position is the end of the restore point, which may be the very end of its segment.
        let segment =
            WalSegment::containing(facts.timeline, crate::postgres::Lsn(position.0.saturating_sub(1)), facts.segment_size);
        let name = segment.file_name(facts.segment_size);
        let begun_at = ports.clock.uptime();
        let mut pause = PAUSES.0;
        loop {
            match ports.archive().holds_segment(segment, facts.segment_size, facts.system_identifier).await {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => return Finding::failed(SUBJECT, &error),
            }
            if ports.clock.uptime().saturating_sub(begun_at) >= *deadline {
                let reason = match connection.archiver().await {
                    Ok(status) if status.is_failing => {
                        format!("; its archiver fails at {}", status.last_failed_wal.unwrap_or_default())
                    }
                    Ok(_) | Err(_) => String::new(),
                };
                let message = format!("{name} is not in the archive {} s after the server finished it{reason}", deadline.as_secs());
                return Finding::critical(SUBJECT, message)
                    .with_hint("archive_command must name this cluster's configuration; the server's log has what it said");
            }
            ports.clock.sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
        let waited = ports.clock.uptime().saturating_sub(begun_at).as_millis();
        match self.compare(ports, segment).await {
            Ok(Some(true)) => Finding::ok(SUBJECT, format!("{name} was archived within {waited} ms and is what the server wrote")),
            Ok(Some(false)) => Finding::critical(SUBJECT, format!("{name} in the archive is not what the server wrote"))
                .with_hint("another cluster may archive to the same place: compare `cluster.name` and `store.url`"),
            Ok(None) => Finding::ok(
                SUBJECT,
                format!("{name} was archived within {waited} ms; the server's own file cannot be read here to compare it"),
            ),
            Err(finding) => finding,
        }
    }

    /// Whether the archive has the segment as the server wrote it; none where the server's file is not to be had.
    async fn compare(&self, ports: &Ports<'_>, segment: WalSegment) -> Result<Option<bool>, Finding> {
        let Some(paths) = self.paths else { return Ok(None) };
        let of_role = |role| paths.iter().find(|path| path.role == role).map(|path| path.path.clone());
        let directory = of_role(DataRole::Wal).or_else(|| of_role(DataRole::Data).map(|data| data.join("pg_wal")));
        let Some(directory) = directory else { return Ok(None) };
        let name = segment.file_name(self.facts.segment_size);
        // Recycled already, or not readable by this user.
        let Ok(Some(content)) = read_if_present(&directory.join(name.to_string())) else { return Ok(None) };
        let agrees = ports.archive().agrees(name, &content).await;
        agrees.map_err(|error| Finding::failed(Subject::RoundTrip, &error))
    }
}
