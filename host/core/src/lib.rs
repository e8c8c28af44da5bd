//! Words, rules and flows of Stillframe.
//!
//! Everything that must be correct lives here and can be tested without a server, a store or a plugin engine: the backup-mode
//! session, the catalog of sentinels, the WAL archive, retention, and the preparation of a restored data directory. What touches
//! the world comes in through five seams: [`postgres::Connection`], [`store::Store`], [`provider::Provider`], [`clock::Clock`]
//! and [`paths::Locator`]; [`files`] is the only place that writes files durably.

pub mod catalog;
pub mod clock;
pub mod data_directory;
pub mod error;
pub mod files;
pub mod flows;
mod hex;
pub mod paths;
pub mod postgres;
pub mod provider;
pub mod retention;
pub mod session_directory;
pub mod spool;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod text;
pub mod window;
