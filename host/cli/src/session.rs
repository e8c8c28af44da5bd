//! The process that holds backup mode for an outside tool, and how others talk to it.
//!
//! `session begin` leaves it behind, `session hold` is it. It owns the connection, and so backup mode, and answers at a socket that
//! only its user can reach. What it is asked it does itself, so that a caller that is killed in the middle costs nothing: the next
//! one is told the same.

pub mod client;
pub mod detach;
mod listener;
pub mod order;
pub mod owner;
pub mod protocol;

use stillframe_core::clock::{Clock, SystemClock};
use stillframe_core::error::chain;
use stillframe_core::flows::{SessionError, forget_session};
use stillframe_core::session_directory::{SessionDirectory, SessionHome, SessionRecord};

use crate::exit::Failure;
use crate::wiring::World;

/// Opens the directory of the sessions.
pub fn directory(world: &World) -> Result<SessionDirectory, Failure> {
    let path = world.config.session.directory.as_deref().ok_or(SessionError::NoDirectory)?;
    Ok(SessionDirectory::open(path)?)
}

/// Where backups of this configuration are announced.
pub fn home(world: &World) -> SessionHome {
    let store = world.config.values.get("store.url").map(|value| value.text.clone()).unwrap_or_default();
    SessionHome { store, cluster: world.layout.cluster().as_str().to_owned() }
}

/// Refuses a session whose backup another configuration announces.
pub fn refuse_elsewhere(world: &World, record: &SessionRecord) -> Result<(), SessionError> {
    let configured = home(world);
    if record.home == configured {
        return Ok(());
    }
    Err(SessionError::Elsewhere { id: record.id.clone(), found: record.home.clone(), configured })
}

/// Records of each session whose owner was killed that it is void, so that nothing waits for it. Who began a new one goes on whatever
/// comes of this.
pub async fn settle_killed(world: &World, directory: &SessionDirectory) {
    let records = match directory.all() {
        Ok((records, _)) => records,
        Err(error) => return tracing::warn!("earlier sessions cannot be looked at: {}", chain(&error)),
    };
    let configured = home(world);
    let ours =
        records.into_iter().filter(|record| !record.state.is_over() && record.home == configured && record.is_of_this_boot());
    for record in ours {
        if let Err(failure) = settle(world, directory, record).await {
            tracing::warn!("an earlier session cannot be settled: {}", failure.chain().join(": "));
        }
    }
}

async fn settle(world: &World, directory: &SessionDirectory, record: SessionRecord) -> Result<(), Failure> {
    // As long as its owner lives, it is nobody else's; and what left backup mode in good order can still be published.
    let Some(_lock) = directory.lock(&record.id)? else { return Ok(()) };
    if directory.sentinel(&record.id)?.is_some() {
        return Ok(());
    }
    tracing::warn!(session = %record.id, backup = %record.backup_name, "an earlier session was killed; its copy is void");
    forget_session(&world.ports(), &record.backup_name).await?;
    Ok(directory.write(&record.without_owner(SystemClock.now()))?)
}
