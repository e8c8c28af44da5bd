//! Lets the server of a drill recover, and finds out whether it really got to its target.
//!
//! A server that stops says nothing about how far it came: versions before 13 end a recovery early in silence, and one whose limits fall
//! short pauses in the middle. So the position is looked at, and a pause for want of room is no end: the server starts again with more.

use std::time::Duration;

use jiff::Timestamp;

use super::DrillError;
use super::attempt::Attempt;
use super::error::Stop;
use super::isolation;
use super::target::Plan;
use crate::data_directory;
use crate::flows::{Phase, Step};
use crate::postgres::{ConnectionError, Lsn, QuerySession, ServerLimits, ShutdownMode};

/// How often the server is asked.
const POLL: Duration = Duration::from_millis(200);

/// How often it may start again with more room: the limits of a primary change seldom.
const STARTS: usize = 5;

/// The database that every cluster has, if only as it was made.
const DATABASE: &str = "template1";

/// First major version that fails when recovery ends before its target.
const FIRST_TO_FAIL: u32 = 13;

const STATE: &str = "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.pg_last_wal_replay_lsn(), \
     CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_is_wal_replay_paused() ELSE false END";

struct State {
    in_recovery: bool,
    reached: Option<Lsn>,
    is_paused: bool,
}

/// Starts the server and waits until it has reached the target.
pub(super) async fn reach(attempt: &mut Attempt<'_>, plan: &Plan, begun: Timestamp) -> Result<(), Stop> {
    let mut limits = needed(attempt)?;
    for _ in 0..STARTS {
        let end = recover(attempt, plan, limits, begun).await;
        let more = needed(attempt)?;
        // What it has replayed asks for more room than it has.
        if matches!(end, Ok(()) | Err(Stop::Error(_))) || more.or_more(limits) == limits {
            return end;
        }
        limits = more.or_more(limits);
        tracing::info!("the primary was given more room meanwhile: starting again with as much");
        if let Some(server) = &mut attempt.server {
            server.stop(ShutdownMode::Clean).await?;
        }
        attempt.server = None;
    }
    Err(Stop::Failed("the limits of the server had to be raised again and again".to_owned()))
}

/// What the WAL needs, as far as it is known by now.
fn needed(attempt: &Attempt<'_>) -> Result<ServerLimits, DrillError> {
    let directory = attempt.room().data();
    let control = data_directory::read_control(&directory)?;
    let missing = || crate::files::FileError::new("read", directory.join("global/pg_control"), std::io::ErrorKind::NotFound.into());
    Ok(control.ok_or_else(missing)?.limits())
}

async fn recover(attempt: &mut Attempt<'_>, plan: &Plan, limits: ServerLimits, begun: Timestamp) -> Result<(), Stop> {
    let settings = attempt.start(limits).await?;
    let mut session: Option<Box<dyn QuerySession>> = None;
    let mut last = "it did not answer yet".to_owned();
    loop {
        let Some(server) = attempt.server.as_mut() else { return Ok(()) };
        if let Some(words) = server.ended().await {
            return Err(ended(words, plan, attempt.request.unreachable_code));
        }
        if session.is_none() {
            match server.connect(DATABASE).await {
                Ok(mut opened) => {
                    isolation::prove(&mut *opened, &settings).await?;
                    session = Some(opened);
                }
                // As long as it is not consistent, it takes nobody.
                Err(error) => last = crate::error::chain(&error),
            }
        }
        if let Some(open) = &mut session {
            match ask(&mut **open).await {
                Ok(state) => {
                    attempt.reached = state.reached.or(attempt.reached);
                    if let Some(end) = judge(&state, plan, attempt.major()) {
                        return end;
                    }
                    last = state
                        .reached
                        .map_or_else(|| "it has replayed nothing".to_owned(), |reached| format!("it was at {reached}"));
                }
                Err(error) => {
                    last = crate::error::chain(&error);
                    session = None;
                }
            }
        }
        let waited = attempt.since(begun);
        if waited > attempt.request.deadline {
            let seconds = attempt.request.deadline.as_secs();
            return Err(Stop::Failed(format!("the server has not reached {} within {seconds} s: {last}", plan.words)));
        }
        let subject = attempt.reached.map(|reached| reached.to_string());
        attempt.ports.progress.report(&Step { subject, waited, ..Step::begun(Phase::Recover) });
        attempt.ports.clock.sleep(POLL).await;
    }
}

/// What it means that the server has ended by itself. It is told to speak English, and says with what its command for WAL has ended.
fn ended(words: String, plan: &Plan, unreachable_code: u8) -> Stop {
    let is_unreachable = words.lines().any(|line| line.trim_end().ends_with(&format!("exited with exit code {unreachable_code}")));
    if is_unreachable {
        return Stop::Error(DrillError::Unreachable(words));
    }
    Stop::Failed(format!("the server ended before it had reached {}: {words}", plan.words))
}

/// Whether recovery has ended, and where it should have.
fn judge(state: &State, plan: &Plan, major: u32) -> Option<Result<(), Stop>> {
    if state.in_recovery && !state.is_paused {
        return None;
    }
    let place = state.reached.map_or_else(|| "nowhere".to_owned(), |reached| format!("at {reached}"));
    if state.reached.is_none_or(|reached| reached < plan.at_least) {
        return Some(Err(Stop::Failed(format!("recovery ended {place}, before {}", plan.words))));
    }
    // It opens for writing at its target when it could not be read before. Where the target has no position, an older version may have
    // missed it.
    if !state.in_recovery && major < FIRST_TO_FAIL && !plan.is_position() {
        return Some(Err(Stop::Failed(format!("recovery ended {place}, and nothing tells that this is {}", plan.words))));
    }
    Some(Ok(()))
}

async fn ask(session: &mut dyn QuerySession) -> Result<State, ConnectionError> {
    let mut results = session.query(STATE).await?;
    let row = results.pop().and_then(|mut rows| rows.pop()).unwrap_or_default();
    let is_true = |place: usize| row.get(place).cloned().flatten().as_deref() == Some("t");
    let reached = row.get(1).cloned().flatten().and_then(|text| text.parse().ok());
    // An answer that says nothing ends nothing.
    Ok(State { in_recovery: row.len() < 3 || is_true(0), reached, is_paused: is_true(2) })
}
