//! What the host keeps for one instance: the empty WASI context, its limits, and its access to capabilities.

mod tail;

use std::sync::Arc;

use stillframe_core::provider::ProviderName;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::bindings::stillframe::provider::types;
use crate::capability::{Access, Chatter, TreeAccess};
use crate::deadline::Deadline;
use crate::limiter::Limiter;
use crate::work::Work;

pub(crate) use tail::Tail;

/// Bytes that a guest can ask of the random generators at once: seeds, not data.
const MAX_RANDOM_BYTES: u64 = 64 << 10;

/// Streams, pollables and the like that a guest can hold at once.
const MAX_RESOURCES: usize = 1_000;

/// What belongs to one instance.
pub(crate) struct State {
    pub(crate) provider: ProviderName,
    pub(crate) deadline: Deadline,
    pub(crate) limiter: Limiter,
    pub(crate) chatter: Chatter,
    pub(crate) stderr: Tail,
    pub(crate) tree: TreeAccess,
    /// None while the provider describes itself: then every capability is off.
    pub(crate) access: Option<Arc<Access>>,
    /// Whether a clone was asked for that shares its files with the source.
    pub(crate) has_shared_a_source: bool,
    pub(crate) work: Work,
    wasi: WasiCtx,
    resources: ResourceTable,
}

impl State {
    /// Prepares the state of an instance that has nothing yet.
    pub(crate) fn new(
        provider: ProviderName,
        deadline: Deadline,
        limiter: Limiter,
        tree: TreeAccess,
        access: Option<Arc<Access>>,
        work: Work,
    ) -> Self {
        let stderr = Tail::default();
        let mut resources = ResourceTable::new();
        resources.set_max_capacity(MAX_RESOURCES);
        let wasi = empty_wasi(&stderr);
        Self {
            provider,
            deadline,
            limiter,
            chatter: Chatter::default(),
            stderr,
            tree,
            access,
            has_shared_a_source: false,
            work,
            wasi,
            resources,
        }
    }
}

/// No directory, no environment, no argument, no network, no stream of ours; only the end of standard error is kept.
fn empty_wasi(stderr: &Tail) -> WasiCtx {
    WasiCtx::builder()
        .stderr(stderr.clone())
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(MAX_RANDOM_BYTES)
        .build()
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.resources }
    }
}

impl types::Host for State {}
