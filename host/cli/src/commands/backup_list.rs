//! `backup-list`: every backup, oldest first, what is not one yet, and the base backups that WAL-G keeps in the same place.
//!
//! In JSON those of WAL-G stand in a list of their own: whoever takes a name out of `backups` can restore it with us.

use std::process::ExitCode;

use serde::Serialize;
use stillframe_core::catalog::{Catalog, WalGBackup};

use super::view::{BackupView, WalGView, remarks, walg_remarks};
use crate::common::Common;
use crate::exit::Failure;
use crate::output::{bytes, print, table};
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
        let mut rows: Vec<Vec<String>> = contents
            .backups
            .iter()
            .map(|backup| {
                let sentinel = &backup.sentinel;
                let finished = sentinel.finished_at.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
                let size = sentinel.size_bytes().map_or_else(|| "-".to_owned(), bytes);
                let provider = sentinel.provider.to_string();
                let kind = "snapshot".to_owned();
                vec![sentinel.name.to_string(), kind, finished, sentinel.stop_lsn.to_string(), provider, size, remarks(backup)]
            })
            .collect();
        rows.extend(walg.backups.iter().map(walg_row));
        // By the moment of their end, whosever they are; those without one first.
        rows.sort_by(|one, other| one[2].cmp(&other[2]));
        rows.extend(walg.unfinished.iter().map(|name| {
            let none = || "-".to_owned();
            vec![name.to_string(), "WAL-G".to_owned(), none(), none(), none(), none(), "running or interrupted".to_owned()]
        }));
        rows.extend(contents.intents.iter().map(|intent| {
            let none = || "-".to_owned();
            let kind = "snapshot".to_owned();
            vec![
                intent.name.to_string(),
                kind,
                none(),
                none(),
                intent.provider.to_string(),
                none(),
                "running or interrupted".to_owned(),
            ]
        }));
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

fn walg_row(backup: &WalGBackup) -> Vec<String> {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    vec![
        backup.name.to_string(),
        "WAL-G".to_owned(),
        or_none(backup.finished_at.map(|moment| moment.strftime("%Y-%m-%d %H:%M:%SZ").to_string())),
        or_none(backup.finish_lsn.map(|position| position.to_string())),
        "-".to_owned(),
        or_none(backup.uncompressed_bytes.map(bytes)),
        walg_remarks(backup),
    ]
}
