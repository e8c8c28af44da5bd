//! `drill`: restores a backup beside the living server, recovers and checks it, and releases everything.

mod scripts;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use stillframe_core::catalog::{BackupName, DrillOutcome};
use stillframe_core::data_directory::RecoveryTarget;
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::flows::{
    AnyBackupName, CheckChoice, DrillChecks, DrillReport, DrillRequest, DrillTarget, FetchError, clear_drills, drill,
};

use super::named::NamedBackup;
use super::snapshot_fetch::{RunAsRoot, restore_command};
use super::target::TargetOptions;
use super::view::drill::{DrillView, lines};
use crate::common::Common;
use crate::config::{Config, ConfigError, host_name};
use crate::exit::{Caller, Failure, code};
use crate::output::print;
use crate::progress::ProgressOptions;
use crate::wiring::{InstalledPrograms, World, interrupted, new_token, program};

#[derive(Debug, Args)]
pub struct Options {
    /// Name of the backup, or LATEST
    #[arg(default_value = "LATEST", conflicts_with = "clean_up")]
    backup: NamedBackup,
    #[command(flatten)]
    target: TargetOptions,
    /// Where it takes place [default: `directory` under `[drill]`]
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
    /// Only clear what killed drills have left there
    #[arg(long)]
    clean_up: bool,
    #[command(flatten)]
    pub progress: ProgressOptions,
}

#[derive(Serialize)]
struct ReportView {
    backup_name: String,
    #[serde(flatten)]
    drill: DrillView,
    remarks: Vec<String>,
    cleared: Vec<PathBuf>,
}

#[derive(Serialize)]
struct ClearedView {
    cleared: Vec<PathBuf>,
}

/// The backup did not pass.
#[derive(Debug, thiserror::Error)]
#[error("the backup `{name}` failed the drill")]
struct NotProven {
    name: BackupName,
    #[source]
    reason: Reason,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Reason(String);

impl Classify for NotProven {
    fn class(&self) -> ErrorClass {
        ErrorClass::Corrupt
    }

    fn hint(&self) -> Option<String> {
        Some("take a new backup, and drill it: from this one, the cluster may not come back".to_owned())
    }
}

/// Drills.
pub async fn run(common: &Common, options: &Options, json: bool) -> Result<ExitCode, Failure> {
    if rustix::process::geteuid().is_root() {
        return Err(RunAsRoot::new("drill").into());
    }
    let world = World::open(common).await?;
    let directory = directory(&world.config, options)?;
    let programs = InstalledPrograms::new(world.config.drill.bindir.clone());
    if options.clean_up {
        let cleared = clear_drills(&world.ports(), &programs, &directory, &host_name()).await?;
        print(json, &ClearedView { cleared: cleared.clone() }, || describe_cleared(&cleared));
        return Ok(ExitCode::SUCCESS);
    }
    let request = request(&world.config, options, directory)?;
    let leaving = interrupted("what is there for `stillframe drill --clean-up`");
    let report = drill(&world.ports(), &programs, &request, leaving).await?;
    let view = ReportView {
        backup_name: report.backup.sentinel.name.to_string(),
        drill: DrillView::from(&report.record),
        remarks: report.remarks.clone(),
        cleared: report.cleared.clone(),
    };
    print(json, &view, || describe(&report));
    match report.record.outcome {
        DrillOutcome::Proven => Ok(ExitCode::SUCCESS),
        DrillOutcome::Failed(reason) => {
            let name = report.backup.sentinel.name;
            Err(Failure::from(NotProven { name, reason: Reason(reason) }).beside_a_result())
        }
    }
}

fn directory(config: &Config, options: &Options) -> Result<PathBuf, Failure> {
    let directory = options.directory.as_ref().or(config.drill.directory.as_ref());
    let directory = directory.ok_or(ConfigError::Missing { key: "drill.directory" })?;
    Ok(std::path::absolute(directory).unwrap_or_else(|_| directory.clone()))
}

fn request(config: &Config, options: &Options, directory: PathBuf) -> Result<DrillRequest, Failure> {
    let choice = |wanted| if wanted { CheckChoice::Wanted } else { CheckChoice::SwitchedOff };
    let drill = &config.drill;
    let copies = config.providers.iter().filter(|(_, provider)| provider.settings.grants.restore_below.is_empty());
    Ok(DrillRequest {
        backup: match &options.backup {
            NamedBackup::Latest => None,
            NamedBackup::Name(AnyBackupName::Snapshot(name)) => Some(name.clone()),
            NamedBackup::Name(AnyBackupName::WalG(name)) => return Err(FetchError::OfWalG(name.clone()).into()),
        },
        target: target(&options.target),
        timeline: options.target.target_timeline,
        directory,
        live: config.pgdata.iter().cloned().collect(),
        snapshot_roots: config.providers.values().flat_map(|provider| provider.snapshot_roots().cloned()).collect(),
        copying: copies.map(|(name, _)| name.clone()).collect(),
        restore_command: restore_command(&program(), &config.path),
        unreachable_code: code(ErrorClass::Transient, Caller::Recovery),
        token: new_token()?,
        hostname: host_name(),
        checks: DrillChecks {
            user: drill.user.clone(),
            database: drill.database.clone(),
            preload: drill.preload.clone(),
            scripts: scripts::read(&drill.sql)?,
            amcheck: choice(drill.amcheck),
            checksums: choice(drill.checksums),
        },
        deadline: drill.deadline,
    })
}

fn target(options: &TargetOptions) -> DrillTarget {
    match options.target() {
        RecoveryTarget::EndOfWal => DrillTarget::EndOfArchive,
        target => DrillTarget::Given(target, options.inclusion()),
    }
}

fn describe(report: &DrillReport) -> String {
    let mut all = vec![format!("name               {}", report.backup.sentinel.name)];
    all.extend(lines(&report.record));
    all.extend(report.remarks.iter().map(|remark| format!("note               {remark}")));
    all.extend(report.cleared.iter().map(|directory| format!("cleared            {}", directory.display())));
    all.join("\n")
}

fn describe_cleared(cleared: &[PathBuf]) -> String {
    if cleared.is_empty() {
        return "no drill has left anything".to_owned();
    }
    cleared.iter().map(|directory| format!("cleared {}", directory.display())).collect::<Vec<_>>().join("\n")
}
