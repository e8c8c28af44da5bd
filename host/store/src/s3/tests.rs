//! The S3 store against real servers and against a network that loses things.

mod conformance;
mod credentials;
mod faults;
mod honesty;
mod identity;
mod parts;
mod tls;
