//! `session abort`: leaves backup mode and forgets the backup. What is void already stays so, and that is a success.

use std::process::ExitCode;
use std::time::Instant;

use serde::Serialize;
use stillframe_core::clock::{Clock, SystemClock};
use stillframe_core::flows::{SessionError, forget_session};
use stillframe_core::session_directory::{SessionDirectory, SessionRecord, SessionState};

use super::end::{NoAnswer, PATIENCE, PAUSE, note};
use super::{AbortOptions, without_owner};
use crate::common::Common;
use crate::exit::Failure;
use crate::output::print;
use crate::session::client::{Answer, ask};
use crate::session::directory;
use crate::session::protocol::{Message, Request};
use crate::wiring::World;

#[derive(Serialize)]
struct View {
    session_id: String,
    state: &'static str,
}

/// Gives it up.
pub async fn run(common: &Common, options: &AbortOptions, json: bool) -> Result<ExitCode, Failure> {
    let world = World::open(common).await?;
    let directory = directory(&world)?;
    let record = options.choice.read(&world, &directory)?;
    let state = abort(&world, &directory, &record, options).await?;
    let view = View { session_id: record.id.to_string(), state: state.as_str() };
    print(json, &view, || format!("{} {}", view.session_id, view.state));
    Ok(ExitCode::SUCCESS)
}

async fn abort(
    world: &World,
    directory: &SessionDirectory,
    record: &SessionRecord,
    options: &AbortOptions,
) -> Result<SessionState, Failure> {
    let since = Instant::now();
    loop {
        if let Some(_lock) = directory.lock(&record.id)? {
            let found = directory.read(&record.id)?.ok_or_else(|| SessionError::NoSuchSession(record.id.clone()))?;
            return abort_for_the_dead(world, directory, found, options).await;
        }
        match tokio::task::block_in_place(|| ask(&directory.socket(&record.id), &Request::Abort, drop)).map_err(NoAnswer)? {
            Answer::Said(Message::Failed(told)) => return Err(told.into()),
            Answer::Said(_) => return Ok(SessionState::Aborted),
            Answer::Gone if since.elapsed() < PATIENCE => tokio::time::sleep(PAUSE).await,
            Answer::Gone => return Err(SessionError::Silent(record.id.clone()).into()),
        }
    }
}

/// The operator's word counts where nothing else tells: after another boot, the intent goes with this.
async fn abort_for_the_dead(
    world: &World,
    directory: &SessionDirectory,
    found: SessionRecord,
    options: &AbortOptions,
) -> Result<SessionState, Failure> {
    let record = without_owner(world, directory, found.clone()).await?;
    if record.state == SessionState::Published {
        return Err(SessionError::Published { id: record.id, name: record.backup_name }.into());
    }
    // Scripts abort whatever failed, and what is missing may only be its WAL.
    if record.state == SessionState::Stopped && !options.discard {
        return Err(SessionError::Stopped(record.id).into());
    }
    forget_session(&world.ports(), &record.backup_name).await?;
    let is_void = found.state.is_void();
    let record = if is_void { record } else { record.ended(SessionState::Aborted, None, SystemClock.now()) };
    note(directory, &found, &record);
    Ok(record.state)
}
