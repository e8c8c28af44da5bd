//! One session on a server, as core sees it.
//!
//! A session that fails once is never used again: backup mode ended with it, and what a later answer would mean is unknown. The
//! same holds for a request whose caller stopped waiting.

mod calls;
mod query;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stillframe_core::postgres::{
    ArchiverStatus, CheckpointMode, Connection, ConnectionError, ConnectionFault, Lsn, ServerFacts, StoppedBackup,
};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use crate::rights::rights;
use crate::session::{self, Identity, Mark};
use crate::settings::SessionKind;
use crate::transport::Transport;
use crate::{fault, required_grants};

/// A server that needs longer for `SELECT` of its own process number is gone, whatever its network says.
const PING_DEADLINE: Duration = Duration::from_secs(30);
/// How long a goodbye may take, and the search for the reason of a loss.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// A session on a PostgreSQL server. Dropping it closes the session, which ends backup mode.
#[derive(Debug)]
pub struct PgConnection {
    live: Option<LiveSession>,
    identity: Identity,
    server: String,
    lost_because: String,
}

/// The parts of a session that has not failed.
struct LiveSession {
    client: Arc<Client>,
    /// Moves the bytes; ends with the reason when the server goes away.
    wire: Option<JoinHandle<Option<String>>>,
    /// Whether a request has been sent whose answer has not come.
    is_waiting: bool,
}

impl std::fmt::Debug for LiveSession {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LiveSession").field("is_waiting", &self.is_waiting).finish_non_exhaustive()
    }
}

impl Drop for LiveSession {
    fn drop(&mut self) {
        // Idle, dropping the client says goodbye to the server. In the middle of a request that would wait for its answer, and
        // backup mode with it; so the socket is closed.
        if self.is_waiting {
            self.wire.as_ref().inspect(|wire| wire.abort());
        }
    }
}

impl PgConnection {
    /// Takes over a fresh login and proves that a backup can trust it.
    pub(crate) async fn begin(
        client: Client,
        connection: tokio_postgres::Connection<Transport, Transport>,
        mark: &Mark,
        server: String,
    ) -> Result<Self, ConnectionFault> {
        let wire = tokio::spawn(async move { connection.await.err().map(|error| fault::explain(&error)) });
        let mut live = LiveSession { client: Arc::new(client), wire: Some(wire), is_waiting: true };
        let identity = session::set_up(&live.client, mark).await?;
        live.is_waiting = false;
        Ok(Self { live: Some(live), identity, server, lost_because: String::new() })
    }

    pub(crate) fn prove_kind(&self, kind: SessionKind) -> Result<(), ConnectionFault> {
        self.identity.prove_kind(kind)
    }

    /// Closes the session and waits until the goodbye is sent. Dropping does the same without waiting.
    pub async fn close(mut self) {
        let Some(mut live) = self.live.take() else { return };
        let wire = live.wire.take();
        // The wire says goodbye and ends when the client is gone.
        drop(live);
        if let Some(wire) = wire {
            // A server that does not take the goodbye sees the socket close.
            let _silent = timeout(CLOSE_DEADLINE, wire).await;
        }
    }

