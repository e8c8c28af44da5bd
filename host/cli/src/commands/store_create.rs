//! `store create`: makes a new store, once, on purpose.
//!
//! A store is never made in passing: an archive that is not mounted would look like an empty one, and be filled underneath.

use std::process::ExitCode;

use clap::Subcommand;
use serde::Serialize;
use stillframe_core::store::Store;
use stillframe_store::LocalStore;

use crate::common::Common;
use crate::config::Config;
use crate::exit::Failure;
use crate::output::print;
use crate::wiring::{store_path, variables};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the store that the configuration names; an existing one is left as it is
    Create,
}

#[derive(Serialize)]
struct Created {
    store: String,
}

/// Makes it.
pub fn run(common: &Common, json: bool) -> Result<ExitCode, Failure> {
    let config = Config::load(common.config.as_deref(), &variables())?;
    let store = LocalStore::create(&store_path(&config)?)?;
    print(json, &Created { store: store.url() }, || format!("{} is ready", store.url()));
    Ok(ExitCode::SUCCESS)
}
