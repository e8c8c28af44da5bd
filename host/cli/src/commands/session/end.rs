//! `session end`: leaves backup mode, hands out the label, and publishes. This is the thaw of a freeze/thaw script.
//!
//! The label leaves first, since the copy needs it whatever comes of the WAL; the exit code comes last, and only 0 says that there is
//! a backup. The owner does it, and this program when the owner died after backup mode.

mod receipt;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use stillframe_core::catalog::OutsideCopy;
use stillframe_core::clock::{Clock, SystemClock};
use stillframe_core::error::chain;
use stillframe_core::flows::{SessionError, StoppedSession, forget_session, published_session};
use stillframe_core::session_directory::{SessionDirectory, SessionLock, SessionRecord, SessionState};

use super::{EndOptions, without_owner};
use crate::common::Common;
use crate::exit::Failure;
use crate::session::client::{Answer, ask};
use crate::session::protocol::{Message, Request, Stopped};
use crate::session::{directory, owner};
use crate::wiring::World;

use receipt::Receipt;

/// How long an owner that lives may be without a socket: at its beginning, and at its end.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked for.
pub const PAUSE: Duration = Duration::from_millis(50);

/// Ends.
pub async fn run(common: &Common, options: &EndOptions, json: bool) -> Result<ExitCode, Failure> {
    let world = World::open(common).await?;
    let directory = directory(&world)?;
    let record = options.choice.read(&world, &directory)?;
    let mut receipt = Receipt::new(&record.id, options.output.clone(), json);
    let result = end(&world, &directory, &record, &options.snapshot_ids, &mut receipt).await;
    receipt.close(result)
}

async fn end(
    world: &World,
    directory: &SessionDirectory,
    record: &SessionRecord,
    snapshot_ids: &[String],
    receipt: &mut Receipt,
) -> Result<(), Failure> {
    let (id, mut since) = (&record.id, Instant::now());
    loop {
        if let Some(lock) = directory.lock(id)? {
            return end_for_the_dead(world, directory, &lock, record, snapshot_ids, receipt).await;
        }
        let request = Request::End { snapshot_ids: snapshot_ids.to_vec() };
        let hand_out = |message| {
            since = Instant::now();
            if let Message::Stopped(stopped) = message {
                receipt.hand_out(&stopped);
            }
        };
        match tokio::task::block_in_place(|| ask(&directory.socket(id), &request, hand_out)).map_err(NoAnswer)? {
            Answer::Said(Message::Failed(told)) => return Err(told.into()),
            Answer::Said(_) => return Ok(()),
            // It has ended, or is about to: then its files tell.
            Answer::Gone if since.elapsed() < PATIENCE => tokio::time::sleep(PAUSE).await,
            Answer::Gone => return Err(SessionError::Silent(id.clone()).into()),
        }
    }
}

/// The owner is dead. What it left tells whether it died in backup mode, after it, or after all.
async fn end_for_the_dead(
    world: &World,
    directory: &SessionDirectory,
    _lock: &SessionLock,
    record: &SessionRecord,
    snapshot_ids: &[String],
    receipt: &mut Receipt,
) -> Result<(), Failure> {
    // Again: it may have changed until the owner died.
    let found = directory.read(&record.id)?.ok_or_else(|| SessionError::NoSuchSession(record.id.clone()))?;
    let record = without_owner(world, directory, found.clone()).await?;
    match record.state {
        SessionState::Published => {
            let sentinel = published_session(&world.ports(), &record.backup_name).await?;
            let sentinel = sentinel.ok_or_else(|| SessionError::void(&record))?;
            receipt.hand_out(&Stopped::of(&sentinel));
            note(directory, &found, &record);
            Ok(())
        }
        SessionState::Stopped => publish_for_the_dead(world, directory, record, snapshot_ids, receipt).await,
        _ => {
            if record != found && record.is_of_this_boot() {
                forget_session(&world.ports(), &record.backup_name).await?;
            }
            note(directory, &found, &record);
            Err(SessionError::void(&record).into())
        }
    }
}

async fn publish_for_the_dead(
    world: &World,
    directory: &SessionDirectory,
    record: SessionRecord,
    snapshot_ids: &[String],
    receipt: &mut Receipt,
) -> Result<(), Failure> {
    let not_published = |cause| SessionError::NotPublished { name: record.backup_name.clone(), cause: Box::new(cause) };
    let rendered = directory.sentinel(&record.id)?.unwrap_or_default();
    // The server tells how its archiver gets on. It may be gone for good, and the backup just what is needed then.
    let connection = world.connect().await.inspect_err(|failure| tracing::warn!("{}", failure.chain().join(": "))).ok();
    let resumed = StoppedSession::resume(&world.ports(), &record.backup_name, &rendered, connection).await;
    let mut stopped = resumed.map_err(not_published)?;
    if !snapshot_ids.is_empty() {
        stopped.name_copy(OutsideCopy { snapshot_ids: snapshot_ids.to_vec() });
    }
    receipt.hand_out(&Stopped::of(stopped.sentinel()));
    owner::publish(world, &mut stopped).await.map_err(not_published)?;
    let published = record.clone().ended(SessionState::Published, None, SystemClock.now());
    note(directory, &record, &published);
    Ok(())
}

/// Records what was found out. Where that cannot be written, the next one finds out the same.
pub fn note(directory: &SessionDirectory, before: &SessionRecord, now: &SessionRecord) {
    if before != now
        && let Err(error) = directory.write(now)
    {
        tracing::warn!("the outcome is not recorded: {}", chain(&error));
    }
}

/// The socket of the owner fails.
#[derive(Debug, thiserror::Error)]
#[error("the process that holds the session cannot be asked")]
pub struct NoAnswer(#[source] pub std::io::Error);

impl stillframe_core::error::Classify for NoAnswer {
    fn class(&self) -> stillframe_core::error::ErrorClass {
        stillframe_core::error::ErrorClass::Transient
    }

    fn hint(&self) -> Option<String> {
        Some("run it as the user who began the session".to_owned())
    }
}
