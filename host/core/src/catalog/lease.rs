//! The lease: at most one of those that delete, or announce a backup, acts on a cluster at a time, on whatever host.
//!
//! Each lease is an object of its own whose name is its fencing token; the highest token holds, unless it was released. The holder
//! rewrites its object while it lives. That it is dead is judged by whoever waits: nothing has changed for the whole term, by the
//! time that *it* has waited. No clock is compared with another. After such a takeover the old object is looked at once more, so
//! that of a holder that woke up in this moment and its successor at least one sees the other. Nothing can stop a step that a
//! holder has begun, so it proves its lease right before each.

mod error;
mod process;
mod record;
mod wait;

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Mutex;

pub use error::LeaseError;
pub use process::process_space;
pub(super) use process::{is_gone as process_is_gone, is_one_of_us as process_is_one_of_us};
pub use record::LeaseHolder;

use super::Layout;
use crate::clock::Clock;
use crate::error::chain;
use crate::store::Store;
use record::{LeaseRecord, LeaseState, Leases};
use wait::{Predecessor, Wait};

/// How long a lease is held by somebody of whom nothing is seen. Longer than any store takes to answer, retries included.
const TERM: Duration = Duration::from_mins(1);

/// How often a holder shows that it lives: two failed attempts in a row do not cost it the lease.
const RENEW_EVERY: Duration = Duration::from_secs(20);

/// Who wants the lease, and how long it may wait for it.
#[derive(Debug, Clone)]
pub struct LeaseRequest {
    /// Its host.
    pub host: String,
    /// Its process there.
    pub process_id: u32,
    /// What [`process_space`] says: a holder that is known to have ended need not be waited for.
    pub process_space: Option<String>,
    /// What it is about to do: `delete`.
    pub command: String,
    /// How long to wait for another holder.
    pub deadline: Duration,
}

impl LeaseRequest {
    /// How long to wait unless the operator says otherwise: a deletion of many snapshots may take minutes.
    pub const DEADLINE: Duration = Duration::from_mins(10);
}

/// A lease that is held. Dropped without [`Lease::release`], it falls free after its term.
#[must_use]
pub struct Lease<'a> {
    leases: Leases<'a>,
    clock: &'a dyn Clock,
    token: u64,
    holder: LeaseHolder,
    renewal: Mutex<Renewal>,
}

/// What the holder last showed of itself.
struct Renewal {
    count: u64,
    /// Before the store was asked: it may have taken effect at any moment since. By the wall clock as well, which alone sees that the
    /// machine was suspended.
    at: (Duration, Timestamp),
}

impl<'a> Lease<'a> {
    /// Waits until nobody else holds the lease, and takes it.
    ///
    /// Fails with [`LeaseError::Held`], which names the holder, when the deadline passes first.
    pub async fn acquire(
        store: &'a dyn Store,
        layout: &'a Layout,
        clock: &'a dyn Clock,
        request: &LeaseRequest,
    ) -> Result<Self, LeaseError> {
        let leases = Leases::new(store, layout);
        let mut wait = Wait::new(request.deadline, request.process_space.clone());
        let (lease, predecessor) = loop {
            let found = leases.newest().await?;
            if let Some(predecessor) = wait.predecessor(found) {
                let token = predecessor.token().checked_add(1).ok_or(LeaseError::NoTokens)?;
                if let Some(lease) = Self::create(&leases, clock, token, request).await? {
                    break (lease, predecessor);
                }
            }
            wait.pause(clock).await?;
        };
        if let Err(error) = lease.await_silence(&predecessor, wait).await {
            // It was not used, so that nobody need wait for its end.
            lease.release().await;
            return Err(error);
        }
        if let Err(error) = leases.remove_before(lease.token).await {
            tracing::debug!(error = chain(&error), "older leases stay until the next one is taken");
        }
        Ok(lease)
    }

