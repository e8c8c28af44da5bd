//! `backup-show`: everything that is known about one backup.

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use stillframe_core::catalog::{Backup, BackupSet, BackupState, Catalog, RestoreRecord, Restores, WalGBackup, WalGName};
use stillframe_core::flows::{AnyBackupName, MarkError, VerifyError, settle_states};
use stillframe_core::postgres::Lsn;

use super::named::NamedBackup;
use super::view::drill::lines as drill_lines;
use super::view::{BackupView, RangeView, RestoreView, WalGView, consistency, providers, remarks, walg_remarks};
use crate::common::Common;
use crate::exit::Failure;
use crate::output::{bytes, print};
use crate::wiring::World;

#[derive(Debug, Args)]
pub struct Options {
    /// Name of the backup, ours or WAL-G's, or LATEST for the newest of ours
    name: NamedBackup,
}

#[derive(Serialize)]
struct Details {
    #[serde(flatten)]
    backup: BackupView,
    backup_label: String,
    tablespace_map: String,
    paths: serde_json::Value,
    /// Of PGDATA; `sets` has all.
    snapshot: serde_json::Value,
    sets: serde_json::Value,
    restores: Vec<RestoreView>,
    /// Copies that may still recover, and keep it meanwhile.
    recoveries: Vec<RestoreView>,
}

/// Shows.
pub async fn run(common: &Common, options: &Options, json: bool) -> Result<ExitCode, Failure> {
    let world = World::open(common).await?;
    let catalog = Catalog::new(&*world.store, &world.layout);
    let named = options.name.resolve(&catalog).await?;
    let name = match &named {
        AnyBackupName::WalG(name) => return show_walg(&catalog, name, json).await,
        AnyBackupName::Snapshot(name) => name,
    };
    let mut contents = catalog.contents().await?;
    contents.backups.retain(|backup| &backup.sentinel.name == name);
    settle_states(&world.ports(), &mut contents).await;
    let Some(backup) = contents.find(name) else {
        for error in contents.unreadable {
            tracing::warn!(%error, "left out");
        }
        return Err(MarkError::NoSuchBackup(name.clone()).into());
    };
    let records = Restores::new(&*world.store, &world.layout);
    let (mut restores, unreadable) = records.all().await?;
    let (mut recoveries, unreadable_recoveries) = records.recoveries().await?;
    for error in unreadable.into_iter().chain(unreadable_recoveries) {
        tracing::warn!(%error, "left out");
    }
    restores.retain(|record| &record.backup == name);
    recoveries.retain(|copy| &copy.backup == name && Timestamp::now() < copy.recovers_until());
    let sentinel = &backup.sentinel;
    let details = Details {
        backup: BackupView::from(backup),
        backup_label: String::from_utf8_lossy(sentinel.backup_label.as_bytes()).into_owned(),
        tablespace_map: String::from_utf8_lossy(sentinel.tablespace_map.as_bytes()).into_owned(),
        paths: serde_json::to_value(&sentinel.paths).unwrap_or_default(),
        snapshot: sentinel.sets.last().and_then(|set| serde_json::to_value(&set.snapshot).ok()).unwrap_or_default(),
        sets: serde_json::to_value(&sentinel.sets).unwrap_or_default(),
        restores: restores.iter().map(RestoreView::from).collect(),
        recoveries: recoveries.iter().map(RestoreView::from).collect(),
    };
    print(json, &details, || describe(backup, &restores, &recoveries));
    Ok(ExitCode::SUCCESS)
}

async fn show_walg(catalog: &Catalog<'_>, name: &WalGName, json: bool) -> Result<ExitCode, Failure> {
    let contents = catalog.walg().await?;
    let Some(backup) = contents.find(name) else {
        for error in contents.unreadable {
            tracing::warn!(%error, "left out");
        }
        return Err(VerifyError::NoSuchBackup(name.to_string()).into());
    };
    print(json, &WalGView::from(backup), || describe_walg(backup));
    Ok(ExitCode::SUCCESS)
}

fn describe_walg(backup: &WalGBackup) -> String {
    let position = |lsn: Option<Lsn>| lsn.map_or_else(|| "unknown".to_owned(), |lsn| lsn.to_string());
    let facts = [
        ("name", Some(backup.name.to_string())),
        ("kind", Some("base backup of WAL-G, which restores and deletes it".to_owned())),
        ("started", backup.started_at.map(|moment| moment.to_string())),
        ("finished", backup.finished_at.map(|moment| moment.to_string())),
        (
            "WAL",
            Some(format!(
                "{} to {} on timeline {}",
                position(backup.start_lsn),
                position(backup.finish_lsn),
                backup.name.timeline()
            )),
        ),
        ("first WAL file", Some(backup.name.start_file().to_string())),
        ("delta of", backup.delta_from.clone()),
        ("PostgreSQL", backup.version.map(|version| version.to_string())),
        ("system identifier", backup.system_identifier.map(|identifier| identifier.to_string())),
        ("host", backup.hostname.clone()),
        ("data directory", backup.data_directory.as_ref().map(|path| path.display().to_string())),
        ("size", backup.uncompressed_bytes.map(bytes)),
        ("size in the store", backup.compressed_bytes.map(bytes)),
        ("user data", backup.user_data.as_ref().map(ToString::to_string)),
        ("remarks", Some(walg_remarks(backup)).filter(|remarks| !remarks.is_empty())),
    ];
    let lines = facts.into_iter().filter_map(|(fact, value)| Some(format!("{fact:18} {}", value?)));
    lines.collect::<Vec<_>>().join("\n")
}

