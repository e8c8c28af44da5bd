//! `store create`: makes a new store, once, on purpose.
//!
//! A store is never made in passing: an archive that is not mounted would look like an empty one, and be filled underneath. An
//! object store must first prove that it honours conditional writes, on which everything else rests.

use std::process::ExitCode;

use clap::Subcommand;
use serde::Serialize;

use crate::common::Common;
use crate::config::Config;
use crate::exit::Failure;
use crate::output::print;
use crate::wiring::variables;

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
pub async fn run(common: &Common, json: bool) -> Result<ExitCode, Failure> {
    let config = Config::load(common.config.as_deref(), &variables())?;
    let store = stillframe_store::create(&config.store).await?;
    print(json, &Created { store: store.url() }, || format!("{} is ready", store.url()));
    Ok(ExitCode::SUCCESS)
}
