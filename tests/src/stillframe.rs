//! Runs the real `stillframe` binary as the unprivileged user.

mod binary;
mod config_file;
mod run;

pub use binary::binary_path;
pub use config_file::ConfigFile;
pub use run::{FETCH_ERRORS, Finished, PUSH_ERRORS, Running, Stillframe};
