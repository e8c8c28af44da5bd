//! One call of a provider: a fresh instance, its deadline, its end.
//!
//! Nothing survives a call: whatever a provider did to its memory is gone with its instance. Dropping a call stops the guest at
//! its next tick and tells blocking work on the host to stop.

use std::sync::Arc;

use stillframe_core::provider::{ProviderFault, ProviderName};
use wasmtime::{Store, UpdateDeadline};

use crate::bindings::exports::stillframe::provider::{lock, provider, restore};
use crate::bindings::stillframe::provider::types;
use crate::capability::{Access, TreeAccess};
use crate::convert;
use crate::deadline::{Deadline, Expired};
use crate::fault;
use crate::limiter::Limiter;
use crate::link::{self, Linked};
use crate::state::State;
use crate::tree::{TreeRoot, Trees};
use crate::work::{Leftovers, Work};

/// Bytes that a guest may pass to the host at one time: the arguments of one call of a capability, or one answer. The largest legal
/// answer is a page of 100 sets.
const MAX_COPIED_BYTES: usize = 8 << 20;

/// Handles that a guest can hold at once.
const MAX_HANDLES: usize = 10_000;

/// What a call needs besides its component.
pub(crate) struct Setting<'a> {
    pub(crate) provider: &'a ProviderName,
    pub(crate) memory_bytes: u64,
    pub(crate) deadline: Deadline,
    pub(crate) leftovers: &'a Leftovers,
    /// None: the capability `tree` is off.
    pub(crate) roots: Option<Vec<TreeRoot>>,
    /// None: the others are off.
    pub(crate) access: Option<Arc<Access>>,
}

/// A call that is under way.
pub(crate) struct Call {
    pub(crate) deadline: Deadline,
    pub(crate) store: Store<State>,
    pub(crate) guest: provider::Guest,
    pub(crate) restore: Option<restore::Guest>,
    pub(crate) lock: Option<lock::Guest>,
}

/// What a call of a guest comes back with.
type Returned<T> = Result<wasmtime::Result<T>, Expired>;

impl Call {
    /// Waits for what dropped calls have left, opens the roots and makes the instance.
    pub(crate) async fn begin(linked: &Linked, setting: Setting<'_>) -> Result<Self, ProviderFault> {
        let Setting { provider, memory_bytes, deadline, leftovers, roots, access } = setting;
        deadline.limit(leftovers.settled()).await.map_err(fault::of_deadline)?;
        let work = Work::new(leftovers.clone());
        let tree = match roots {
            None => TreeAccess::Off,
            Some(roots) => TreeAccess::Roots(Arc::new(deadline.limit(open(&work, roots)).await.map_err(fault::of_deadline)??)),
        };
        let state = State::new(provider.clone(), deadline, Limiter::new(memory_bytes), tree, access, work);
        let mut store = limited_store(linked, state);
        let instance = match deadline.limit(linked.instance.instantiate_async(&mut store)).await.map_err(fault::of_deadline)? {
            Ok(instance) => instance,
            Err(error) => return Err(fault::of_call(&error, store.data())),
        };
        let guest = linked.provider.load(&mut store, &instance).map_err(link::misfit)?;
        let restore = linked.restore.as_ref().map(|found| found.load(&mut store, &instance)).transpose().map_err(link::misfit)?;
        let lock = linked.lock.as_ref().map(|found| found.load(&mut store, &instance)).transpose().map_err(link::misfit)?;
        Ok(Self { deadline, store, guest, restore, lock })
    }

    /// Ends a call whose function returns a value.
    pub(crate) fn returned<T>(self, returned: Returned<T>) -> Result<T, ProviderFault> {
        returned.map_err(fault::of_deadline)?.map_err(|error| fault::of_call(&error, self.store.data()))
    }

    /// Ends a call whose function returns a value or the interface's error.
    pub(crate) fn answered<T>(self, returned: Returned<Result<T, types::Error>>) -> Result<T, ProviderFault> {
        self.returned(returned)?.map_err(convert::fault)
    }
}

/// A root that cannot be opened is a mistake of the configuration, and is told before the provider can misunderstand it.
async fn open(work: &Work, roots: Vec<TreeRoot>) -> Result<Trees, ProviderFault> {
    let invalid = |message: String| ProviderFault::Invalid { field: "tree".to_owned(), message };
    if roots.is_empty() {
        // Nothing to wait for, and a thread costs as much as the rest of a call.
        return Trees::open(roots).map_err(|error| invalid(error.to_string()));
    }
    let opened = work.run(|_| Trees::open(roots)).await.map_err(|error| invalid(error.to_string()))?;
    opened.map_err(|error| invalid(error.to_string()))
}

fn limited_store(linked: &Linked, state: State) -> Store<State> {
    let mut store = Store::new(linked.instance.engine(), state);
    store.limiter(|state| &mut state.limiter);
    store.set_hostcall_fuel(MAX_COPIED_BYTES);
    store.set_max_component_handles(MAX_HANDLES);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|context| {
        context.data().deadline.check()?;
        Ok(UpdateDeadline::Yield(1))
    });
    store
}
