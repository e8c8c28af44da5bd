//! Blocking work on the host that an operation has started, and what remains of it when the operation is dropped.
//!
//! Dropping a future stops a guest at once, but not a thread that walks a tree. So the thread is told to stop, and the provider's
//! next operation waits until it has: otherwise it could ask for a snapshot set that appears a moment later.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::RwLock;
use tokio::task::JoinError;

use crate::tree::StopFlag;

/// Held by every job for reading, so that whoever gets it for writing knows that none is left.
type Lease = Arc<RwLock<()>>;

/// The blocking work of one operation. Dropping it tells the work to stop.
pub(crate) struct Work {
    stop: StopFlag,
    lease: Lease,
    leftovers: Leftovers,
}

/// The work of dropped operations of one provider that has not ended yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leftovers(Arc<Mutex<Vec<Lease>>>);

impl Work {
    /// Begins with no work.
    pub(crate) fn new(leftovers: Leftovers) -> Self {
        Self { stop: StopFlag::default(), lease: Lease::default(), leftovers }
    }

    /// Runs a job on a thread that may block.
    pub(crate) async fn run<T: Send + 'static>(&self, job: impl FnOnce(&StopFlag) -> T + Send + 'static) -> Result<T, JoinError> {
        let held = Arc::clone(&self.lease).read_owned().await;
        let stop = self.stop.clone();
        tokio::task::spawn_blocking(move || {
            let answer = job(&stop);
            drop(held);
            answer
        })
        .await
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.stop.stop();
        if self.lease.try_write().is_err() {
            self.leftovers.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&self.lease));
        }
    }
}

impl Leftovers {
    /// Waits until the work of all dropped operations has ended.
    pub(crate) async fn settled(&self) {
        // Copied, not taken: this wait can be dropped as well.
        let leases = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for lease in leases {
            drop(lease.write().await);
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|lease| lease.try_write().is_err());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::{Leftovers, Work};

    #[tokio::test]
    async fn a_dropped_operation_stops_its_work_and_the_next_one_waits_for_it() {
        let leftovers = Leftovers::default();
        let work = Work::new(leftovers.clone());
        let (started, start) = mpsc::channel();
        let (ended, end) = mpsc::channel();
        {
            let running = work.run(move |stop| {
                started.send(()).unwrap();
                while !stop.is_stopped() {
                    std::thread::yield_now();
                }
                ended.send(()).unwrap();
            });
            tokio::pin!(running);
            // One poll starts the job; nothing more happens until it is told to stop.
            assert!(is_pending(running.as_mut()).await);
            start.recv().unwrap();
        }
        drop(work);
        leftovers.settled().await;
        end.try_recv().expect("the work has ended before the wait did");
        assert!(leftovers.0.lock().unwrap().is_empty());
    }

    /// Polls once; true when it is pending.
    async fn is_pending(mut future: std::pin::Pin<&mut impl Future>) -> bool {
        std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_pending())).await
    }
}
