//! Everything that the author of a Stillframe provider needs.
//!
//! Implement [`Provider`] for a type, in terms of the capabilities that it names in its bounds, and export it:
//!
//! ```text
//! impl<H: Host + Command> Provider<H> for MyStorage { ... }
//! stillframe_sdk::export_provider!(MyStorage, restore);
//! ```
//!
//! Built with `cargo build --target wasm32-wasip2`, that is a component which imports exactly those capabilities. Natively, the
//! same code is tested against `testing::FakeHost` (feature `testing`). What every function must do is written in `wit/`.
//!
//! # Size
//!
//! A stripped provider without a configuration has 100 KB, the bundled `hardlink` 370 KB. Of the latter, the names of functions
//! take 80 KB (for a readable trap; `strip = true` drops them), `serde` and `serde_json` 55 KB, the formatting and parsing of
//! floating-point numbers that their errors pull in 25 KB, the conversion of the interface's records 40 KB, and the provider's own
//! code 25 KB. `opt-level = "z"` saves 4 % of the code and adds more than that in names, so it is not used.

pub mod aws;
#[doc(hidden)]
pub mod bindings;
pub mod command;
mod config;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod export;
mod handle;
mod host;
pub mod http;
mod located;
pub mod mount;
mod paging;
mod provider;
mod record;
#[cfg(target_arch = "wasm32")]
mod sandbox;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tree;
mod types;

pub use config::parse_config;
pub use handle::{SetHandle, is_backup_name};
pub use host::{Host, Level};
pub use located::Located;
pub use paging::{OWNER_LABEL, page};
pub use provider::Provider;
pub use record::{read_record, write_record};
#[cfg(target_arch = "wasm32")]
pub use sandbox::Sandbox;
pub use types::{
    BlockDevice, CapabilityNeed, CreateRequest, DataPath, DataRole, Deletion, Error, Features, InvalidArgument, Labels, LockMode,
    Member, MemberState, ProviderInfo, RestoreDirectory, RestoreRequest, Restored, RestoredDirectory, SetPage, SetReference,
    SnapshotSet, Volume, invalid,
};

/// Exports a type that implements [`Provider`] as a component: `export_provider!(MyStorage)`.
///
/// Further words export the optional interfaces: `export_provider!(MyStorage, restore, lock)`. On every target but WebAssembly
/// this is nothing, so that the same crate can be tested natively.
#[macro_export]
macro_rules! export_provider {
    ($provider:ty $(, $interface:ident)* $(,)?) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Component = $crate::export::Component<$provider>;
            $crate::bindings::base::export_base!(Component with_types_in $crate::bindings::base);
            $($crate::__export_interface!($interface Component);)*
        };
    };
}

/// Exports one optional interface.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_interface {
    (restore $component:ident) => {
        $crate::bindings::restore::export_restore!($component with_types_in $crate::bindings::restore);
    };
    (lock $component:ident) => {
        $crate::bindings::lock::export_lock!($component with_types_in $crate::bindings::lock);
    };
}
