//! Azure on its emulator, and Google on a server of the harness that speaks its XML interface.
//!
//! What this proves of Google: the requests that are sent, the precondition among them, and how answers are read. Not proven is
//! the vendor's service itself, nor signing and tokens: no emulator that runs here is faithful about conditional writes.

mod azure;
mod google;
