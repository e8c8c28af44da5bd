//! `command`: programs that the operator granted, run as [`crate::program`] runs them.

use std::time::{Duration, Instant};

use crate::bindings::stillframe::provider::command::{self, CommandError, ExitStatus, Invocation, Output};
use crate::capability::OFF;
use crate::policy::{CommandGrant, ProgramGrant, shown};
use crate::program::{self, Ended, Finished, Refusal, Run};
use crate::state::State;
use crate::text::clean;

/// Bytes of a command line in the log.
const MAX_LOGGED_BYTES: usize = 4 << 10;

/// What the calls of one provider share.
pub(crate) struct CommandAccess {
    grant: CommandGrant,
    prefix: Vec<String>,
}

impl CommandAccess {
    /// Programs of this grant, each started with this prefix.
    pub(crate) fn new(grant: CommandGrant, prefix: Vec<String>) -> Self {
        Self { grant, prefix }
    }

    /// What would be run, and how; or why it is not.
    fn prepare(&self, invocation: &Invocation) -> Result<(Vec<String>, &ProgramGrant), CommandError> {
        let denied = |denial: &dyn std::fmt::Display| CommandError::Denied(denial.to_string());
        let grant = self.grant.allows(&invocation.program, &invocation.args).map_err(|denial| denied(&denial))?;
        if invocation.stdin.is_some() {
            grant.allows_stdin(&invocation.program).map_err(|denial| denied(&denial))?;
        }
        let path = program::installed(&grant.paths).map_err(|refusal| refused(&refusal))?;
        if let Some(first) = self.prefix.first() {
            program::installed(&[first.into()]).map_err(|refusal| refused(&refusal))?;
        }
        let words = self.prefix.iter().cloned().chain([path.to_string_lossy().into_owned()]).chain(invocation.args.iter().cloned());
        Ok((words.collect(), grant))
    }
}

impl command::Host for State {
    async fn run(&mut self, invocation: Invocation) -> wasmtime::Result<Result<Output, CommandError>> {
        let Some(access) = self.access.as_ref().and_then(|access| access.command.as_ref()) else {
            return Ok(Err(CommandError::Denied(OFF.to_owned())));
        };
        let line = shown(&invocation.program, &invocation.args, MAX_LOGGED_BYTES);
        let provider = self.provider.as_str();
        let (words, grant) = match access.prepare(&invocation) {
            Ok(prepared) => prepared,
            Err(error) => {
                tracing::debug!(provider, "not run: {line}: {}", clean(&format!("{error:?}"), MAX_LOGGED_BYTES));
                return Ok(Err(error));
            }
        };
        let asked = invocation.timeout_ms.map_or(Duration::MAX, |milliseconds| Duration::from_millis(milliseconds.into()));
        let timeout = grant.timeout.min(asked).min(self.deadline.remaining());
        let begin = Instant::now();
        let run = Run { words, stdin: invocation.stdin, max_output_bytes: grant.max_output_bytes, deadline: begin + timeout };
        let ended = self.work.run(move |stop| run.complete(stop)).await?;
        tracing::debug!(provider, "{line}: {ended} after {} ms", begin.elapsed().as_millis());
        Ok(match ended {
            Ended::Finished(finished) => Ok(output(finished)),
            Ended::TimedOut => Err(CommandError::TimedOut),
            Ended::Failed(reason) => Err(CommandError::Failed(reason)),
        })
    }
}

fn refused(refusal: &Refusal) -> CommandError {
    match refusal {
        Refusal::NotInstalled(_) => CommandError::NotInstalled(refusal.to_string()),
        Refusal::Unsafe { .. } | Refusal::NoProgram(_) => CommandError::Denied(refusal.to_string()),
        Refusal::Unreadable { .. } => CommandError::Failed(refusal.to_string()),
    }
}

fn output(finished: Finished) -> Output {
    let Finished { status, stdout, stderr } = finished;
    Output {
        status: match status {
            program::Status::Code(code) => ExitStatus::Code(code),
            program::Status::Signal(signal) => ExitStatus::Signal(signal),
        },
        truncated: stdout.is_cut() || stderr.is_cut(),
        stdout: stdout.text(),
        stderr: stderr.text(),
    }
}
