//! `session status`: what a session does, or what became of it.

use std::process::ExitCode;

use serde::Serialize;
use stillframe_core::session_directory::{SessionDirectory, SessionRecord};

use super::{Choice, without_owner};
use crate::common::Common;
use crate::exit::Failure;
use crate::output::{or_dash, print, table};
use crate::session::{directory, refuse_elsewhere};
use crate::wiring::World;

/// What `status` of one session ends with when its copy can never be a backup.
const VOID: u8 = 1;

#[derive(Serialize)]
struct View {
    session_id: String,
    state: &'static str,
    /// Whether a process holds it now.
    is_held: bool,
    is_void: bool,
    reason: Option<String>,
    backup_name: String,
    start_lsn: Option<String>,
    begun_at: String,
    changed_at: String,
    timeout_secs: Option<u64>,
    hostname: String,
    cluster: String,
}

#[derive(Serialize)]
struct Listing {
    sessions: Vec<View>,
}

impl View {
    fn new(record: SessionRecord, is_held: bool) -> Self {
        Self {
            session_id: record.id.to_string(),
            state: record.state.as_str(),
            is_held,
            is_void: record.state.is_void(),
            reason: record.reason,
            backup_name: record.backup_name.to_string(),
            start_lsn: record.start_lsn.map(|position| position.to_string()),
            begun_at: record.begun_at.to_string(),
            changed_at: record.changed_at.to_string(),
            timeout_secs: record.timeout_secs,
            hostname: record.hostname,
            cluster: record.home.cluster,
        }
    }

    fn text(&self) -> String {
        let timeout = self.timeout_secs.map_or_else(|| "none".to_owned(), |seconds| format!("{seconds} s"));
        let facts = [
            ("session", Some(self.session_id.clone())),
            ("state", Some(self.state.to_owned())),
            ("because", self.reason.clone()),
            ("since", Some(self.changed_at.clone())),
            ("begun", Some(self.begun_at.clone())),
            ("timeout", Some(timeout)),
            ("start LSN", self.start_lsn.clone()),
            ("backup", Some(self.backup_name.clone())),
        ];
        let lines = facts.into_iter().filter_map(|(fact, value)| Some(format!("{fact:10} {}", value?)));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Shows one, or all.
pub async fn run(common: &Common, choice: &Choice, json: bool) -> Result<ExitCode, Failure> {
    let world = World::open(common).await?;
    let directory = directory(&world)?;
    if choice.find()?.is_none() {
        return list(&world, &directory, json).await;
    }
    let record = choice.read(&world, &directory)?;
    let view = look(&world, &directory, record).await?;
    print(json, &view, || view.text());
    Ok(if view.is_void { ExitCode::from(VOID) } else { ExitCode::SUCCESS })
}

async fn list(world: &World, directory: &SessionDirectory, json: bool) -> Result<ExitCode, Failure> {
    let (records, unreadable) = directory.all()?;
    for error in unreadable {
        tracing::warn!(%error, "left out");
    }
    let mut listing = Listing { sessions: Vec::with_capacity(records.len()) };
    for record in records.into_iter().filter(|record| refuse_elsewhere(world, record).is_ok()) {
        listing.sessions.push(look(world, directory, record).await?);
    }
    print(json, &listing, || {
        if listing.sessions.is_empty() {
            return "no sessions".to_owned();
        }
        let row = |view: &View| {
            let state = view.state.to_owned();
            vec![view.session_id.clone(), state, view.begun_at.clone(), or_dash(view.start_lsn.clone()), view.backup_name.clone()]
        };
        table(&["SESSION", "STATE", "BEGUN", "START LSN", "BACKUP"], &listing.sessions.iter().map(row).collect::<Vec<_>>())
    });
    Ok(ExitCode::SUCCESS)
}

/// What is true of it now. Nothing is written: who only looks must not settle anything.
async fn look(world: &World, directory: &SessionDirectory, record: SessionRecord) -> Result<View, Failure> {
    // Not the other way round: an owner that ends in between has written its last word by then.
    let Some(_lock) = directory.lock(&record.id)? else { return Ok(View::new(record, true)) };
    let record = directory.read(&record.id)?.unwrap_or(record);
    Ok(View::new(without_owner(world, directory, record).await?, false))
}
