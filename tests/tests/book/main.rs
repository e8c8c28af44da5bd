//! The book in `docs` is true: every command block is typed on a machine as the page describes it, and prints what the page shows.
//!
//! `chapters` follows the pages, one test each; `contents` looks at the book as a whole; `harness` shows that following can fail.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]
#![allow(clippy::print_stdout, reason = "what was typed, and what was not run, is a part of the result")]

mod chapters;
mod contents;
mod harness;
mod rights;
