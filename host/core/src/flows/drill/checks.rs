//! What is looked at in a recovered copy: the operator's own files, the structure of tables and indexes, the checksums of all pages.
//!
//! What cannot be looked at here is recorded as skipped with its reason, and never as passed. The checksums come last, since they are
//! compared when the server is down.

use std::time::Duration;

use super::attempt::Attempt;
use super::error::Stop;
use super::{CheckChoice, DrillScript, isolation};
use crate::catalog::{CheckFinding, DrillCheck};
use crate::error::chain;
use crate::postgres::{ConnectionError, QuerySession, ResultSet, ShutdownMode, ToolEnd, ToolRun};

/// First major version with `pg_amcheck`.
const FIRST_WITH_AMCHECK: u32 = 14;

/// First major version whose checksums can be compared, and the first with the name of today.
const FIRST_TO_VERIFY: u32 = 11;
const FIRST_WITH_CHECKSUMS: u32 = 12;

/// The database that lists the others.
const LISTING_DATABASE: &str = "template1";

const DATABASES: &str = "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname";
const AMCHECK: &str = "SELECT 1 FROM pg_catalog.pg_extension WHERE extname = 'amcheck'";
const CHECKSUMS: &str = "SELECT pg_catalog.current_setting('data_checksums')";

/// A script begins as a session of its own would: without what ours sets.
const FRESH: &str = "RESET ALL";

impl Attempt<'_> {
    /// Makes all checks; each is recorded as soon as it is made.
    pub(super) async fn check(&mut self) -> Result<(), Stop> {
        for script in &self.request.checks.scripts {
            let begun = self.ports.clock.now();
            let finding = within(self, self.run_script(script)).await;
            self.note(script.name.clone(), finding, self.since(begun));
        }
        self.check_structure().await?;
        self.check_checksums().await
    }

    fn note(&mut self, name: String, finding: CheckFinding, time: Duration) {
        match &finding {
            CheckFinding::Passed => tracing::info!(check = name, "passed"),
            CheckFinding::Failed(reason) => tracing::warn!(check = name, "failed: {reason}"),
            CheckFinding::Skipped(reason) => tracing::info!(check = name, "skipped: {reason}"),
        }
        self.checks.push(DrillCheck { name, finding, time });
    }

    async fn run_script(&self, script: &DrillScript) -> CheckFinding {
        let result = async {
            let mut session = self.connect(&self.request.checks.database).await?;
            session.query(FRESH).await?;
            session.query(&script.text).await
        };
        match result.await {
            Ok(results) => judge(&results),
            Err(error) => CheckFinding::Failed(chain(&error)),
        }
    }

    async fn connect(&self, database: &str) -> Result<Box<dyn QuerySession>, ConnectionError> {
        match &self.server {
            Some(server) => server.connect(database).await,
            None => Err(ConnectionError {
                server: "the server of the drill".to_owned(),
                operation: "connect",
                fault: crate::postgres::ConnectionFault::Lost("it is stopped".to_owned()),
            }),
        }
    }

    /// One check for each database, since each needs the extension.
    async fn check_structure(&mut self) -> Result<(), Stop> {
        let name = || "pg_amcheck".to_owned();
        if self.request.checks.amcheck == CheckChoice::SwitchedOff {
            self.note(name(), switched_off("amcheck"), Duration::ZERO);
            return Ok(());
        }
        if self.major() < FIRST_WITH_AMCHECK {
            let reason = format!("PostgreSQL {} has no pg_amcheck", self.major());
            self.note(name(), CheckFinding::Skipped(reason), Duration::ZERO);
            return Ok(());
        }
        let listed = match self.connect(LISTING_DATABASE).await {
            Ok(mut session) => session.query(DATABASES).await,
            Err(error) => Err(error),
        };
        let databases = match listed {
            Ok(results) => first_column(&results),
            Err(error) => {
                self.note(name(), CheckFinding::Failed(chain(&error)), Duration::ZERO);
                return Ok(());
            }
        };
        for database in databases {
            let begun = self.ports.clock.now();
            let finding = self.amcheck(&database).await?;
            self.note(format!("pg_amcheck of {database}"), finding, self.since(begun));
        }
        Ok(())
    }

    async fn amcheck(&self, database: &str) -> Result<CheckFinding, Stop> {
        let asked = match self.connect(database).await {
            Ok(mut session) => session.query(AMCHECK).await,
            Err(error) => Err(error),
        };
        match asked {
            Ok(results) if first_column(&results).is_empty() => {
                return Ok(CheckFinding::Skipped("the database has no extension `amcheck`".to_owned()));
            }
            Ok(_) => {}
            Err(error) => return Ok(CheckFinding::Failed(chain(&error))),
        }
        // A pattern, in which quotes make every letter mean itself.
        let pattern = format!("\"{}\"", database.replace('"', "\"\""));
        let arguments = [
            ("--host", self.room().socket().display().to_string()),
            ("--port", isolation::port(self.room()).to_string()),
            ("--username", self.request.checks.user.clone()),
            ("--maintenance-db", LISTING_DATABASE.to_owned()),
            ("--database", pattern),
        ];
        let arguments =
            arguments.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).chain(["--no-password".to_owned()]);
        self.run_tool("pg_amcheck", arguments.collect()).await
    }

    async fn check_checksums(&mut self) -> Result<(), Stop> {
        let begun = self.ports.clock.now();
        let finding = self.compare_checksums().await?;
        self.note("checksums".to_owned(), finding, self.since(begun));
        Ok(())
    }

    async fn compare_checksums(&mut self) -> Result<CheckFinding, Stop> {
        if self.request.checks.checksums == CheckChoice::SwitchedOff {
            return Ok(switched_off("checksums"));
        }
        if self.major() < FIRST_TO_VERIFY {
            return Ok(CheckFinding::Skipped(format!("PostgreSQL {} has no program for it", self.major())));
        }
        let asked = match self.connect(LISTING_DATABASE).await {
            Ok(mut session) => session.query(CHECKSUMS).await,
            Err(error) => Err(error),
        };
        match asked {
            Ok(results) if first_column(&results).first().is_some_and(|setting| setting == "on") => {}
            Ok(_) => return Ok(CheckFinding::Skipped("the cluster has no checksums".to_owned())),
            Err(error) => return Ok(CheckFinding::Failed(chain(&error))),
        }
        // What is in memory must be on disk.
        if let Some(server) = &mut self.server {
            server.stop(ShutdownMode::Clean).await?;
        }
        self.server = None;
        let data = self.room().data().display().to_string();
        if self.major() < FIRST_WITH_CHECKSUMS {
            return self.run_tool("pg_verify_checksums", vec!["-D".to_owned(), data]).await;
        }
        self.run_tool("pg_checksums", vec!["--check".to_owned(), "-D".to_owned(), data]).await
    }

    async fn run_tool(&self, name: &'static str, arguments: Vec<String>) -> Result<CheckFinding, Stop> {
        let deadline = self.request.deadline;
        let run = ToolRun { programs: self.binaries.clone(), name, arguments, deadline };
        Ok(match self.programs.run(&run).await? {
            ToolEnd::Success => CheckFinding::Passed,
            ToolEnd::Missing => CheckFinding::Skipped(format!("`{name}` is not in `{}`", self.binaries.display())),
            ToolEnd::Failure(words) => CheckFinding::Failed(words),
            ToolEnd::TimedOut => CheckFinding::Failed(late(deadline)),
        })
    }
}

