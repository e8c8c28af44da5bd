//! `aws` and `http` against servers of this process: what goes out, what comes back, and what never does.
//!
//! The component (`tests/guests/caller`) makes the calls of its configuration, tells how each ended, and counts in its own memory
//! what must not be there.

#![expect(clippy::unwrap_used, reason = "in the helpers of a test, too, a panic is the report")]

mod answers;
mod aws;
mod harness;
mod http;
mod secrets;
mod server;
mod sigv4;
mod tls;
