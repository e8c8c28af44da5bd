//! The server on a restored data directory, for the commands about its recovery: found by what it says in the directory itself.

use std::fmt::Write;
use std::path::Path;

use stillframe_core::data_directory::{AskedRecovery, Postmaster};
use stillframe_core::postgres::QuerySession;
use stillframe_postgres::{ConnectSettings, Environment};

use crate::exit::Failure;
use crate::wiring::variables;

/// What can be had of it.
pub(super) enum RestoredServer {
    /// It does not run.
    Stopped,
    /// It runs, and says why it takes no session.
    Silent(Failure),
    /// A session.
    Answering(Box<dyn QuerySession>),
}

impl RestoredServer {
    /// Looks for it, and connects by `conninfo`, or by its own socket as the role that the restore has named.
    pub(super) async fn find(directory: &Path, conninfo: Option<&str>) -> Result<Self, Failure> {
        let Some(server) = Postmaster::of(directory)? else { return Ok(Self::Stopped) };
        let text = match conninfo {
            Some(text) => text.to_owned(),
            None => by_socket(&server, AskedRecovery::read(directory)?.and_then(|asked| asked.lock_out).as_deref()),
        };
        let settings = ConnectSettings::resolve(&text, &Environment::new(variables()))?;
        Ok(match stillframe_postgres::connect(&settings).await {
            Ok(session) => Self::Answering(Box::new(session)),
            Err(error) => Self::Silent(error.into()),
        })
    }
}

fn by_socket(server: &Postmaster, role: Option<&str>) -> String {
    let quoted = |value: &str| format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"));
    let host = server.socket_directory.as_ref().map_or_else(|| "localhost".to_owned(), |path| path.display().to_string());
    let mut text = format!("host={}", quoted(&host));
    if let Some(port) = server.port {
        let _infallible = write!(text, " port={port}");
    }
    if let Some(role) = role {
        let _infallible = write!(text, " user={}", quoted(role));
    }
    text
}

/// The name of the user that runs this, as the server's `peer` authentication will see it.
pub(super) fn own_user() -> Option<String> {
    let own = rustix::process::geteuid().as_raw();
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(own)).then(|| name.to_owned())
    })
}
