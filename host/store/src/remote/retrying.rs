//! Repeats what a network loses.
//!
//! Only a transient fault is met by another attempt, at most so many, each after a pause that doubles and is drawn at random: hosts
//! that failed together must not come back together. One danger: an answer that is lost leaves the work done. A conditional write
//! that is repeated then meets its own object and would be told that somebody else was there before.

use std::num::NonZeroU32;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stillframe_core::clock::Clock;
use stillframe_core::error::{Classify as _, ErrorClass, chain};
use stillframe_core::store::PutOutcome;

use super::fault::Fault;
use super::wire::{Page, Wire};

/// Upper bound of the first pause.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Upper bound of every pause: PostgreSQL calls the archive command again after a minute anyway.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// A wire that tries again.
pub(crate) struct Retrying {
    wire: Box<dyn Wire>,
    max_attempts: NonZeroU32,
    clock: Box<dyn Clock>,
}

impl Retrying {
    /// Makes at most `max_attempts` of everything, the first included.
    pub(crate) fn new(wire: Box<dyn Wire>, max_attempts: NonZeroU32, clock: Box<dyn Clock>) -> Self {
        Self { wire, max_attempts, clock }
    }

    /// Attempts until there is an answer, a fault that stays, or no attempt left. The attempt gets its number, from 1.
    async fn attempt<T, F>(&self, operation: &'static str, name: &str, attempt: impl Fn(u32) -> F + Send + Sync) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Fault>> + Send,
        T: Send,
    {
        let mut number = 1;
        loop {
            let fault = match attempt(number).await {
                Err(fault) if fault.class() == ErrorClass::Transient && number < self.max_attempts.get() => fault,
                outcome => return outcome,
            };
            let pause = pause(number)?;
            let (store, max_attempts, cause) = (self.wire.name(), self.max_attempts, chain(&fault));
            let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(%store, operation, name, attempt = number, %max_attempts, pause_ms, %cause, "store operation is tried again");
            self.clock.sleep(pause).await;
            number += 1;
        }
    }

    /// A conditional write after one whose answer may have been lost.
    async fn put_again(&self, name: &str, body: Bytes) -> Result<PutOutcome, Fault> {
        if self.wire.put_if_absent(name, body.clone()).await? == PutOutcome::Created {
            return Ok(PutOutcome::Created);
        }
        // Whose object is it? Bodies that must be told apart hold a token of their writer.
        match self.wire.get(name).await? {
            Some(found) if found == body => Ok(PutOutcome::Created),
            Some(_) => Ok(PutOutcome::AlreadyExists),
            None => Err(Fault::Vanished),
        }
    }
}

#[async_trait]
impl Wire for Retrying {
    fn name(&self) -> String {
        self.wire.name()
    }

    async fn get(&self, name: &str) -> Result<Option<Bytes>, Fault> {
        self.attempt("read", name, |_| self.wire.get(name)).await
    }

    async fn put(&self, name: &str, body: Bytes) -> Result<(), Fault> {
        self.attempt("write", name, |_| self.wire.put(name, body.clone())).await
    }

    async fn put_if_absent(&self, name: &str, body: Bytes) -> Result<PutOutcome, Fault> {
        let attempt = |number| {
            let body = body.clone();
            async move {
                match number {
                    1 => self.wire.put_if_absent(name, body).await,
                    _ => self.put_again(name, body).await,
                }
            }
        };
        self.attempt("write", name, attempt).await
    }

    async fn head(&self, name: &str) -> Result<Option<u64>, Fault> {
        self.attempt("read", name, |_| self.wire.head(name)).await
    }

    async fn delete(&self, name: &str) -> Result<(), Fault> {
        self.attempt("delete", name, |_| self.wire.delete(name)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, Fault> {
        self.attempt("list", prefix, |_| self.wire.list(prefix, after, limit)).await
    }
}

/// A random pause after this attempt, between nothing and a bound that doubles.
fn pause(attempt: u32) -> Result<Duration, Fault> {
    let random = getrandom::u32().map_err(|source| Fault::NoRandomness { source })?;
    let bound = FIRST_PAUSE.saturating_mul(1 << (attempt - 1).min(16)).min(LONGEST_PAUSE);
    Ok(bound.mul_f64(f64::from(random) / f64::from(u32::MAX)))
}
