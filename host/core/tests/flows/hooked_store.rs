//! A store in which something happens just before a certain record is read or written, and one in which a record cannot be read.

use std::pin::Pin;
use std::sync::Mutex;

use async_trait::async_trait;
pub(crate) use stillframe_core::testing::Operation;
use stillframe_core::testing::{InjectedFault, MemoryStore, WatchedStore, Watcher};

/// Runs this once, before that is done to the record whose key ends so.
pub(crate) fn hooked<'a>(
    inner: &'a MemoryStore,
    before: Operation,
    suffix: &'static str,
    act: impl Future<Output = ()> + Send + 'a,
) -> WatchedStore<'a, Hook<'a>> {
    hooked_at(inner, before, 1, suffix, act)
}

/// The same, before that is done for the n-th time.
pub(crate) fn hooked_at<'a>(
    inner: &'a MemoryStore,
    before: Operation,
    nth: usize,
    suffix: &'static str,
    act: impl Future<Output = ()> + Send + 'a,
) -> WatchedStore<'a, Hook<'a>> {
    WatchedStore::new(inner, Hook(Mutex::new(Some((before, nth, suffix, Box::pin(act))))))
}

type Act<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

pub(crate) struct Hook<'a>(Mutex<Option<(Operation, usize, &'static str, Act<'a>)>>);

#[async_trait]
impl Watcher for Hook<'_> {
    async fn before(&self, operation: Operation, target: &str) -> Result<(), InjectedFault> {
        let act = self.0.lock().unwrap().take_if(|(before, left, suffix, _)| {
            let is_it = *before == operation && target.ends_with(*suffix);
            *left -= usize::from(is_it);
            is_it && *left == 0
        });
        if let Some((.., act)) = act {
            act.await;
        }
        Ok(())
    }
}

/// Fails every read of a key that ends so.
pub(crate) fn unreadable<'a>(inner: &'a MemoryStore, suffix: &'static str) -> WatchedStore<'a, Unreadable> {
    WatchedStore::new(inner, Unreadable(suffix))
}

pub(crate) struct Unreadable(&'static str);

#[async_trait]
impl Watcher for Unreadable {
    async fn before(&self, operation: Operation, target: &str) -> Result<(), InjectedFault> {
        let is_read = matches!(operation, Operation::Get | Operation::Head);
        if is_read && target.ends_with(self.0) { Err(InjectedFault) } else { Ok(()) }
    }
}
