//! `backup-show`: everything that is known about one backup.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use stillframe_core::catalog::{Backup, BackupName, Catalog};
use stillframe_core::flows::MarkError;

use super::view::{BackupView, remarks};
use crate::common::Common;
use crate::exit::Failure;
use crate::output::{bytes, print};
use crate::wiring::World;

#[derive(Debug, Args)]
pub struct Options {
    /// Name of the backup
    name: BackupName,
}

#[derive(Serialize)]
struct Details {
    #[serde(flatten)]
    backup: BackupView,
    backup_label: String,
    tablespace_map: String,
    paths: serde_json::Value,
    snapshot: serde_json::Value,
}

/// Shows.
pub async fn run(common: &Common, options: &Options, json: bool) -> Result<ExitCode, Failure> {
    let world = World::open(common)?;
    let contents = Catalog::new(&*world.store, &world.layout).contents().await?;
    let Some(backup) = contents.find(&options.name) else {
        for error in contents.unreadable {
            tracing::warn!(%error, "left out");
        }
        return Err(MarkError::NoSuchBackup(options.name.clone()).into());
    };
    let sentinel = &backup.sentinel;
    let details = Details {
        backup: BackupView::from(backup),
        backup_label: String::from_utf8_lossy(sentinel.backup_label.as_bytes()).into_owned(),
        tablespace_map: String::from_utf8_lossy(sentinel.tablespace_map.as_bytes()).into_owned(),
        paths: serde_json::to_value(&sentinel.paths).unwrap_or_default(),
        snapshot: serde_json::to_value(&sentinel.snapshot).unwrap_or_default(),
    };
    print(json, &details, || describe(backup));
    Ok(ExitCode::SUCCESS)
}

fn describe(backup: &Backup) -> String {
    let sentinel = &backup.sentinel;
    let range = sentinel.wal_range();
    let files: Vec<String> = range.segments().map(|segment| segment.file_name(sentinel.segment_size).to_string()).collect();
    let mut lines = vec![
        format!("name               {}", sentinel.name),
        format!("started            {}", sentinel.started_at),
        format!("finished           {}", sentinel.finished_at),
        format!("WAL                {} to {} on timeline {}", sentinel.start_lsn, sentinel.stop_lsn, sentinel.timeline),
        format!("WAL files          {} to {}", files.first().map_or("-", |file| file), files.last().map_or("-", |file| file)),
        format!("PostgreSQL         {}", sentinel.version),
        format!("system identifier  {}", sentinel.system_identifier),
        format!("host               {}", sentinel.hostname),
        format!("data directory     {}", sentinel.data_directory.display()),
        format!("provider           {}", sentinel.provider),
        format!("size               {}", sentinel.size_bytes().map_or_else(|| "unknown".to_owned(), bytes)),
    ];
    lines.extend(sentinel.paths.iter().map(|path| format!("directory          {} {}", path.name, path.path.display())));
    lines.extend(sentinel.snapshot.members.iter().map(|member| format!("snapshot           {} {}", member.volume, member.id)));
    if let Some(data) = &sentinel.user_data {
        lines.push(format!("user data          {data}"));
    }
    let remarks = remarks(backup);
    if !remarks.is_empty() {
        lines.push(format!("remarks            {remarks}"));
    }
    lines.join("\n")
}
