//! `archive accept`: makes this server the one that archives, after it has taken the place of another.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;
use stillframe_core::catalog::{ArchiveClaim, Instance};
use stillframe_core::flows::{Accepted, Replaced, archive_accept};
use stillframe_core::postgres::TimelineId;

use crate::common::Common;
use crate::exit::Failure;
use crate::output::print;
use crate::parse;
use crate::wiring::World;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Let this server archive in the place of another one of its cluster, which is refused from then on
    Accept(Options),
}

#[derive(Debug, Args)]
pub struct Options {
    /// Timeline to archive; by default the one that the server is on
    #[arg(long, value_name = "NUMBER", value_parser = parse::timeline)]
    timeline: Option<TimelineId>,
}

#[derive(Serialize)]
struct View {
    format_version: u32,
    timeline: u32,
    host: String,
    data_directory: String,
    replaced: Option<PlaceView>,
}

#[derive(Serialize)]
struct PlaceView {
    host: String,
    data_directory: String,
}

/// Accepts it.
pub async fn run(common: &Common, options: &Options, json: bool) -> Result<ExitCode, Failure> {
    let world = World::open(common).await?;
    let pusher = world.pusher(world.config.pgdata()?)?;
    let instance = Instance::observe(pusher.data_directory, pusher.name)?;
    let timeline = options.timeline.unwrap_or(instance.timeline);
    let accepted = archive_accept(&world.ports(), &instance, timeline).await?;
    print(json, &view(&accepted), || describe(&accepted));
    Ok(ExitCode::SUCCESS)
}

fn view(accepted: &Accepted) -> View {
    let place =
        |claim: &ArchiveClaim| PlaceView { host: claim.place.host.clone(), data_directory: claim.place.data_directory.clone() };
    View {
        format_version: 1,
        timeline: accepted.claim.timeline.get(),
        host: accepted.claim.place.host.clone(),
        data_directory: accepted.claim.place.data_directory.clone(),
        replaced: match &accepted.replaced {
            Replaced::Claim(claim) => Some(place(claim)),
            Replaced::Nothing | Replaced::Damaged(_) => None,
        },
    }
}

fn describe(accepted: &Accepted) -> String {
    let before = match &accepted.replaced {
        Replaced::Nothing => "nobody did so before".to_owned(),
        Replaced::Claim(claim) if claim.place == accepted.claim.place => "it did so before".to_owned(),
        Replaced::Claim(claim) => format!("before it was {}, which is refused from now on", claim.place),
        Replaced::Damaged(error) => format!("who did so before cannot be read: {error}"),
    };
    format!("{} archives timeline {}; {before}", accepted.claim.place, accepted.claim.timeline)
}
