//! `restore-point`: makes increments of backups, shows them and those that are only in the WAL, and removes their records.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use stillframe_core::catalog::{BackupName, Catalog, CatalogContents, Increment, RestorePointName};
use stillframe_core::flows::{
    ForeignRestorePoints, RestorePointRequest, SEGMENTS_TO_READ, create_restore_point, delete_restore_point, find_restore_point,
    list_foreign_restore_points,
};

use super::view::IncrementView;
use crate::common::Common;
use crate::exit::Failure;
use crate::output::{bytes, count, or_dash, print, table};
use crate::wiring::{World, lease_request};

/// What to do with restore points.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Name this moment: a restore point in the WAL, which is archived and kept as an increment of a backup
    Create(CreateOptions),
    /// Show the increments of all backups
    List(ListOptions),
    /// Remove an increment: its WAL is kept for it no longer; a dry run unless --confirm
    Delete(DeleteOptions),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Everything up to here is restored with `snapshot-fetch DIRECTORY NAME`. The command waits until the archive \
    holds what that needs, as long as `archive_timeout_secs` under `[backup]` says. On a standby it uses `primary_conninfo`."
)]
pub struct CreateOptions {
    /// Its name: at most 63 bytes, and not that of another one
    name: RestorePointName,
    /// The backup that it continues [default: the newest from which the server's WAL can be replayed]
    #[arg(long, value_name = "BACKUP")]
    parent: Option<BackupName>,
}

#[derive(Debug, Args)]
pub struct ListOptions {
    /// Show restore points as well that stand in the archived WAL only: others made them
    #[arg(long)]
    others: bool,
    /// Segments of WAL that are read at most, the newest first
    #[arg(long, value_name = "N", default_value_t = SEGMENTS_TO_READ, requires = "others")]
    scan: u64,
}

#[derive(Debug, Args)]
pub struct DeleteOptions {
    /// Its name
    name: RestorePointName,
    /// Remove it; without it, only show what would be removed
    #[arg(long)]
    confirm: bool,
}

#[derive(Serialize)]
struct Listing {
    restore_points: Vec<IncrementView>,
    /// Increments whose backup is not there: nothing can be restored by them.
    without_backup: Vec<IncrementView>,
    /// Restore points that stand in the WAL only; null when they were not looked for.
    others: Option<Vec<OtherView>>,
    /// Why not all of the WAL was read; null if it was.
    others_incomplete: Option<String>,
    unreadable: Vec<String>,
}

#[derive(Serialize)]
struct OtherView {
    name: String,
    timeline: u32,
    lsn: String,
    time: Timestamp,
}

#[derive(Serialize)]
struct Deletion {
    is_dry_run: bool,
    restore_point: IncrementView,
}

/// Runs one of them.
pub async fn run(common: &Common, command: &Command, json: bool) -> Result<ExitCode, Failure> {
    let world = World::open(common).await?;
    match command {
        Command::Create(options) => create(&world, options, json).await,
        Command::List(options) => list(&world, options, json).await,
        Command::Delete(options) => delete(&world, options, json).await,
    }
}

async fn create(world: &World, options: &CreateOptions, json: bool) -> Result<ExitCode, Failure> {
    let request = RestorePointRequest {
        name: options.name.clone(),
        parent: options.parent.clone(),
        deadline: world.config.deadlines.archive,
        lease: lease_request("restore-point"),
    };
    let (server, primary) = (world.connect().await?, world.connect_to_primary().await?);
    let increment = create_restore_point(&world.ports(), server, primary, &request).await?;
    print(json, &IncrementView::from(&increment), || {
        let (from, to, size) = (increment.from, increment.to, bytes(increment.size_bytes));
        let segments = count(usize::try_from(increment.segments).unwrap_or(usize::MAX), "segment");
        format!("{} continues {}: {from} … {to}, {segments}, {size} in the archive", increment.name, increment.parent)
    });
    Ok(ExitCode::SUCCESS)
}

