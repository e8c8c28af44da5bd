//! Backup mode for a tool that is not ours: begin, hold, stop, and publish what that tool has cut or copied meanwhile.
//!
//! It is `snapshot-push` without providers. The intent stands before backup mode begins, and the sentinel comes last; between them
//! lies whatever the outside tool does, for as long as the operator lets it. A session that was lost, or took too long, has left
//! backup mode: then the copy is void, however complete it looks, and nothing that comes later makes it a backup. The label leaves
//! with [`StoppedSession`], before anything is waited for: the tool may have to store it.

mod error;

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;

pub use error::SessionError;

use crate::catalog::{Backup, BackupName, BackupPath, CatalogError, Consistency, LeaseRequest, OutsideCopy, Permanence, Sentinel};
use crate::flows::known_snapshots::KnownSnapshots;
use crate::flows::snapshot_push::archiver::ArchiverRole;
use crate::flows::snapshot_push::leftovers::Leftovers;
use crate::flows::snapshot_push::preflight::{self, Prepared};
use crate::flows::snapshot_push::standby::prove_primary;
use crate::flows::snapshot_push::wait::{Awaited, until_archived};
use crate::flows::snapshot_push::{announce, cut, stoppable, undo};
use crate::flows::{Isolation, Ports, ProviderChoice, PushDeadlines, PushError, PushRequest, Readiness, Server};
use crate::postgres::{BackupSession, CheckpointMode, Connection, ConnectionError, Lsn};
use crate::provider::{DataPath, Token};

/// How long a session without a timeout is held all the same: its intent has to end some day, should the host never come back.
pub const LONGEST_SESSION: Duration = Duration::from_hours(24 * 366);

/// How long the WAL of a session that was stopped is kept for another try to publish it.
const SECOND_TRIES: Duration = Duration::from_hours(24);

/// What kind of session to begin.
#[derive(Debug, Clone)]
pub struct SessionRequest {
    /// Name of the backup that it shall become.
    pub name: BackupName,
    /// Names the catalog, should this be its first backup.
    pub token: Token,
    /// Whether retention may delete it.
    pub permanence: Permanence,
    /// What the operator wants to find in the sentinel.
    pub user_data: Option<serde_json::Value>,
    /// How the first checkpoint is written.
    pub checkpoint: CheckpointMode,
    /// Host that takes the backup.
    pub hostname: String,
    /// Who announces the backup to those that delete, and how long it waits for them.
    pub lease: LeaseRequest,
    /// How long backup mode is held at most; none for [`LONGEST_SESSION`].
    pub timeout: Option<Duration>,
    /// How long each step of entering and of leaving backup mode may take.
    pub step_deadline: Duration,
}

impl SessionRequest {
    fn limit(&self) -> Duration {
        self.timeout.unwrap_or(LONGEST_SESSION).min(LONGEST_SESSION)
    }

    /// The same backup, as the steps that it shares with `snapshot-push` know it.
    fn as_push(&self) -> PushRequest {
        let deadlines = PushDeadlines { cut: self.step_deadline, archive: Duration::ZERO, ready: Duration::ZERO };
        PushRequest {
            name: self.name.clone(),
            token: self.token.clone(),
            providers: ProviderChoice { default: None, rules: Vec::new() },
            permanence: self.permanence,
            user_data: self.user_data.clone(),
            readiness: Readiness::Awaited,
            checkpoint: self.checkpoint,
            isolation: Isolation::Required,
            hostname: self.hostname.clone(),
            lease: self.lease.clone(),
            deadlines,
        }
    }
}

/// A session in backup mode. Dropping it ends backup mode, and leaves the intent to whoever settles it.
#[must_use = "dropping the session ends backup mode and makes the copy void"]
pub struct HeldSession {
    session: BackupSession,
    prepared: Prepared,
    push: PushRequest,
    /// When it has taken too long, by a clock that nobody sets.
    times_out_at: Duration,
}

/// Why a session is not held any more, with nobody having asked for it.
#[derive(Debug)]
pub enum SessionEnd {
    /// It took too long.
    TimedOut,
    /// The server, or the connection to it, has gone; backup mode ended with it.
    Lost(ConnectionError),
}

/// Announces a backup and enters backup mode.
pub async fn begin_session(
    ports: &Ports<'_>,
    mut server: Server<'_>,
    request: &SessionRequest,
    interrupted: impl Future<Output = ()> + Send,
) -> Result<HeldSession, PushError> {
    let mut interrupted = pin!(interrupted);
    let push = request.as_push();
    // Everything that can be wrong is found here, while nothing has happened yet.
    let mut prepared = stoppable(prepare(ports, &mut server, request, &push), interrupted.as_mut()).await?;
    let settling = async {
        prepared.left.settle(ports, &push.lease).await;
        Ok(())
    };
    stoppable(settling, interrupted.as_mut()).await?;
    let lease = stoppable(async { Ok(ports.lease(&push.lease).await?) }, interrupted.as_mut()).await?;
    // From here on no deletion takes WAL that the session needs.
    announce::announce(ports, lease, &push, &mut prepared).await?;
    match stoppable(start(ports, server, &push, &prepared), interrupted).await {
        Ok(session) => {
            let times_out_at = ports.clock.uptime().saturating_add(request.limit());
            Ok(HeldSession { session, prepared, push, times_out_at })
        }
        Err(error) => Err(undo::withdraw(ports, &request.name, error).await),
    }
}

