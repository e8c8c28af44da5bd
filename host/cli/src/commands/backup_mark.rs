//! `backup-mark`: makes a backup permanent, or ordinary again.

use std::process::ExitCode;

use clap::Args;
use stillframe_core::catalog::{Catalog, Permanence};
use stillframe_core::flows::backup_mark;

use super::named::NamedBackup;
use super::view::BackupView;
use crate::common::Common;
use crate::exit::Failure;
use crate::output::print;
use crate::wiring::World;

#[derive(Debug, Args)]
pub struct Options {
    /// Name of the backup, or LATEST for the newest
    name: NamedBackup,
    /// Let retention delete it again
    #[arg(long, short)]
    impermanent: bool,
}

/// Marks.
pub async fn run(common: &Common, options: &Options, json: bool) -> Result<ExitCode, Failure> {
    let world = World::open(common).await?;
    let named = options.name.resolve(&Catalog::new(&*world.store, &world.layout)).await?;
    let name = named.ours("backup-mark")?;
    let permanence = if options.impermanent { Permanence::Ordinary } else { Permanence::Permanent };
    let backup = backup_mark(&world.ports(), name, permanence).await?;
    print(json, &BackupView::from(&backup), || {
        let meaning = if options.impermanent { "ordinary: retention may delete it" } else { "permanent: no rule deletes it" };
        format!("{} is {meaning}", backup.sentinel.name)
    });
    Ok(ExitCode::SUCCESS)
}
