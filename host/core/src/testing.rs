//! Fakes of every seam, for tests: fast, observable, and able to fail at any step.
//!
//! They stand below the real parts, never instead of them: each claim about PostgreSQL, a file system or a plugin is tested with
//! the real thing as well.

mod backup;
mod clock;
mod connection;
mod fuse;
mod locator;
mod private_server;
mod provider;
mod stopped;
mod store;
mod wal;

pub use backup::published_backup;
pub use clock::{HastyClock, ManualClock};
pub use connection::{FakeConnection, FakeServer, ServerCall};
pub(crate) use fuse::change_file;
pub use fuse::{Effect, Failure, Fault, FileWatch, Fuse, Spot};
pub use locator::FakeLocator;
pub use private_server::{FakeEnd, FakePrograms, FakeReplay};
pub use provider::{FakeProvider, FakeProviders, ProviderCall, ProviderFailure};
pub use stopped::{FakeStoppedServer, control_file, shutdown_segment};
pub use store::{FaultyStore, InjectedFault, MemoryStore, Operation, WatchedStore, Watcher, When};
pub use wal::{WalWriter, wal_segment};
