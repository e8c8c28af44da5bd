//! `backup-lock`: keeps a backup's snapshots from being deleted before a moment, by the storage system itself.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use stillframe_core::catalog::{BackupLock, Catalog};
use stillframe_core::flows::{LockAction, backup_lock};
use stillframe_core::provider::LockMode;

use super::named::NamedBackup;
use super::view::BackupView;
use crate::common::Common;
use crate::exit::Failure;
use crate::output::print;
use crate::parse;
use crate::wiring::{World, lease_request};

#[derive(Debug, Args)]
pub struct Options {
    /// Name of the backup, or LATEST for the newest
    name: NamedBackup,
    /// Until when: `2026-12-21 08:32:14+00`, local time without a zone; a later moment prolongs a lock
    #[arg(long, value_name = "TIME", value_parser = parse::moment, required_unless_present = "release")]
    until: Option<Timestamp>,
    /// Who may lift the lock before its end
    #[arg(long, value_enum, default_value = "governance", conflicts_with = "release")]
    mode: Mode,
    /// Lift the lock
    #[arg(long, conflicts_with = "until")]
    release: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Those with the right to
    Governance,
    /// Nobody
    Compliance,
}

impl Options {
    fn action(&self) -> LockAction {
        let mode = match self.mode {
            Mode::Governance => LockMode::Governance,
            Mode::Compliance => LockMode::Compliance,
        };
        self.until.map_or(LockAction::Release, |until| LockAction::Lock(BackupLock { mode, until }))
    }
}

/// Locks, or lifts the lock.
pub async fn run(common: &Common, options: &Options, json: bool) -> Result<ExitCode, Failure> {
    let world = World::open(common).await?;
    let named = options.name.resolve(&Catalog::new(&*world.store, &world.layout)).await?;
    let name = named.ours("backup-mark")?;
    let backup = backup_lock(&world.ports(), name, options.action(), &lease_request("backup-lock")).await?;
    print(json, &BackupView::from(&backup), || match backup.lock {
        Some(lock) => format!("{name} is locked until {}", lock.until),
        None => format!("{name} is not locked"),
    });
    Ok(ExitCode::SUCCESS)
}
