//! A session in backup mode.
//!
//! Backup mode belongs to one connection and ends with it. So the session owns the connection from start to stop: dropping it,
//! wherever that happens, closes the connection and ends backup mode, and a stop on another connection cannot be written.

use std::pin::pin;
use std::time::Duration;

use crate::clock::Clock;
use crate::postgres::{CheckpointMode, Connection, ConnectionError, Lsn, ServerFacts, StoppedBackup};

/// A connection whose server is in backup mode because of it.
#[must_use = "dropping the session ends backup mode and makes the backup void"]
pub struct BackupSession {
    connection: Box<dyn Connection>,
    start_lsn: Lsn,
}

impl BackupSession {
    /// How often the session proves that it lives: a lost one is noticed now and not at the stop, hours later.
    pub const PING_INTERVAL: Duration = Duration::from_secs(10);

    /// Enters backup mode.
    pub async fn start(
        mut connection: Box<dyn Connection>,
        label: &str,
        checkpoint: CheckpointMode,
    ) -> Result<Self, ConnectionError> {
        let start_lsn = connection.start_backup(label, checkpoint).await?;
        Ok(Self { connection, start_lsn })
    }

    /// Where replay must begin.
    #[must_use]
    pub fn start_lsn(&self) -> Lsn {
        self.start_lsn
    }

    /// Works, and proves meanwhile that the session lives; ends the work when the session is lost, and with it backup mode.
    ///
    /// Done in the middle of a ping, the answer of that is waited for: a session of which nobody takes an answer is good for nothing
    /// more, and the stop would fail.
    pub async fn alive_during<Done: Send>(
        &mut self,
        clock: &dyn Clock,
        work: impl Future<Output = Done> + Send,
    ) -> Result<Done, ConnectionError> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                () = clock.sleep(Self::PING_INTERVAL) => {}
            }
            let mut ping = self.connection.ping();
            tokio::select! {
                lives = &mut ping => lives?,
                done = &mut work => {
                    ping.await?;
                    return Ok(done);
                }
            }
        }
    }

    /// Proves that the session lives, and backup mode with it. Whoever drops this before it ends gives the session up.
    pub async fn ping(&mut self) -> Result<(), ConnectionError> {
        self.connection.ping().await
    }

    /// Asks the server how it is meanwhile.
    pub async fn facts(&mut self) -> Result<ServerFacts, ConnectionError> {
        self.connection.facts().await
    }

    /// Leaves backup mode and gives the connection back.
    pub async fn stop(mut self) -> Result<(StoppedBackup, Box<dyn Connection>), ConnectionError> {
        let stopped = self.connection.stop_backup().await?;
        Ok((stopped, self.connection))
    }
}