fn describe(backup: &Backup, restores: &[RestoreRecord], recoveries: &[RestoreRecord]) -> String {
    let sentinel = &backup.sentinel;
    let wal = RangeView::new(sentinel.wal_range(), sentinel.segment_size);
    let mut lines = vec![
        format!("name               {}", sentinel.name),
        "kind               snapshot".to_owned(),
        format!("started            {}", sentinel.started_at),
        format!("finished           {}", sentinel.finished_at),
        format!("WAL                {} to {} on timeline {}", sentinel.start_lsn, sentinel.stop_lsn, sentinel.timeline),
        match sentinel.kept_segment() {
            Some(kept) => format!("WAL files          {kept}, kept with the backup"),
            None => format!("WAL files          {} to {}", wal.first, wal.last),
        },
        format!("PostgreSQL         {}", sentinel.version),
        format!("system identifier  {}", sentinel.system_identifier),
        format!("host               {}", sentinel.hostname),
        format!("data directory     {}", sentinel.data_directory.display()),
        format!("provider           {}", providers(backup)),
        format!("state              {}", state(&backup.state)),
        format!("consistency        {}", consistency(sentinel)),
        format!("size               {}", sentinel.size_bytes().map_or_else(|| "unknown".to_owned(), bytes)),
    ];
    if let Some(external) = &sentinel.external_archive {
        lines.push(format!("WAL kept by        {}: {}", external.describe(), external.proof_in_words()));
    }
    lines.extend(sentinel.paths.iter().map(|path| format!("directory          {} {}", path.name, path.path.display())));
    lines.extend(sentinel.sets.iter().flat_map(|set| volumes(backup, set)));
    if let Some(copy) = &sentinel.outside {
        let ids = if copy.snapshot_ids.is_empty() { "not told".to_owned() } else { copy.snapshot_ids.join(", ") };
        lines.push(format!("outside copy       {ids}; the tool that made it restores and deletes it"));
    }
    lines.extend(backup.drill.iter().flat_map(drill_lines));
    if let Some(data) = &sentinel.user_data {
        lines.push(format!("user data          {data}"));
    }
    lines.extend(restores.iter().map(|record| {
        format!(
            "restored           {} on {}, since {}: {}",
            record.destination.display(),
            record.hostname,
            record.begun_at,
            record.token.0
        )
    }));
    lines.extend(recoveries.iter().map(|copy| {
        let (destination, host, until) = (copy.destination.display(), &copy.hostname, copy.recovers_until());
        format!("kept for the copy  {destination} on {host}, until {until}: {}", copy.token.0)
    }));
    let remarks = remarks(backup, restores);
    if !remarks.is_empty() {
        lines.push(format!("remarks            {remarks}"));
    }
    lines.join("\n")
}

fn state(state: &BackupState) -> String {
    match state {
        BackupState::Cut => "cut: the storage system has not said yet that it is ready".to_owned(),
        BackupState::Ready => "ready".to_owned(),
        BackupState::Failed(reason) => format!("failed: {reason}"),
    }
}

/// One line for each volume: its place in the cutting order, what lies on it, and its snapshot.
fn volumes(backup: &Backup, set: &BackupSet) -> Vec<String> {
    let describe = |(volume, id): (&String, &String)| {
        let known = set.volume(volume);
        // A backup of an older version does not say what lies where.
        let held = known.map_or_else(
            || "not recorded".to_owned(),
            |known| {
                let paths = backup.sentinel.paths.iter().filter(|path| known.paths.contains(&path.name));
                paths.map(|path| path.name.to_string()).collect::<Vec<_>>().join(", ")
            },
        );
        let order = known.map_or_else(|| "?".to_owned(), |known| known.cut_order.to_string());
        format!("volume {order:<11} {held} on {volume}, {} {id}", set.provider)
    };
    let mut members: Vec<_> = set.snapshot.members.iter().collect();
    members.sort_by_key(|member| set.volume(&member.volume).map(|volume| volume.cut_order));
    members.into_iter().map(|member| describe((&member.volume, &member.id))).collect()
}
