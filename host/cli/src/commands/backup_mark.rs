//! `backup-mark`: makes a backup permanent, or ordinary again.

use std::process::ExitCode;

use clap::Args;
use stillframe_core::catalog::Permanence;
use stillframe_core::flows::{AnyBackupName, backup_mark};

use super::view::BackupView;
use crate::common::Common;
use crate::exit::Failure;
use crate::output::print;
use crate::parse;
use crate::wiring::World;

#[derive(Debug, Args)]
pub struct Options {
    /// Name of the backup
    #[arg(value_parser = parse::any_backup)]
    name: AnyBackupName,
    /// Let retention delete it again
    #[arg(long, short)]
    impermanent: bool,
}

/// Marks.
pub async fn run(common: &Common, options: &Options, json: bool) -> Result<ExitCode, Failure> {
    let name = options.name.ours("backup-mark")?;
    let world = World::open(common).await?;
    let permanence = if options.impermanent { Permanence::Ordinary } else { Permanence::Permanent };
    let backup = backup_mark(&world.ports(), name, permanence).await?;
    print(json, &BackupView::from(&backup), || {
        let meaning = if options.impermanent { "ordinary: retention may delete it" } else { "permanent: no rule deletes it" };
        format!("{} is {meaning}", backup.sentinel.name)
    });
    Ok(ExitCode::SUCCESS)
}
