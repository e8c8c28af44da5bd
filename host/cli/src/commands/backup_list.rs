//! `backup-list`: every backup, oldest first, what is not one yet, and the base backups that WAL-G keeps in the same place.
//!
//! In JSON those of WAL-G stand in a list of their own: whoever takes a name out of `backups` can restore it with us.

use std::process::ExitCode;

use jiff::Timestamp;
use serde::Serialize;
use stillframe_core::catalog::{Backup, Catalog, WalGBackup};

use super::view::{BackupView, WalGView, remarks, walg_remarks};
use crate::common::Common;
use crate::exit::Failure;
use crate::output::{bytes, or_dash, print, table};
use crate::wiring::World;

#[derive(Serialize)]
struct Listing {
    backups: Vec<BackupView>,
    walg_backups: Vec<WalGView>,
    walg_unfinished: Vec<String>,
    intents: Vec<IntentView>,
    unreadable: Vec<String>,
}

#[derive(Serialize)]
struct IntentView {
    backup_name: String,
    begun_at: String,
    expires_at: String,
    provider: String,
    hostname: String,
}

/// Lists. A record that cannot be read is reported, and the command fails after listing the others.
pub async fn run(common: &Common, json: bool) -> Result<ExitCode, Failure> {
    let world = World::open(common).await?;
    let catalog = Catalog::new(&*world.store, &world.layout);
    let (contents, walg) = (catalog.contents().await?, catalog.walg().await?);
    let listing = Listing {
        backups: contents.backups.iter().map(BackupView::from).collect(),
        walg_backups: walg.backups.iter().map(WalGView::from).collect(),
        walg_unfinished: walg.unfinished.iter().map(ToString::to_string).collect(),
        intents: contents
            .intents
            .iter()
            .map(|intent| IntentView {
                backup_name: intent.name.to_string(),
                begun_at: intent.begun_at.to_string(),
                expires_at: intent.expires_at.to_string(),
                provider: intent.provider.to_string(),
                hostname: intent.hostname.clone(),
            })
            .collect(),
        unreadable: contents.unreadable.iter().chain(&walg.unreadable).map(ToString::to_string).collect(),
    };
    print(json, &listing, || {
        let mut rows: Vec<Vec<String>> = contents.backups.iter().map(row).collect();
        rows.extend(walg.backups.iter().map(walg_row));
        // By the moment of their end, whosever they are; those without one first.
        rows.sort_by(|one, other| one[2].cmp(&other[2]));
        rows.extend(walg.unfinished.iter().map(|name| unfinished_row(&name.to_string(), "WAL-G", "-")));
        let begun = contents.intents.iter();
        rows.extend(begun.map(|intent| unfinished_row(&intent.name.to_string(), "snapshot", &intent.provider.to_string())));
        if rows.is_empty() {
            "no backups".to_owned()
        } else {
            table(&["NAME", "KIND", "FINISHED", "AT LSN", "PROVIDER", "SIZE", "REMARKS"], &rows)
        }
    });
    // What is listed is right; that it is not all must not go unnoticed.
    let complete = contents.complete().and_then(|_| walg.complete());
    complete.map_err(|error| Failure::from(error).beside_a_result())?;
    Ok(ExitCode::SUCCESS)
}

fn row(backup: &Backup) -> Vec<String> {
    let sentinel = &backup.sentinel;
    vec![
        sentinel.name.to_string(),
        "snapshot".to_owned(),
        moment(sentinel.finished_at),
        sentinel.stop_lsn.to_string(),
        sentinel.provider.to_string(),
        or_dash(sentinel.size_bytes().map(bytes)),
        remarks(backup),
    ]
}

fn walg_row(backup: &WalGBackup) -> Vec<String> {
    vec![
        backup.name.to_string(),
        "WAL-G".to_owned(),
        or_dash(backup.finished_at.map(moment)),
        or_dash(backup.finish_lsn.map(|position| position.to_string())),
        or_dash(None),
        or_dash(backup.uncompressed_bytes.map(bytes)),
        walg_remarks(backup),
    ]
}

/// What has no sentinel: nobody knows its end.
fn unfinished_row(name: &str, kind: &str, provider: &str) -> Vec<String> {
    [name, kind, "-", "-", provider, "-", "running or interrupted"].map(str::to_owned).to_vec()
}

fn moment(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}
