//! Links a component: with what it may use in operations, or with every capability off to describe itself.

use std::collections::BTreeSet;

use stillframe_core::provider::ProviderFault;
use wasmtime::component::{Component, HasSelf, InstancePre, Linker};

use crate::bindings::exports::stillframe::provider::{lock, provider, restore};
use crate::bindings::stillframe::provider::{aws, command, host, http, tree, types};
use crate::capability::Capability;
use crate::state::State;
use crate::text::clean;

/// Bytes of an engine's message that are quoted.
const MAX_REASON_BYTES: usize = 1 << 10;

/// A component whose imports are resolved and whose exports are found.
pub(crate) struct Linked {
    pub(crate) instance: InstancePre<State>,
    pub(crate) provider: provider::GuestIndices,
    /// Optional in the interface.
    pub(crate) restore: Option<restore::GuestIndices>,
    /// Likewise.
    pub(crate) lock: Option<lock::GuestIndices>,
}

/// Links what the component imports and was granted, and nothing else.
pub(crate) fn for_operations(component: &Component, granted: &BTreeSet<Capability>) -> Result<Linked, ProviderFault> {
    let mut linker = base(component).map_err(misfit)?;
    for capability in granted {
        add(&mut linker, *capability).map_err(misfit)?;
    }
    finish(&linker, component)
}

/// Links everything; the capabilities answer `denied`, and what this host does not know traps. For `describe` alone.
pub(crate) fn for_description(component: &Component) -> Result<Linked, ProviderFault> {
    let mut linker = base(component).map_err(misfit)?;
    for capability in [Capability::Command, Capability::Aws, Capability::Http, Capability::Tree] {
        add(&mut linker, capability).map_err(misfit)?;
    }
    linker.define_unknown_imports_as_traps(component).map_err(misfit)?;
    finish(&linker, component)
}

/// What every component gets: `host`, and the empty runtime of its language.
fn base(component: &Component) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(component.engine());
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    types::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    host::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    Ok(linker)
}

fn add(linker: &mut Linker<State>, capability: Capability) -> wasmtime::Result<()> {
    match capability {
        Capability::Command => command::add_to_linker::<_, HasSelf<State>>(linker, |state| state),
        Capability::Aws => aws::add_to_linker::<_, HasSelf<State>>(linker, |state| state),
        Capability::Http => http::add_to_linker::<_, HasSelf<State>>(linker, |state| state),
        Capability::Tree => tree::add_to_linker::<_, HasSelf<State>>(linker, |state| state),
    }
}

fn finish(linker: &Linker<State>, component: &Component) -> Result<Linked, ProviderFault> {
    let instance = linker.instantiate_pre(component).map_err(misfit)?;
    let provider = provider::GuestIndices::new(&instance).map_err(misfit)?;
    let restore = restore::GuestIndices::new(&instance).ok();
    let lock = lock::GuestIndices::new(&instance).ok();
    Ok(Linked { instance, provider, restore, lock })
}

/// A type, or a function of a later minor version, that this host does not have: the engine's text names it.
#[expect(clippy::needless_pass_by_value, reason = "the signature that `map_err` wants")]
pub(crate) fn misfit(error: wasmtime::Error) -> ProviderFault {
    ProviderFault::Unusable(format!("it does not fit the interface: {}", clean(&format!("{error:#}"), MAX_REASON_BYTES)))
}
