//! The book for operators, read as a reader does: its commands are typed, what they print is compared, its files are written.
//!
//! A page is parsed with mdBook's own parser. Its blocks are followed in order in one world: a machine of the page's own with Debian's
//! PostgreSQL, at the very paths that the page names. `docs/SUMMARY.md` lists the pages, `docs/about-this-book.md` tells the rules.

#![allow(clippy::print_stdout, reason = "what was typed and printed is what a failed page needs")]

mod page;
mod reader;
mod shell;
mod transcript;
mod world;

pub use page::{Block, Page, pages};
pub use reader::{Reader, Report};
pub use shell::Shell;
pub use world::{World, with_own_machine};
