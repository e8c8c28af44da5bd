//! The resident form of `wal-push` and `wal-fetch`: it keeps what each of their processes would have to set up.
//!
//! It speaks the protocol of WAL-G's daemon and runs the same flows with the same guarantees. Nobody depends on it: whoever cannot
//! reach it, or is refused, archives and restores by the plain command.

mod check;
pub mod client;
mod connection;
pub mod notify;
mod protocol;
mod service;
mod socket;

use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

pub use check::ConfigurationId;
pub use connection::Limits;
pub use service::{Service, WalService};
pub use socket::{Socket, SocketError, is_trusted};

use notify::Watchdog;

/// Connections at once. PostgreSQL has one archiver and one process that recovers; more are a fault of somebody.
const CONNECTIONS: usize = 32;

/// How long requests that are under way may take after the signal to end. A service manager waits 90 seconds before it kills.
const FAREWELL: Duration = Duration::from_mins(1);

/// The pause after the system has refused a connection for want of something: it would refuse the next at once.
const BREATH: Duration = Duration::from_millis(100);

/// Claims the socket and serves until `stop`; then finishes what is under way.
pub async fn serve(
    path: &Path,
    service: Arc<dyn Service>,
    limits: Limits,
    stop: impl Future<Output = ()>,
) -> Result<(), SocketError> {
    let (socket, listener) = Socket::claim(path)?;
    let listener = listen(path, listener)?;
    let mut connections = JoinSet::new();
    notify::ready();
    tracing::info!(socket = %path.display(), "ready");
    accept(&listener, &mut connections, &service, limits, stop).await;
    notify::stopping().await;
    // Clients do without us from here on.
    drop(listener);
    socket.remove();
    service.end();
    let finished = async {
        while connections.join_next().await.is_some() {}
        // A request may have begun something beside it to the last.
        service.ended().await;
    };
    if tokio::time::timeout(FAREWELL, finished).await.is_err() {
        tracing::warn!("requests are abandoned; PostgreSQL will repeat them");
    }
    Ok(())
}

async fn accept(
    listener: &UnixListener,
    connections: &mut JoinSet<()>,
    service: &Arc<dyn Service>,
    limits: Limits,
    stop: impl Future<Output = ()>,
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let ending = watch::Sender::new(false);
    let mut watchdog = Watchdog::new();
    let mut stop = std::pin::pin!(stop);
    let mut is_due = false;
    loop {
        if std::mem::take(&mut is_due) {
            watchdog.alive();
        }
        tokio::select! {
            () = &mut stop => break,
            () = watchdog.due() => is_due = true,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let slot = Arc::clone(&slots).try_acquire_owned().ok();
                    connections.spawn(connection::serve(stream, Arc::clone(service), limits, slot, ending.subscribe()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection is not accepted");
                    tokio::time::sleep(BREATH).await;
                }
            },
        }
    }
    ending.send_replace(true);
}

fn listen(path: &Path, listener: StdListener) -> Result<UnixListener, SocketError> {
    let failed = |source| SocketError::Failed { path: path.to_owned(), source };
    listener.set_nonblocking(true).map_err(failed)?;
    UnixListener::from_std(listener).map_err(failed)
}

#[cfg(test)]
mod tests;
