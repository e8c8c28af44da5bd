//! `snapshot-push`: takes a backup.

use std::process::ExitCode;

use clap::Args;
use stillframe_core::catalog::Permanence;
use stillframe_core::flows::{Isolation, PushRequest, Server, snapshot_push};
use stillframe_core::paths::{KernelFiles, LocalPaths};
use stillframe_core::provider::ProviderName;

use super::view::BackupView;
use crate::common::Common;
use crate::config::host_name;
use crate::exit::Failure;
use crate::output::print;
use crate::wiring::{World, interrupted, lease_request};

#[derive(Debug, Args)]
pub struct Options {
    /// The provider that cuts the snapshot [default: `backup.provider`, or the only one that is configured]
    #[arg(long, value_parser = |text: &str| ProviderName::try_from(text.to_owned()))]
    provider: Option<ProviderName>,
    /// No retention rule deletes this backup
    #[arg(long, short)]
    permanent: bool,
    /// Keep this JSON value with the backup
    #[arg(long, value_name = "JSON", value_parser = json_value)]
    add_user_data: Option<serde_json::Value>,
    /// For tests: accept a snapshot that changes with the live cluster
    #[arg(long)]
    allow_not_isolated: bool,
}

fn json_value(text: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(text).map_err(|error| format!("{error}; a text needs its own quotes: '\"nightly\"'"))
}

/// Takes a backup.
pub async fn run(common: &Common, options: &Options, json: bool) -> Result<ExitCode, Failure> {
    let world = World::open(common).await?;
    let provider = world.providers.choose(options.provider.as_ref(), world.config.default_provider.as_ref())?;
    let (name, token) = world.new_identity()?;
    let request = PushRequest {
        name,
        token,
        provider,
        permanence: if options.permanent { Permanence::Permanent } else { Permanence::Ordinary },
        user_data: options.add_user_data.clone(),
        checkpoint: world.config.checkpoint,
        isolation: if options.allow_not_isolated { Isolation::NotRequired } else { Isolation::Required },
        hostname: host_name(),
        lease: lease_request("snapshot-push"),
        deadlines: world.config.deadlines,
    };
    let locator = LocalPaths { pgdata: world.config.pgdata()?.to_owned(), kernel: KernelFiles::default() };
    let server = Server { connection: world.connect().await?, primary: world.connect_to_primary().await?, locator: &locator };
    let backup = snapshot_push(&world.ports(), server, &request, interrupted()).await?;
    print(json, &BackupView::from(&backup), || backup.sentinel.name.to_string());
    Ok(ExitCode::SUCCESS)
}
