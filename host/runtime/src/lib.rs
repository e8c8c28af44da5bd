//! Runs providers in a WebAssembly sandbox.
//!
//! The one crate that names wasmtime. A provider is a component that exports `stillframe:provider/provider`; it gets a fresh
//! instance for every operation, no more memory and time than its limits, an empty WASI context that only keeps its language's
//! runtime alive, and the capabilities that it imports and that the operator grants. What it answers is checked before anyone
//! sees it. Nothing of the engine is created before the first provider is loaded.

mod answer;
mod bindings;
mod bounds;
mod cache;
mod call;
mod capability;
mod component;
mod convert;
mod deadline;
mod digest;
mod engine;
mod fault;
mod inspect;
mod limiter;
mod link;
mod outbound;
pub mod policy;
mod preflight;
mod program;
mod provider;
mod roots;
mod runtime;
mod settings;
mod state;
#[cfg(feature = "testing")]
pub mod testing;
mod text;
mod tree;
mod work;

pub use capability::{Capability, CredentialSource};
pub use digest::{InvalidSha256, Sha256};
pub use inspect::{CapabilityReport, Inspection};
pub use provider::WasmProvider;
pub use runtime::Runtime;
pub use settings::{ComponentSource, EngineKind, Grants, Limits, ProviderSettings, RuntimeSettings, TreeGrant};
