//! `store create`: makes a new store, once, on purpose.
//!
//! A store is never made in passing: an archive that is not mounted would look like an empty one, and be filled underneath. An
//! object store must first prove that it honours conditional writes, on which everything else rests. For the same reason the cluster
//! is added to the store: where it is not known, no file is called absent.

use std::process::ExitCode;

use clap::Subcommand;
use serde::Serialize;
use stillframe_core::catalog::{ClusterName, Layout, add_cluster};

use crate::common::Common;
use crate::config::Config;
use crate::exit::Failure;
use crate::output::print;
use crate::wiring::variables;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the store that the configuration names, and add its cluster; what is there already is left as it is
    Create,
}

#[derive(Serialize)]
struct Created {
    store: String,
    cluster: ClusterName,
}

/// Makes it.
pub async fn run(common: &Common, json: bool) -> Result<ExitCode, Failure> {
    let config = Config::load(common.config.as_deref(), &variables())?;
    let store = stillframe_store::create(&config.store).await?;
    let layout = Layout::new(config.cluster);
    let _ = add_cluster(&*store, &layout).await?;
    let created = Created { store: store.url(), cluster: layout.cluster().clone() };
    print(json, &created, || format!("{} is ready for the cluster `{}`", created.store, created.cluster));
    Ok(ExitCode::SUCCESS)
}
