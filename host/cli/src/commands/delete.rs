//! `delete`: shows what a rule would delete and why; with `--confirm`, deletes it.

mod rule;
mod text;
mod view;
mod window;

use std::process::ExitCode;

use clap::Args;
use stillframe_core::flows::{DeleteError, apply_delete, plan_delete};

use crate::common::Common;
use crate::exit::Failure;
use crate::output::print;
use crate::progress::ProgressOptions;
use crate::wiring::{World, lease_request};
use rule::Rule;
use text::{decisions, describe, describe_report};
use view::view;

#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    rule: Rule,
    /// Delete; without it, only show what would be deleted
    #[arg(long, global = true)]
    confirm: bool,
    /// Delete only if this is still the plan, as the one that was shown says
    #[arg(long, global = true, value_name = "PLAN", requires = "confirm")]
    plan: Option<String>,
    #[command(flatten)]
    pub progress: ProgressOptions,
}

/// Shows the plan, and applies it if the operator confirms.
pub async fn run(common: &Common, options: &Options, json: bool) -> Result<ExitCode, Failure> {
    let world = World::open(common).await?;
    let rule = options.rule.parsed(world.config.retention.as_ref())?;
    let plan = plan_delete(&world.ports(), &rule).await?;
    if !options.confirm {
        print(json, &view(&plan, None), || describe(&plan));
        return Ok(ExitCode::SUCCESS);
    }
    if options.plan.as_ref().is_some_and(|shown| *shown != plan.fingerprint()) {
        return Err(DeleteError::PlanChanged.into());
    }
    if !json {
        print(false, &(), || decisions(&plan));
    }
    let report = apply_delete(&world.ports(), &rule, &plan, &lease_request("delete")).await;
    print(json, &view(&plan, Some(&report)), || describe_report(&report));
    report.into_result().map_err(|(_, error)| Failure::from(error).beside_a_result())?;
    Ok(ExitCode::SUCCESS)
}
