//! `check`: proves the set-up, and ends with the codes that monitors read.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use stillframe_core::error::chain;
use stillframe_core::flows::ProviderChoice;
use stillframe_core::flows::check::{CheckRequest, CheckedServer, Failed, Finding, RoundTrip, Subject, Verdict, check, worst};
use stillframe_core::paths::{KernelFiles, LocalPaths, Locator};
use stillframe_core::provider::ProviderName;
use stillframe_core::retention::RetentionRule;

use crate::common::Common;
use crate::config::Config;
use crate::exit::Failure;
use crate::output::{count, print, print_failure};
use crate::parse;
use crate::wiring::{World, new_token, variables};

#[derive(Debug, Args)]
#[command(
    after_help = "Creates a restore point on the server and switches to a new WAL segment, unless --no-round-trip. Changes nothing else.\n\
    Exit codes, as monitors read them: 0 all well, 1 a warning, 2 critical, 3 the configuration could not be read."
)]
pub struct Options {
    /// The provider to check, as for `snapshot-push`
    #[arg(long, value_parser = |text: &str| ProviderName::try_from(text.to_owned()))]
    provider: Option<ProviderName>,
    /// Send no segment through the archive: the server is not written to
    #[arg(long)]
    no_round_trip: bool,
    /// How long the server may take to archive a segment
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    archive_timeout: u32,
    /// Critical when the newest backup is older: 26h, 2d
    #[arg(long, value_name = "AGE", value_parser = parse::age)]
    max_backup_age: Option<Duration>,
    /// One line, as Nagios and Icinga show it, with the worst first
    #[arg(long)]
    nagios: bool,
}

#[derive(Serialize)]
struct Report {
    verdict: &'static str,
    findings: Vec<FindingView>,
}

#[derive(Serialize)]
struct FindingView {
    subject: &'static str,
    verdict: &'static str,
    message: String,
    hint: Option<String>,
}

impl From<&Finding> for FindingView {
    fn from(finding: &Finding) -> Self {
        Self {
            subject: finding.subject.as_str(),
            verdict: word(finding.verdict),
            message: finding.message.clone(),
            hint: finding.hint.clone(),
        }
    }
}

/// Exit code of a check that could not be made.
const UNKNOWN: u8 = 3;

/// Checks. A monitor takes the code of a failed start for "unknown".
pub async fn run(common: &Common, options: &Options, json: bool) -> Result<ExitCode, Failure> {
    let findings = match Box::pin(look(common, options)).await {
        Ok(findings) => findings,
        Err(failure) => {
            if options.nagios && !json {
                print(false, &(), || format!("STILLFRAME UNKNOWN - {}", failure.chain().join(": ")));
                return Ok(ExitCode::from(UNKNOWN));
            }
            print_failure(&failure, json);
            return Ok(ExitCode::from(UNKNOWN));
        }
    };
    let verdict = worst(&findings);
    let report = Report { verdict: word(verdict), findings: findings.iter().map(FindingView::from).collect() };
    print(json, &report, || if options.nagios { one_line(&findings) } else { lines(&findings) });
    Ok(ExitCode::from(match verdict {
        Verdict::Ok | Verdict::Skipped => 0,
        Verdict::Warning => 1,
        Verdict::Critical => 2,
    }))
}