    async fn create(
        leases: &Leases<'a>,
        clock: &'a dyn Clock,
        token: u64,
        request: &LeaseRequest,
    ) -> Result<Option<Self>, LeaseError> {
        let now = clock.now();
        let holder = LeaseHolder {
            host: request.host.clone(),
            process_id: request.process_id,
            process_space: request.process_space.clone(),
            command: request.command.clone(),
            acquired_at: now,
        };
        let lease = Self {
            leases: leases.clone(),
            clock,
            token,
            holder,
            renewal: Mutex::new(Renewal { count: 0, at: (clock.uptime(), now) }),
        };
        let is_ours = leases.create(token, &lease.record(LeaseState::Held, 0)).await?;
        Ok(is_ours.then_some(lease))
    }

    /// Makes sure that a predecessor whom we took for dead did not wake up just before we took over.
    ///
    /// If it did, it finds our token at its next proof, and stops; until then we wait another term.
    async fn await_silence(&self, predecessor: &Predecessor, mut wait: Wait) -> Result<(), LeaseError> {
        while let Some(token) = predecessor.expired()
            && let Some(found) = self.leases.read(token).await?
            && !wait.is_silent(found)
        {
            wait.pause(self.clock).await?;
            self.prove().await?;
        }
        Ok(())
    }

    /// Proves that the lease is still held; to be called right before every step that cannot be taken back.
    pub async fn prove(&self) -> Result<(), LeaseError> {
        self.check_age().await?;
        // Not lately: an observer may be about to count us out. Seen alive, we win until it looks again.
        if self.age().await >= RENEW_EVERY {
            return self.renew().await;
        }
        self.check_highest().await
    }

    /// Fails when nothing was shown to the others for the whole term, which costs no request.
    pub async fn check_age(&self) -> Result<(), LeaseError> {
        let age = self.age().await;
        if age >= TERM { Err(LeaseError::Expired { token: self.token, age }) } else { Ok(()) }
    }

    /// Does the work and renews the lease meanwhile; drops the work as soon as the lease is lost.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> Result<T, LeaseError> {
        tokio::select! {
            biased;
            result = work => Ok(result),
            lost = self.keep() => Err(lost),
        }
    }

    /// Renews for ever; gives the reason when that is over.
    async fn keep(&self) -> LeaseError {
        loop {
            self.clock.sleep(RENEW_EVERY).await;
            match self.renew().await {
                Ok(()) => {}
                // The next attempt may succeed, until the term is over.
                Err(LeaseError::Store(error)) => {
                    tracing::warn!(error = chain(&error), "the lease could not be renewed");
                    if let Err(expired) = self.check_age().await {
                        return expired;
                    }
                }
                Err(lost) => return lost,
            }
        }
    }

    async fn renew(&self) -> Result<(), LeaseError> {
        {
            let mut renewal = self.renewal.lock().await;
            let at = (self.clock.uptime(), self.clock.now());
            renewal.count = renewal.count.saturating_add(1);
            self.leases.write(self.token, &self.record(LeaseState::Held, renewal.count)).await?;
            renewal.at = at;
        }
        // In this order: whoever took over before we were seen alive is found here, and whoever does it later has seen us.
        self.check_highest().await
    }

    async fn check_highest(&self) -> Result<(), LeaseError> {
        match self.leases.highest_token().await? {
            Some(highest) if highest == self.token => Ok(()),
            highest => Err(LeaseError::Lost { token: self.token, highest }),
        }
    }

    /// Gives the lease back, so that the next one need not wait for its end.
    pub async fn release(self) {
        let count = self.renewal.lock().await.count;
        if let Err(error) = self.leases.write(self.token, &self.record(LeaseState::Released, count)).await {
            tracing::warn!(error = chain(&error), "the lease could not be released; it falls free after {} s", TERM.as_secs());
        }
    }

    /// Time since the last renewal: the longer of what two clocks say, since to think too little would be a danger.
    async fn age(&self) -> Duration {
        let (uptime, wall) = self.renewal.lock().await.at;
        let by_wall = Duration::try_from(self.clock.now().duration_since(wall)).unwrap_or_default();
        self.clock.uptime().saturating_sub(uptime).max(by_wall)
    }

    fn record(&self, state: LeaseState, renewals: u64) -> LeaseRecord {
        LeaseRecord { state, holder: self.holder.clone(), renewals, term: TERM }
    }
}
