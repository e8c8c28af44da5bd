//! The flows: one story per file, each a function of ordered steps whose order is the contract.

mod any_backup_name;
mod archive_accept;
mod archive_map;
mod backup_lock;
mod backup_mark;
mod can_restore;
pub mod check;
mod delete;
mod drill;
mod known_snapshots;
mod progress;
mod readiness;
mod reconcile;
mod recovery_accept;
mod recovery_status;
mod release;
mod removal;
mod restore_point;
mod session;
mod snapshot_fetch;
mod snapshot_push;
mod snapshot_release;
mod wal_fetch;
mod wal_push;
mod wal_scan;
mod wal_search;
mod wal_show;
mod wal_verify;
mod window;

use std::sync::Arc;

use async_trait::async_trait;

pub use any_backup_name::{AnyBackupName, OfWalG};
pub use archive_accept::{AcceptError, Accepted, Replaced, archive_accept};
pub use archive_map::{MapError, SegmentSizeFound, SizeSource};
pub use backup_lock::{LockAction, LockError, backup_lock};
pub use backup_mark::{MarkError, backup_mark};
pub use can_restore::{CanRestoreReport, CanRestoreRequest, RestoreAnswer, can_restore};
pub use delete::{DeleteError, DeleteReport, apply_delete, plan_delete};
pub use drill::{CheckChoice, DrillChecks, DrillError, DrillReport, DrillRequest, DrillScript, DrillTarget, clear_drills, drill};
pub use progress::{LoggedProgress, NoProgress, Phase, Progress, Step};
pub use readiness::settle_states;
pub use reconcile::{
    Action, Case, Deed, Discrepancy, Outcome, ReconcileError, ReconcilePlan, ReconcileReport, ReconcileRequest, Remedy,
    apply_reconcile, plan_reconcile,
};
pub use recovery_accept::{AcceptedRecovery, RecoveryAcceptError, recovery_accept};
pub use recovery_status::{Progressed, RecoveryStatus, RecoveryStatusError, Verdict as RecoveryVerdict, recovery_status};
pub use release::ReleaseFault;
pub use restore_point::{
    ForeignRestorePoint, ForeignRestorePoints, RestorePointError, RestorePointRequest, create_restore_point, delete_restore_point,
    find_restore_point, list_foreign_restore_points,
};
pub use session::{
    HeldSession, LONGEST_SESSION, SessionEnd, SessionError, SessionRequest, StoppedSession, begin_session, forget_session,
    published_session,
};
pub use snapshot_fetch::{
    Announcement, BackupSelector, FetchError, FetchReport, FetchRequest, IncrementError, KeptWalError, MissingFiles, MissingWal,
    Precautions, SalvageError, SalvagedWal, snapshot_fetch,
};
pub use snapshot_push::{
    ColdError, ColdServer, ExternalWal, PathRule, PathSelector, Primary, ProviderChoice, PushDeadlines, PushError, PushRequest,
    Readiness, Server, StandbyError, Unproven, snapshot_push, snapshot_push_cold, snapshot_push_external,
};
pub use snapshot_release::{ReleaseError, ReleaseHosts, ReleaseReport, ReleaseRequest, RestoreSelector, snapshot_release};
pub use wal_fetch::{PrefetchRequest, WalFetchError, WalFetched, wal_fetch, wal_prefetch};
pub use wal_push::guard::{Finding, GuardError, Guarding, Verdict, admit, explain};
pub use wal_push::{Pusher, WalPushError, WalPushed, wal_push};
pub use wal_scan::SEGMENTS_TO_READ;
pub use wal_show::{BackupKind, BackupOnTimeline, TimelineInventory, WalInventory, wal_show};
pub use wal_verify::{
    BackupCheck, ContentProblem, ContentReport, Depth, ExternalCheck, HistoryProblem, IncrementCheck, KeptState, ReadingProgress,
    ServerPosition, VerifyError, VerifyReport, VerifyRequest, wal_verify,
};
pub use window::{WindowReport, WindowTimes, window};

use crate::catalog::{ArchiveSettings, Catalog, Claims, Layout, Lease, LeaseError, LeaseRequest, Restores, WalArchive};
use crate::clock::Clock;
use crate::provider::{Provider, ProviderError, ProviderName};
use crate::store::Store;

/// What a flow reaches the world through.
pub struct Ports<'a> {
    /// Where catalog and archive lie.
    pub store: &'a dyn Store,
    /// How this cluster's objects are named there.
    pub layout: &'a Layout,
    /// In which form WAL is archived.
    pub archiving: &'a ArchiveSettings,
    /// The clock.
    pub clock: &'a dyn Clock,
    /// The configured providers.
    pub providers: &'a dyn ProviderSource,
    /// Who is told how far a long step is.
    pub progress: &'a dyn Progress,
}

impl Ports<'_> {
    fn catalog(&self) -> Catalog<'_> {
        Catalog::new(self.store, self.layout)
    }

    fn restores(&self) -> Restores<'_> {
        Restores::new(self.store, self.layout)
    }

    fn claims(&self) -> Claims<'_> {
        Claims::new(self.store, self.layout)
    }

    /// Waits for the lease of the cluster and takes it.
    async fn lease(&self, request: &LeaseRequest) -> Result<Lease<'_>, LeaseError> {
        Lease::acquire(self.store, self.layout, self.clock, request).await
    }

    /// The same world with another store.
    fn with_store<'b>(&'b self, store: &'b dyn Store) -> Ports<'b> {
        let Self { store: _, layout, archiving, clock, providers, progress } = *self;
        Ports { store, layout, archiving, clock, providers, progress }
    }

    fn archive(&self) -> WalArchive<'_> {
        WalArchive::new(self.store, self.layout, self.archiving)
    }
}

/// Opens providers by their names in the configuration, when a flow needs one and not before.
#[async_trait]
pub trait ProviderSource: Send + Sync {
    /// Loads the provider; fails when it is not configured, or not what it must be.
    async fn open(&self, name: &ProviderName) -> Result<Arc<dyn Provider>, ProviderError>;
}

/// Whether a snapshot set may change with the live cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// It may not.
    #[default]
    Required,
    /// The operator accepts it, for a test.
    NotRequired,
}