async fn look(common: &Common, options: &Options) -> Result<Vec<Finding>, Failure> {
    let variables = variables();
    let config = Config::load(common.config.as_deref(), &variables)?;
    // Nothing is archived and nothing can be restored: that is known well enough.
    let world = match World::of(config, variables).await {
        Ok(world) => world,
        Err(error) => return Ok(vec![Finding::failed(Subject::Store, &error)]),
    };
    let providers = match world.providers.choose(options.provider.as_ref(), &world.config) {
        Ok(choice) => choice,
        Err(error) if options.provider.is_some() => return Err(error.into()),
        // That nobody can cut is a finding like any other.
        Err(_) => ProviderChoice { default: None, rules: world.config.paths.clone() },
    };
    let request = CheckRequest {
        providers,
        round_trip: if options.no_round_trip {
            RoundTrip::LeftOut
        } else {
            RoundTrip::Made { token: new_token()?, deadline: Duration::from_secs(options.archive_timeout.into()) }
        },
        max_backup_age: options.max_backup_age,
        retention: world.config.retention.clone().map(RetentionRule::Policy),
    };
    let locator = world.config.pgdata().ok().map(|pgdata| LocalPaths { pgdata: pgdata.to_owned(), kernel: KernelFiles::default() });
    let mut connection = world.connect().await.map_err(|failure| failed(&failure));
    let is_standby = match &mut connection {
        Ok(server) => server.facts().await.is_ok_and(|facts| facts.in_recovery),
        Err(_) => false,
    };
    let primary = if is_standby { world.connect_to_primary().await } else { Ok(None) };
    let primary = primary.map_err(|failure| failed(&failure)).transpose();
    let server = CheckedServer { connection, primary, locator: locator.as_ref().map(|locator| locator as &dyn Locator) };
    // Backups whose WAL lies there are told of as not verified then.
    let external = world.external_archive().await.unwrap_or_else(|error| {
        tracing::warn!("the external archive is not looked at: {}", chain(&error));
        None
    });
    Ok(check(&world.ports(), server, external.as_deref(), &request).await)
}

fn failed(failure: &Failure) -> Failed {
    Failed { message: failure.chain().join(": "), hint: failure.hint().map(str::to_owned) }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Skipped => "skipped",
        Verdict::Warning => "warning",
        Verdict::Critical => "critical",
    }
}

/// One line for each finding, and below it what can be done.
fn lines(findings: &[Finding]) -> String {
    let mut lines = Vec::new();
    for finding in findings {
        lines.push(format!("{:8}  {:14}  {}", word(finding.verdict), finding.subject.as_str(), finding.message));
        lines.extend(finding.hint.iter().map(|hint| format!("{:26}hint: {hint}", "")));
    }
    lines.push(summary(findings));
    lines.join("\n")
}

fn summary(findings: &[Finding]) -> String {
    let of = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let mut parts = vec![format!("{} well", of(Verdict::Ok))];
    for (verdict, thing) in [(Verdict::Skipped, "skipped"), (Verdict::Warning, "warning"), (Verdict::Critical, "critical")] {
        if of(verdict) > 0 {
            parts.push(format!("{} {thing}", of(verdict)));
        }
    }
    format!("{}: {}", count(findings.len(), "check"), parts.join(", "))
}

/// What a monitor shows: the state, the worst findings, no line break and no bar, which begins performance data.
fn one_line(findings: &[Finding]) -> String {
    let verdict = worst(findings);
    let state = match verdict {
        Verdict::Ok | Verdict::Skipped => "OK",
        Verdict::Warning => "WARNING",
        Verdict::Critical => "CRITICAL",
    };
    let told = findings.iter().filter(|finding| finding.verdict == verdict && verdict >= Verdict::Warning);
    let told: Vec<String> = told.map(|finding| format!("{}: {}", finding.subject.as_str(), finding.message)).collect();
    let text = if told.is_empty() { summary(findings) } else { told.join("; ") };
    format!("STILLFRAME {state} - {}", text.replace(['\n', '\r'], " ").replace('|', "/"))
}

#[cfg(test)]
mod tests {

    use super::*;

    fn finding(verdict: Verdict, message: &str) -> Finding {
        Finding { subject: Subject::Store, verdict, message: message.to_owned(), hint: Some("do this".to_owned()) }
    }

    #[test]
    fn a_monitor_gets_one_line_with_the_worst_and_nothing_that_it_would_take_for_figures() {
        let findings = [finding(Verdict::Ok, "fine"), finding(Verdict::Critical, "a | b\nc"), finding(Verdict::Warning, "slow")];
        assert_eq!(one_line(&findings), "STILLFRAME CRITICAL - store: a / b c");
        assert_eq!(one_line(&findings[..1]), "STILLFRAME OK - 1 check: 1 well");
    }

    #[test]
    fn people_get_a_line_for_each_and_the_count_of_what_was_skipped() {
        let text = lines(&[finding(Verdict::Ok, "fine"), finding(Verdict::Skipped, "not here")]);
        assert_eq!(text.lines().count(), 5);
        assert!(text.ends_with("2 checks: 1 well, 1 skipped"), "{text}");
    }
}
