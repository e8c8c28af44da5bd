//! From the section `[archive]` to what the archive writes and reads with.
//!
//! Private keys are not touched here: a source is handed on, and the archive asks it when it meets an encrypted object.

use std::error::Error;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use stillframe_core::catalog::{ArchiveSettings, Identities, IdentitySource, Recipient, SecretString};
use stillframe_core::error::{Classify, ErrorClass};
use thiserror::Error;

use crate::config::{self, ArchiveConfig};
use crate::exit::Failure;

/// Longest time for the command that prints the private key: it may ask a person or a key service.
const DEADLINE: Duration = Duration::from_mins(1);

/// Longest output of it that makes sense.
const MAX_BYTES: u64 = 1 << 20;

/// How often it is looked whether the command has ended.
const POLL: Duration = Duration::from_millis(5);

/// Converts the section.
pub(super) fn settings(config: &ArchiveConfig) -> Result<ArchiveSettings, Failure> {
    let parse = |text: String| text.parse::<Recipient>().map_err(|source| BadRecipient { source });
    let recipients = config.all_recipients()?.into_iter().map(parse).collect::<Result<_, _>>()?;
    let source = match &config.identity {
        None => IdentitySource::None,
        Some(config::IdentitySource::File(path)) => IdentitySource::File(path.clone()),
        Some(config::IdentitySource::Command { program, arguments }) => {
            let (program, arguments) = (program.clone(), arguments.clone());
            // The arguments may name what nobody needs to see.
            let origin = format!("the command {}", program.display());
            IdentitySource::Reader { origin, read: Arc::new(move || run(&program, &arguments)) }
        }
    };
    Ok(ArchiveSettings { compression: config.compression, recipients, identities: Identities::new(source) })
}

/// Runs the command without a shell and with next to no environment; what it prints is the identity file.
fn run(program: &Path, arguments: &[String]) -> Result<SecretString, Box<dyn Error + Send + Sync>> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).env_clear();
    command.envs(["PATH", "HOME"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    let mut child = command.spawn()?;
    let Some(stdout) = child.stdout.take() else { return Err("its output cannot be read".into()) };
    let (sender, output) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = stdout.take(MAX_BYTES + 1).read_to_string(&mut text).map(|_| SecretString::from(text));
        // Nobody waits any more.
        let _ = sender.send(read);
    });
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if began.elapsed() > DEADLINE {
            child.kill()?;
            child.wait()?;
            return Err(format!("it did not end within {} s", DEADLINE.as_secs()).into());
        }
        std::thread::sleep(POLL);
    };
    if !status.success() {
        return Err(format!("it ended with {status}").into());
    }
    // What it left in the background may hold the pipe open for ever.
    let rest = DEADLINE.saturating_sub(began.elapsed());
    let read = output.recv_timeout(rest).map_err(|_| "it left something behind that keeps its output open")?;
    Ok(read?)
}

/// A recipient that age does not know.
#[derive(Debug, Error)]
#[error("the recipients under `[archive]` cannot be used")]
struct BadRecipient {
    #[source]
    source: stillframe_core::catalog::InvalidRecipient,
}

impl Classify for BadRecipient {
    fn class(&self) -> ErrorClass {
        ErrorClass::Config
    }
}
