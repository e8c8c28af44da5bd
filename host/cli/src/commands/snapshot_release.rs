//! `snapshot-release`: gives back what a provider mounted, cloned or attached for a restore.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use stillframe_core::catalog::RestoreRecord;
use stillframe_core::flows::{ReleaseHosts, ReleaseReport, ReleaseRequest, RestoreSelector, snapshot_release};
use stillframe_core::provider::Token;

use super::view::RestoreView;
use crate::common::Common;
use crate::config::host_name;
use crate::exit::Failure;
use crate::output::print;
use crate::wiring::World;

/// Length of a token as `snapshot-fetch` makes it.
const TOKEN_LEN: usize = 32;

#[derive(Debug, Args)]
pub struct Options {
    /// The data directory of the restore, or its token as `backup-list` shows it
    #[arg(value_name = "DESTINATION|TOKEN")]
    restore: PathBuf,
    /// Release it although it was made on another host, which is gone for good
    #[arg(long)]
    any_host: bool,
}

impl Options {
    /// A token looks like no path that anybody would give; `./` before a directory of such a name makes it one.
    fn selector(&self) -> RestoreSelector {
        match self.restore.to_str() {
            Some(text) if text.len() == TOKEN_LEN && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                RestoreSelector::Token(Token(text.to_ascii_lowercase()))
            }
            _ => RestoreSelector::Destination(std::path::absolute(&self.restore).unwrap_or_else(|_| self.restore.clone())),
        }
    }
}

#[derive(Serialize)]
struct ReleaseView {
    released: Vec<RestoreView>,
    removed_links: Vec<PathBuf>,
}

/// Releases.
pub async fn run(common: &Common, options: &Options, json: bool) -> Result<ExitCode, Failure> {
    let world = World::open(common).await?;
    let request = ReleaseRequest {
        restore: options.selector(),
        hostname: host_name(),
        hosts: if options.any_host { ReleaseHosts::Any } else { ReleaseHosts::This },
    };
    let report = snapshot_release(&world.ports(), &request).await?;
    let view = ReleaseView {
        released: report.released.iter().map(RestoreView::from).collect(),
        removed_links: report.removed_links.clone(),
    };
    print(json, &view, || describe(&report, options));
    Ok(ExitCode::SUCCESS)
}

fn describe(report: &ReleaseReport, options: &Options) -> String {
    if report.released.is_empty() {
        return format!("no restore is recorded for {}: there is nothing to release", options.restore.display());
    }
    let line = |record: &RestoreRecord| format!("released {}, a restore of {}", record.destination.display(), record.backup);
    report.released.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_and_a_directory_are_told_apart() {
        let selector = |text: &str| Options { restore: text.into(), any_host: false }.selector();
        let token = "0123456789ABCDEF0123456789abcdef";
        assert_eq!(selector(token), RestoreSelector::Token(Token(token.to_lowercase())));
        for text in [format!("./{token}"), format!("{token}0"), "/srv/pg".to_owned(), "g".repeat(TOKEN_LEN)] {
            let RestoreSelector::Destination(path) = selector(&text) else { panic!("{text}") };
            assert!(path.is_absolute() && path.ends_with(text.trim_start_matches("./").trim_start_matches('/')), "{text}");
        }
    }
}