/// Proves everything that can be proven without a side effect.
async fn prepare(
    ports: &Ports<'_>,
    server: &mut Server<'_>,
    request: &SessionRequest,
    push: &PushRequest,
) -> Result<Prepared, PushError> {
    let (facts, primary) = preflight::ask(server).await?;
    preflight::check_archiving(server, &facts, primary.as_ref()).await?;
    // A directory that is not where the server says is not where the outside tool looks for it either.
    let paths = server.locator.locate(&facts)?;
    let contents = ports.catalog().contents().await?;
    let left = Leftovers::of(&contents, push, ports.clock.now());
    let waits = [request.limit(), SECOND_TRIES];
    let lifetime =
        waits.into_iter().fold(preflight::lifetime(push, 0, preflight::steps(&server.primary)), Duration::saturating_add);
    let ends_at = ports.clock.uptime().saturating_add(lifetime);
    let intent = preflight::intent(ports, push, &facts, &[], lifetime);
    Ok(Prepared {
        facts,
        primary,
        paths,
        parts: Vec::new(),
        intent,
        ends_at,
        left,
        known: KnownSnapshots::default(),
        archive: preflight::Archive::Ours,
    })
}

async fn start(ports: &Ports<'_>, server: Server<'_>, push: &PushRequest, prepared: &Prepared) -> Result<BackupSession, PushError> {
    let deadline = push.deadlines.cut;
    // Before backup mode: it may take long, and an array that cuts a disk gets what has reached it.
    tokio::select! {
        flushed = server.locator.flush(&prepared.paths) => flushed?,
        () = ports.clock.sleep(deadline) => return Err(PushError::FlushDeadline(deadline)),
    }
    tracing::info!(backup = %push.name, "entering backup mode");
    cut::within(ports, deadline, BackupSession::start(server.connection, push.name.as_str(), push.checkpoint)).await
}

impl HeldSession {
    /// Where replay must begin.
    #[must_use]
    pub fn start_lsn(&self) -> Lsn {
        self.session.start_lsn()
    }

    /// Holds backup mode until this is asked for, and proves again and again that the server still is in it.
    pub async fn hold<Asked>(&mut self, ports: &Ports<'_>, until: impl Future<Output = Asked>) -> Result<Asked, SessionEnd> {
        let mut until = pin!(until);
        loop {
            let left = self.times_out_at.saturating_sub(ports.clock.uptime());
            if left.is_zero() {
                return Err(SessionEnd::TimedOut);
            }
            tokio::select! {
                biased;
                asked = &mut until => return Ok(asked),
                () = ports.clock.sleep(left.min(BackupSession::PING_INTERVAL)) => {}
            }
            // To its end: a session whose answer nobody waits for is given up.
            self.session.ping().await.map_err(SessionEnd::Lost)?;
        }
    }

    /// Leaves backup mode for good: what was copied until now can become a backup. When this fails, it cannot.
    pub async fn stop(self, ports: &Ports<'_>) -> Result<StoppedSession, PushError> {
        let Self { session, prepared, push, .. } = self;
        match stop(ports, session, &push, &prepared).await {
            Ok(stopped) => Ok(stopped),
            Err(error) => Err(undo::withdraw(ports, &push.name, error).await),
        }
    }

    /// Leaves backup mode and forgets the backup; nothing else is left of it.
    pub async fn give_up(self, ports: &Ports<'_>) -> Result<(), CatalogError> {
        // Closed and not stopped: no history file shall tell of a backup that is none.
        drop(self.session);
        ports.catalog().remove_intent(&self.push.name).await
    }
}