    /// Sends one request and gives the session up when it fails for good.
    async fn request<'a, Answer, Pending>(
        &mut self,
        operation: &'static str,
        send: impl FnOnce(Arc<Client>) -> Pending + Send + 'a,
    ) -> Result<Answer, ConnectionError>
    where
        Pending: Future<Output = Result<Answer, tokio_postgres::Error>> + Send + 'a,
    {
        let outcome = match self.live.as_mut() {
            Some(live) if live.is_waiting => Err("the session was given up while a request was under way".to_owned()),
            Some(live) => {
                live.is_waiting = true;
                let outcome = send(Arc::clone(&live.client)).await;
                live.is_waiting = false;
                Ok(outcome)
            }
            None => Err(self.lost_because.clone()),
        };
        let fault = match outcome {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => {
                let grants = || required_grants(self.identity.version, &self.identity.role).join(" ");
                fault::of_request(&error, grants)
            }
            Err(reason) => ConnectionFault::Lost(reason),
        };
        Err(self.failed(operation, fault).await)
    }

    /// Makes the error; after a loss, ends the session and finds the reason that the server gave.
    async fn failed(&mut self, operation: &'static str, fault: ConnectionFault) -> ConnectionError {
        let fault = match (fault, self.live.take()) {
            (ConnectionFault::Lost(text), Some(mut live)) => {
                live.is_waiting = true;
                self.lost_because = last_words(&mut live).await.unwrap_or(text);
                ConnectionFault::Lost(self.lost_because.clone())
            }
            (fault, live) => {
                self.live = live;
                fault
            }
        };
        ConnectionError { server: self.server.clone(), operation, fault }
    }

    fn unexpected(&self, operation: &'static str, fault: String) -> ConnectionError {
        ConnectionError { server: self.server.clone(), operation, fault: ConnectionFault::Unexpected(fault) }
    }

    /// Asks for rows, by an unnamed statement: nothing is left on the server that would have to be closed later.
    async fn rows(
        &mut self,
        operation: &'static str,
        statement: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, ConnectionError> {
        self.request(operation, |client| async move { client.query_typed(statement, parameters).await }).await
    }

    /// Asks for one row.
    async fn row(
        &mut self,
        operation: &'static str,
        statement: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Row, ConnectionError> {
        let mut rows = self.rows(operation, statement, parameters).await?;
        match (rows.pop(), rows.is_empty()) {
            (Some(row), true) => Ok(row),
            _ => Err(self.unexpected(operation, "the server did not answer with one row".to_owned())),
        }
    }
}

/// Why the server went away: a message that no request waited for.
async fn last_words(live: &mut LiveSession) -> Option<String> {
    timeout(CLOSE_DEADLINE, live.wire.as_mut()?).await.ok()?.ok()?
}

#[async_trait]
impl Connection for PgConnection {
    async fn facts(&mut self) -> Result<ServerFacts, ConnectionError> {
        const OPERATION: &str = "read the facts that a backup needs";
        let row = self.row(OPERATION, calls::FACTS, &[]).await?;
        let tablespaces = self.rows(OPERATION, calls::TABLESPACES, &[]).await?;
        calls::facts(self.identity.version, &row, &tablespaces).map_err(|fault| self.unexpected(OPERATION, fault))
    }

    async fn start_backup(&mut self, label: &str, checkpoint: CheckpointMode) -> Result<Lsn, ConnectionError> {
        const OPERATION: &str = "start the backup";
        let is_fast = checkpoint == CheckpointMode::Fast;
        let row = self
            .row(OPERATION, calls::start_backup(self.identity.version), &[(&label, Type::TEXT), (&is_fast, Type::BOOL)])
            .await?;
        calls::lsn(&row).map_err(|fault| self.unexpected(OPERATION, fault))
    }

    async fn stop_backup(&mut self) -> Result<StoppedBackup, ConnectionError> {
        const OPERATION: &str = "stop the backup";
        let row = self.row(OPERATION, calls::stop_backup(self.identity.version), &[]).await?;
        calls::stopped(&row).map_err(|fault| self.unexpected(OPERATION, fault))
    }

    async fn ping(&mut self) -> Result<(), ConnectionError> {
        const OPERATION: &str = "keep the session";
        let Ok(row) = timeout(PING_DEADLINE, self.row(OPERATION, calls::PING, &[])).await else {
            // Nothing comes through this socket any more, so there is no goodbye to wait for.
            self.live.as_ref().and_then(|live| live.wire.as_ref()).inspect(|wire| wire.abort());
            let silence = format!("no answer within {} s", PING_DEADLINE.as_secs());
            return Err(self.failed(OPERATION, ConnectionFault::Lost(silence)).await);
        };
        match row?.try_get::<_, i32>(0) {
            Ok(pid) if pid == self.identity.backend_pid => Ok(()),
            // Another process answers: somebody stands between.
            _ => Err(ConnectionError { server: self.server.clone(), operation: OPERATION, fault: ConnectionFault::Pooler }),
        }
    }

    async fn missing_grants(&mut self) -> Result<Vec<String>, ConnectionError> {
        const OPERATION: &str = "ask for the rights of the role";
        let rights = rights(self.identity.version, &self.identity.role);
        let questions: Vec<&str> = rights.iter().map(|right| right.held.as_str()).collect();
        let row = self.row(OPERATION, &format!("SELECT ARRAY[{}]", questions.join(", ")), &[]).await?;
        let held: Vec<bool> = row.try_get(0).map_err(|error| self.unexpected(OPERATION, error.to_string()))?;
        Ok(rights.into_iter().zip(held).filter(|(_, held)| !held).map(|(right, _)| right.grant).collect())
    }

    async fn archiver(&mut self) -> Result<ArchiverStatus, ConnectionError> {
        const OPERATION: &str = "ask how archiving goes";
        let row = self.row(OPERATION, calls::ARCHIVER, &[]).await?;
        calls::archiver(&row).map_err(|fault| self.unexpected(OPERATION, fault))
    }

    async fn create_restore_point_and_switch(&mut self, name: &str) -> Result<Lsn, ConnectionError> {
        const OPERATION: &str = "create a restore point";
        let row = self.row(OPERATION, calls::RESTORE_POINT, &[(&name, Type::TEXT)]).await?;
        self.row("switch to a new WAL segment", calls::SWITCH, &[]).await?;
        calls::lsn(&row).map_err(|fault| self.unexpected(OPERATION, fault))
    }
}
