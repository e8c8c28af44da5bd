//! Where Stillframe keeps its catalog and its WAL archive.
//!
//! Each module is one real end of [`stillframe_core::store::Store`]; all of them pass the suite in `conformance`. Everything that a
//! network can do to a store is in `remote`, once for all of them.

mod cloud;
#[cfg(test)]
mod conformance;
mod foreign;
mod local;
mod open;
mod remote;
mod s3;
mod settings;
#[cfg(test)]
mod testing;
mod transport;
mod url;

pub use foreign::open_foreign;
pub use local::LocalStore;
pub use open::{create, open};
pub use s3::{AwsIdentity, AwsIdentityError, aws_credentials};
pub use settings::{DEFAULT_MAX_ATTEMPTS, DEFAULT_TIMEOUT, Encryption, SettingsError, StoreSettings};
pub use url::{InvalidStoreUrl, Location, StoreUrl};

/// Largest object in bytes. One is held in memory as a whole; the largest that there is, a WAL segment of 1 GiB with its framing,
/// stays well below.
const MAX_OBJECT_BYTES: u64 = 2 << 30;
