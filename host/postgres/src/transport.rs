//! From a host to a stream of bytes that is as protected as `sslmode` asks for.

mod dial;
mod stream;
mod tls;
mod verifier;

pub(crate) use dial::{Place, dial, places};
pub(crate) use stream::{Established, Transport};
pub(crate) use tls::{Encryption, encrypt};