async fn stop(
    ports: &Ports<'_>,
    session: BackupSession,
    push: &PushRequest,
    prepared: &Prepared,
) -> Result<StoppedSession, PushError> {
    let (start_lsn, deadline) = (session.start_lsn(), push.deadlines.cut);
    let (stopped, mut connection) = cut::within(ports, deadline, session.stop()).await?;
    tracing::info!(stop = %stopped.stop_lsn, "left backup mode");
    let after = cut::within(ports, deadline, connection.facts()).await?;
    cut::check_server(&prepared.facts, &after)?;
    let (backup_label, tablespace_map) = cut::check_label(start_lsn, &stopped, prepared)?;
    let facts = &prepared.facts;
    let path = |path: &DataPath| BackupPath { name: path.name.clone(), role: path.role, path: path.path.clone() };
    let sentinel = Sentinel {
        name: push.name.clone(),
        start_lsn,
        stop_lsn: stopped.stop_lsn,
        timeline: facts.timeline,
        segment_size: facts.segment_size,
        version: facts.version,
        system_identifier: facts.system_identifier,
        started_at: facts.now,
        finished_at: after.now,
        hostname: push.hostname.clone(),
        data_directory: facts.data_directory.clone(),
        backup_label,
        tablespace_map,
        permanence: push.permanence,
        user_data: push.user_data.clone(),
        sets: Vec::new(),
        paths: prepared.paths.iter().map(path).collect(),
        // Nobody can prove more of a copy that is not ours.
        consistency: Consistency::CoveredByBackupMode,
        from_standby: facts.in_recovery,
        is_cold: false,
        external_archive: None,
        outside: Some(OutsideCopy::default()),
    };
    Ok(StoppedSession { sentinel, connection: Some(connection), ends_at: prepared.ends_at })
}

/// A session that has left backup mode, whose copy is whole and not published yet.
pub struct StoppedSession {
    sentinel: Sentinel,
    /// Tells how the archiver gets on.
    connection: Option<Box<dyn Connection>>,
    /// When nobody reckons with it any more.
    ends_at: Duration,
}

impl StoppedSession {
    /// What will be published.
    #[must_use]
    pub fn sentinel(&self) -> &Sentinel {
        &self.sentinel
    }

    /// Records by what the outside tool knows its copy.
    pub fn name_copy(&mut self, copy: OutsideCopy) {
        self.sentinel.outside = Some(copy);
    }

    /// What another process needs to go on, should this one be killed.
    pub fn render(&self, ports: &Ports<'_>) -> Result<Bytes, CatalogError> {
        ports.catalog().render(&self.sentinel)
    }

    /// Goes on with what [`Self::render`] gave, as long as the intent still protects its WAL.
    pub async fn resume(
        ports: &Ports<'_>,
        name: &BackupName,
        rendered: &[u8],
        connection: Option<Box<dyn Connection>>,
    ) -> Result<Self, PushError> {
        let sentinel = ports.catalog().parse(name, rendered)?;
        let intent = ports.catalog().intent(name).await?.ok_or_else(|| CatalogError::GivenUp { name: name.clone() })?;
        let left = intent.expires_at.duration_since(ports.clock.now());
        let left = Duration::try_from(left).map_err(|_| PushError::Expired { at: intent.expires_at })?;
        Ok(Self { sentinel, connection, ends_at: ports.clock.uptime().saturating_add(left) })
    }

    /// Waits for the WAL of the backup, and publishes it. May be repeated after a failure.
    ///
    /// `primary` is that of a standby: only there can the last segment be completed.
    pub async fn publish(
        &mut self,
        ports: &Ports<'_>,
        primary: Option<Box<dyn Connection>>,
        deadline: Duration,
    ) -> Result<Backup, PushError> {
        let Self { sentinel, connection, ends_at } = self;
        let role = match (sentinel.from_standby, &primary) {
            (false, _) => ArchiverRole::Archives,
            (true, Some(_)) => ArchiverRole::Explains,
            (true, None) => ArchiverRole::Alone,
        };
        if let Some(mut primary) = primary.filter(|_| sentinel.from_standby) {
            // A restore point in another cluster would do harm, and help nobody.
            let facts = primary.facts().await?;
            prove_primary(sentinel.system_identifier, sentinel.timeline, &facts)?;
            primary.create_restore_point_and_switch(sentinel.name.as_str()).await?;
        }
        let awaited = Awaited {
            range: sentinel.wal_range(),
            size: sentinel.segment_size,
            cluster: sentinel.system_identifier,
            role,
            deadline,
        };
        until_archived(ports, &awaited, connection.as_deref_mut()).await?;
        // Whoever deletes WAL reckons with the intent until it expires, and not one second longer.
        if ports.clock.uptime() >= *ends_at {
            return Err(PushError::Expired { at: ports.clock.now() });
        }
        ports.catalog().publish(sentinel).await?;
        if let Err(error) = ports.catalog().remove_intent(&sentinel.name).await {
            tracing::warn!(%error, "the backup is published, and its intent could not be removed; that does no harm");
        }
        tracing::info!(backup = %sentinel.name, "published");
        Ok(Backup::published(sentinel.clone()))
    }
}

/// What became of the backup of a session that nobody holds any more.
pub async fn published_session(ports: &Ports<'_>, name: &BackupName) -> Result<Option<Sentinel>, CatalogError> {
    ports.catalog().sentinel(name).await
}

/// Forgets the backup of a session that nobody holds any more, and that was not published. Its WAL may go from here on.
pub async fn forget_session(ports: &Ports<'_>, name: &BackupName) -> Result<(), CatalogError> {
    ports.catalog().remove_intent(name).await
}
