//! `backup-list`: every backup, oldest first, what is not one yet, and the base backups that WAL-G keeps in the same place.
//!
//! The providers of backups that are not known to be ready are asked, and what they say is recorded; no others are.
//! In JSON those of WAL-G stand in a list of their own: whoever takes a name out of `backups` can restore it with us.

use std::iter::once;
use std::process::ExitCode;

use jiff::Timestamp;
use serde::Serialize;
use stillframe_core::catalog::{Backup, Catalog, Increment, RestoreRecord, Restores, WalGBackup};
use stillframe_core::flows::settle_states;

use super::view::{BackupView, IncrementView, OUTSIDE, RestoreView, WalGView, providers, remarks, walg_remarks};
use crate::common::Common;
use crate::exit::Failure;
use crate::output::{bytes, count, or_dash, print, table};
use crate::wiring::World;

#[derive(Serialize)]
struct Listing {
    backups: Vec<BackupView>,
    walg_backups: Vec<WalGView>,
    walg_unfinished: Vec<String>,
    intents: Vec<IntentView>,
    /// Increments whose backup is not there: nothing can be restored by them.
    restore_points_without_backup: Vec<IncrementView>,
    restores: Vec<RestoreView>,
    /// Copies that may still recover, and keep their backups meanwhile.
    recoveries: Vec<RestoreView>,
    unreadable: Vec<String>,
}

#[derive(Serialize)]
struct IntentView {
    backup_name: String,
    begun_at: String,
    expires_at: String,
    provider: String,
    providers: Vec<String>,
    is_outside: bool,
    hostname: String,
}

/// Lists. A record that cannot be read is reported, and the command fails after listing the others.
pub async fn run(common: &Common, json: bool) -> Result<ExitCode, Failure> {
    let world = World::open(common).await?;
    let catalog = Catalog::new(&*world.store, &world.layout);
    let (mut contents, walg) = (catalog.contents().await?, catalog.walg().await?);
    settle_states(&world.ports(), &mut contents).await;
    let records = Restores::new(&*world.store, &world.layout);
    let (restores, unreadable_restores) = records.all().await?;
    let (mut recoveries, unreadable_recoveries) = records.recoveries().await?;
    recoveries.retain(|copy| Timestamp::now() < copy.recovers_until());
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
                provider: intent.requests.last().map(|request| request.provider.to_string()).unwrap_or_default(),
                providers: intent.requests.iter().map(|request| request.provider.to_string()).collect(),
                is_outside: intent.is_outside,
                hostname: intent.hostname.clone(),
            })
            .collect(),
        restore_points_without_backup: contents.stray_increments.iter().map(IncrementView::from).collect(),
        restores: restores.iter().map(RestoreView::from).collect(),
        recoveries: recoveries.iter().map(RestoreView::from).collect(),
        unreadable: contents
            .unreadable
            .iter()
            .chain(&walg.unreadable)
            .chain(&unreadable_restores)
            .chain(&unreadable_recoveries)
            .map(ToString::to_string)
            .collect(),
    };
    print(json, &listing, || {
        let family = |backup: &Backup| once(row(backup, &restores)).chain(backup.increments.iter().map(increment_row)).collect();
        let mut families: Vec<Vec<Vec<String>>> = contents.backups.iter().map(family).collect();
        families.extend(walg.backups.iter().map(|backup| vec![walg_row(backup)]));
        // By the moment of their end, whosever they are; those without one first. Increments stand below their parents.
        families.sort_by(|one, other| one[0][2].cmp(&other[0][2]));
        let mut rows: Vec<Vec<String>> = families.into_iter().flatten().collect();
        rows.extend(contents.stray_increments.iter().map(stray_row));
        rows.extend(walg.unfinished.iter().map(|name| unfinished_row(&name.to_string(), "WAL-G", "-")));
        let begun = contents.intents.iter();
        rows.extend(begun.map(|intent| {
            let providers: Vec<String> = intent.requests.iter().map(|request| request.provider.to_string()).collect();
            let providers = if intent.is_outside { OUTSIDE.to_owned() } else { providers.join(", ") };
            unfinished_row(&intent.name.to_string(), "snapshot", &providers)
        }));
        let mut text = if rows.is_empty() {
            "no backups".to_owned()
        } else {
            table(&["NAME", "KIND", "FINISHED", "AT LSN", "PROVIDER", "SIZE", "REMARKS"], &rows)
        };
        if !restores.is_empty() {
            let rows: Vec<Vec<String>> = restores.iter().map(restore_row).collect();
            text.push_str("\n\nrestores to be released one day with `stillframe snapshot-release`:\n");
            text.push_str(&table(&["TOKEN", "BACKUP", "HOST", "DESTINATION", "SINCE"], &rows));
        }
        text
    });
    // What is listed is right; that it is not all must not go unnoticed.
    let complete = contents.complete().map(drop).and(walg.complete().map(drop));
    let complete = complete.and(unreadable_restores.into_iter().next().map_or(Ok(()), Err));
    complete.map_err(|error| Failure::from(error).beside_a_result())?;
    Ok(ExitCode::SUCCESS)
}

fn row(backup: &Backup, restores: &[RestoreRecord]) -> Vec<String> {
    let sentinel = &backup.sentinel;
    vec![
        sentinel.name.to_string(),
        "snapshot".to_owned(),
        moment(sentinel.finished_at),
        sentinel.stop_lsn.to_string(),
        providers(backup),
        or_dash(sentinel.size_bytes().map(bytes)),
        remarks(backup, restores),
    ]
}

fn increment_row(increment: &Increment) -> Vec<String> {
    let segments = usize::try_from(increment.segments).unwrap_or(usize::MAX);
    vec![
        format!("  {}", increment.name),
        "restore point".to_owned(),
        moment(increment.created_at),
        increment.to.to_string(),
        or_dash(None),
        bytes(increment.size_bytes),
        format!("{} from {}", count(segments, "segment"), increment.from),
    ]
}

fn stray_row(stray: &Increment) -> Vec<String> {
    let mut row = increment_row(stray);
    stray.name.as_str().clone_into(&mut row[0]);
    row[6] = format!("its backup {} is not there", stray.parent);
    row
}

fn restore_row(record: &RestoreRecord) -> Vec<String> {
    vec![
        record.token.0.clone(),
        record.backup.to_string(),
        record.hostname.clone(),
        record.destination.display().to_string(),
        moment(record.begun_at),
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