async fn list(world: &World, options: &ListOptions, json: bool) -> Result<ExitCode, Failure> {
    let contents = Catalog::new(&*world.store, &world.layout).contents().await?;
    let others = if options.others { Some(list_foreign_restore_points(&world.ports(), options.scan).await?) } else { None };
    let ours = contents.backups.iter().flat_map(|backup| &backup.increments);
    let listing = Listing {
        restore_points: ours.map(IncrementView::from).collect(),
        without_backup: contents.stray_increments.iter().map(IncrementView::from).collect(),
        others: others.as_ref().map(other_views),
        others_incomplete: others.as_ref().and_then(|found| found.stopped.clone()),
        unreadable: contents.unreadable.iter().map(ToString::to_string).collect(),
    };
    print(json, &listing, || describe(&contents, others.as_ref()));
    contents.complete().map_err(|error| Failure::from(error).beside_a_result())?;
    Ok(ExitCode::SUCCESS)
}

async fn delete(world: &World, options: &DeleteOptions, json: bool) -> Result<ExitCode, Failure> {
    let ports = world.ports();
    let increment = if options.confirm {
        delete_restore_point(&ports, &options.name, &lease_request("restore-point")).await?
    } else {
        find_restore_point(&ports, &options.name).await?
    };
    let view = Deletion { is_dry_run: !options.confirm, restore_point: IncrementView::from(&increment) };
    print(json, &view, || {
        let (name, parent) = (&increment.name, &increment.parent);
        let (from, to) = (increment.from, increment.to);
        if options.confirm {
            format!("{name} is removed; its WAL goes with the next `stillframe delete` if nothing else needs it")
        } else {
            format!("would remove {name}, which continues {parent}: {from} … {to}\nadd --confirm to do it")
        }
    });
    Ok(ExitCode::SUCCESS)
}

fn other_views(found: &ForeignRestorePoints) -> Vec<OtherView> {
    let view = |point: &stillframe_core::flows::ForeignRestorePoint| OtherView {
        name: point.name.clone(),
        timeline: point.timeline.get(),
        lsn: point.lsn.to_string(),
        time: point.at,
    };
    found.points.iter().map(view).collect()
}

fn describe(contents: &CatalogContents, others: Option<&ForeignRestorePoints>) -> String {
    let ours = contents.backups.iter().flat_map(|backup| &backup.increments);
    let strays = contents.stray_increments.iter();
    let rows: Vec<Vec<String>> =
        ours.map(|increment| row(increment, "")).chain(strays.map(|stray| row(stray, "its backup is not there"))).collect();
    let mut text = if rows.is_empty() {
        "no restore points".to_owned()
    } else {
        table(&["NAME", "BACKUP", "FROM", "TO", "TIMELINE", "SEGMENTS", "SIZE", "MADE", "REMARKS"], &rows)
    };
    let Some(others) = others else { return text };
    if others.points.is_empty() {
        text.push_str("\n\nno others in the WAL that was read");
    } else {
        let row = |point: &stillframe_core::flows::ForeignRestorePoint| {
            vec![point.name.clone(), point.timeline.to_string(), point.lsn.to_string(), moment(point.at)]
        };
        text.push_str("\n\nonly in the WAL:\n");
        text.push_str(&table(&["NAME", "TIMELINE", "LSN", "MADE"], &others.points.iter().map(row).collect::<Vec<_>>()));
    }
    if let Some(reason) = &others.stopped {
        text.push_str("\nnot all of the WAL was read: ");
        text.push_str(reason);
    }
    text
}

fn row(increment: &Increment, remark: &str) -> Vec<String> {
    vec![
        increment.name.to_string(),
        increment.parent.to_string(),
        increment.from.to_string(),
        increment.to.to_string(),
        increment.timeline.to_string(),
        increment.segments.to_string(),
        bytes(increment.size_bytes),
        moment(increment.created_at),
        or_dash(Some(remark.to_owned()).filter(|remark| !remark.is_empty())),
    ]
}

fn moment(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}
