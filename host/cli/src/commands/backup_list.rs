//! `backup-list`: every backup, oldest first, and what is not one yet.

use std::process::ExitCode;

use serde::Serialize;
use stillframe_core::catalog::Catalog;

use super::view::{BackupView, remarks};
use crate::common::Common;
use crate::exit::Failure;
use crate::output::{bytes, print, table};
use crate::wiring::World;

#[derive(Serialize)]
struct Listing {
    backups: Vec<BackupView>,
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
    let world = World::open(common)?;
    let contents = Catalog::new(&*world.store, &world.layout).contents().await?;
    let listing = Listing {
        backups: contents.backups.iter().map(BackupView::from).collect(),
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
        unreadable: contents.unreadable.iter().map(ToString::to_string).collect(),
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
                vec![sentinel.name.to_string(), finished, sentinel.stop_lsn.to_string(), provider, size, remarks(backup)]
            })
            .collect();
        rows.extend(contents.intents.iter().map(|intent| {
            let none = || "-".to_owned();
            vec![intent.name.to_string(), none(), none(), intent.provider.to_string(), none(), "running or interrupted".to_owned()]
        }));
        if rows.is_empty() {
            "no backups".to_owned()
        } else {
            table(&["NAME", "FINISHED", "AT LSN", "PROVIDER", "SIZE", "REMARKS"], &rows)
        }
    });
    // What is listed is right; that it is not all must not go unnoticed.
    contents.complete().map_err(|error| Failure::from(error).beside_a_result())?;
    Ok(ExitCode::SUCCESS)
}