fn switched_off(key: &str) -> CheckFinding {
    CheckFinding::Skipped(format!("switched off by `{key}` under `[drill]`"))
}

fn late(deadline: Duration) -> String {
    format!("it did not end within {} s", deadline.as_secs())
}

async fn within(attempt: &Attempt<'_>, check: impl Future<Output = CheckFinding>) -> CheckFinding {
    let deadline = attempt.request.deadline;
    tokio::select! {
        biased;
        finding = check => finding,
        () = attempt.ports.clock.sleep(deadline) => CheckFinding::Failed(late(deadline)),
    }
}

fn first_column(results: &[ResultSet]) -> Vec<String> {
    results.iter().flatten().filter_map(|row| row.first().cloned().flatten()).collect()
}

/// A file passes unless one of its results is a single value that is false, or not known.
fn judge(results: &[ResultSet]) -> CheckFinding {
    for (number, rows) in results.iter().enumerate() {
        let [row] = rows.as_slice() else { continue };
        let [value] = row.as_slice() else { continue };
        let verdict = match value.as_deref() {
            Some("f") => "false",
            None => "NULL",
            Some(_) => continue,
        };
        return CheckFinding::Failed(format!("result {} of {} is {verdict}", number + 1, results.len()));
    }
    CheckFinding::Passed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(value: Option<&str>) -> ResultSet {
        vec![vec![value.map(str::to_owned)]]
    }

    #[test]
    fn one_false_or_unknown_result_fails_a_file_wherever_it_stands() {
        assert_eq!(judge(&[]), CheckFinding::Passed);
        assert_eq!(judge(&[value(Some("t")), value(Some("17")), value(Some(""))]), CheckFinding::Passed);
        let failed = |reason: &str| CheckFinding::Failed(reason.to_owned());
        assert_eq!(judge(&[value(Some("t")), value(Some("f")), value(Some("t"))]), failed("result 2 of 3 is false"));
        assert_eq!(judge(&[value(None)]), failed("result 1 of 1 is NULL"));
    }

    #[test]
    fn rows_of_data_are_no_verdict() {
        let pair = vec![vec![Some("f".to_owned()), None]];
        let two = vec![vec![Some("f".to_owned())], vec![Some("t".to_owned())]];
        assert_eq!(judge(&[pair, two]), CheckFinding::Passed);
    }
}
