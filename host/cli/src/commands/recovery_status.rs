//! `recovery status`: tells whether a restored server has reached what was asked of it, and waits for that.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;
use stillframe_core::error::ErrorClass;
use stillframe_core::flows::{Progressed, RecoveryStatus, RecoveryVerdict, recovery_status};
use stillframe_core::postgres::TimelineId;

use super::recovery_accept;
use super::restored_server::RestoredServer;
use crate::common::Common;
use crate::exit::Failure;
use crate::output::print;
use crate::wiring::World;

/// How often the server is asked while it is waited for.
const PAUSE: Duration = Duration::from_millis(500);

/// Exit codes of what is no error, and no success either.
const NEVER: u8 = 4;
const NOT_YET: u8 = 5;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say how far the server on a restored data directory is; the exit code tells
    Status(Options),
    /// End the lock-out of `snapshot-fetch --lock-out`: the server's own `pg_hba.conf` counts again
    Accept(recovery_accept::Options),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 the target is reached, 4 the recovery has ended or stands short of it, 5 not yet, or not proven."
)]
pub struct Options {
    /// The restored data directory
    directory: PathBuf,
    /// Wait for the target, or for an end without it, at most so long
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
    /// How to reach its server [default: its own socket, as the role of --lock-out]
    #[arg(long)]
    conninfo: Option<String>,
}

#[derive(Serialize)]
struct View {
    format_version: u32,
    directory: PathBuf,
    backup_name: String,
    target: String,
    verdict: &'static str,
    is_reached: bool,
    reason: Option<String>,
    position: Option<String>,
    last_transaction: Option<String>,
    timeline: Option<u32>,
    locked_out_for: Option<String>,
}

/// Looks, until there is nothing more to wait for.
pub async fn run(common: &Common, options: &Options, json: bool) -> Result<ExitCode, Failure> {
    let world = World::open(common).await?;
    let ports = world.ports();
    let begun = ports.clock.uptime();
    let limit = Duration::from_secs(options.wait.unwrap_or(0));
    let status = loop {
        let status = match RestoredServer::find(&options.directory, options.conninfo.as_deref()).await? {
            RestoredServer::Stopped => recovery_status(&ports, &options.directory, Progressed::Stopped).await?,
            RestoredServer::Silent(failure) if failure.class() == ErrorClass::Config => return Err(failure),
            RestoredServer::Silent(failure) => {
                recovery_status(&ports, &options.directory, Progressed::Silent(failure.chain().join(": "))).await?
            }
            RestoredServer::Answering(mut session) => {
                recovery_status(&ports, &options.directory, Progressed::Asked(&mut *session)).await?
            }
        };
        if status.verdict.is_final() || ports.clock.uptime().saturating_sub(begun) >= limit {
            break status;
        }
        ports.clock.sleep(PAUSE).await;
    };
    print(json, &view(&status, options), || describe(&status, options));
    Ok(match &status.verdict {
        verdict if verdict.is_reached() => ExitCode::SUCCESS,
        RecoveryVerdict::EndedShort(_) | RecoveryVerdict::PausedElsewhere => NEVER.into(),
        _ => NOT_YET.into(),
    })
}

fn words(verdict: &RecoveryVerdict) -> (&'static str, Option<&str>) {
    match verdict {
        RecoveryVerdict::NotStarted => ("not-started", None),
        RecoveryVerdict::Silent(reason) => ("silent", Some(reason)),
        RecoveryVerdict::Replaying => ("replaying", None),
        RecoveryVerdict::AtTarget => ("at-target", None),
        RecoveryVerdict::PausedElsewhere => ("paused-elsewhere", None),
        RecoveryVerdict::PausedUnproven(reason) => ("paused-unproven", Some(reason)),
        RecoveryVerdict::Promoted => ("promoted", None),
        RecoveryVerdict::EndedShort(reason) => ("ended-short", Some(reason)),
        RecoveryVerdict::Stopped => ("stopped", None),
    }
}

fn view(status: &RecoveryStatus, options: &Options) -> View {
    let (verdict, reason) = words(&status.verdict);
    View {
        format_version: 1,
        directory: options.directory.clone(),
        backup_name: status.asked.backup.clone(),
        target: status.asked.target.to_string(),
        verdict,
        is_reached: status.verdict.is_reached(),
        reason: reason.map(str::to_owned),
        position: status.position.map(|position| position.to_string()),
        last_transaction: status.last_transaction.clone(),
        timeline: status.timeline.map(TimelineId::get),
        locked_out_for: status.asked.lock_out.clone(),
    }
}

fn describe(status: &RecoveryStatus, options: &Options) -> String {
    let what = match &status.verdict {
        RecoveryVerdict::NotStarted => "no server has been started there".to_owned(),
        RecoveryVerdict::Silent(reason) => format!("the server takes no session yet: {reason}"),
        RecoveryVerdict::Replaying => "the server replays WAL".to_owned(),
        RecoveryVerdict::AtTarget => {
            "the server stands at the target; look at the data, then `SELECT pg_wal_replay_resume()` opens it for writing"
                .to_owned()
        }
        RecoveryVerdict::PausedElsewhere => {
            "somebody has paused the server, and not at the target; `SELECT pg_wal_replay_resume()` lets it go on".to_owned()
        }
        RecoveryVerdict::PausedUnproven(reason) => format!("the server stands; whether at the target is not proven: {reason}"),
        RecoveryVerdict::Promoted => "the target was reached, and the server takes writes".to_owned(),
        RecoveryVerdict::EndedShort(reason) => format!("the server takes writes WITHOUT having reached the target: {reason}"),
        RecoveryVerdict::Stopped => {
            "the server has ended during its recovery; its log tells why, and when it is started again it goes on".to_owned()
        }
    };
    let position = status.position.map(|position| format!("\nposition: {position}")).unwrap_or_default();
    let last = status.last_transaction.as_ref().map(|at| format!("\nlast transaction replayed: {at}")).unwrap_or_default();
    let timeline = status.timeline.map(|timeline| format!("\ntimeline: {timeline}")).unwrap_or_default();
    format!(
        "{}: {what}\nbackup: {}\ntarget: {}{position}{last}{timeline}",
        options.directory.display(),
        status.asked.backup,
        status.asked.target
    )
}
