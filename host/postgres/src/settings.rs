//! What to connect to, as libpq would understand it: `conninfo`, then the service file, then `PG*` variables, then defaults.

mod conninfo;
mod environment;
mod hosts;
mod keyword;
mod password_file;
mod secret;
mod service;
mod typed;
mod uri;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use stillframe_core::postgres::{ConnectionError, ConnectionFault};

pub use environment::Environment;
pub(crate) use hosts::{Endpoint, Host};
pub(crate) use password_file::PasswordFile;
pub(crate) use secret::Secret;
pub(crate) use typed::{ChannelBinding, Keepalives, SessionKind, SslMode, SslNegotiation, TlsFiles, TlsVersion};

/// Values by keyword, as they were written.
type Values = BTreeMap<&'static str, String>;

/// Everything that a connection needs, checked. `Debug` shows no password.
#[derive(Debug, Clone)]
pub struct ConnectSettings {
    pub(crate) hosts: Vec<Host>,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) password: Option<Secret>,
    pub(crate) password_file: Option<PasswordFile>,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) options: String,
    pub(crate) application_name: String,
    pub(crate) keepalives: Option<Keepalives>,
    pub(crate) user_timeout: Option<Duration>,
    pub(crate) session_kind: SessionKind,
    pub(crate) channel_binding: ChannelBinding,
    pub(crate) required_peer: Option<String>,
    pub(crate) ssl_mode: SslMode,
    pub(crate) ssl_negotiation: SslNegotiation,
    pub(crate) tls: TlsFiles,
}

impl ConnectSettings {
    /// Reads a connection string (keywords and values, or a URI) and what surrounds it.
    ///
    /// Fails for an unknown keyword, a value out of range, a service that is not defined, or a file that cannot be read.
    pub fn resolve(conninfo: &str, environment: &Environment) -> Result<Self, ConnectionError> {
        gather(conninfo, environment).and_then(|values| typed::check(&values, environment)).map_err(|message| ConnectionError {
            server: "of `conninfo`".to_owned(),
            operation: "understand the settings for a connection",
            fault: ConnectionFault::Settings(message),
        })
    }

    /// Hosts, ports and database, for messages; never a password.
    #[must_use]
    pub fn server(&self) -> String {
        let hosts: Vec<_> = self.hosts.iter().map(ToString::to_string).collect();
        format!("{}/{}", hosts.join(","), self.database)
    }
}

/// Puts the sources together; an earlier one wins.
fn gather(conninfo: &str, environment: &Environment) -> Result<Values, String> {
    let mut values = if uri::is_uri(conninfo) { uri::parse(conninfo)? } else { conninfo::parse(conninfo)? };
    let service = values.get("service").cloned().or_else(|| environment.variable("PGSERVICE").map(str::to_owned));
    if let Some(service) = service {
        let named_file = values.get("servicefile").map(PathBuf::from);
        for (keyword, value) in service::look_up(&service, named_file, environment)? {
            values.entry(keyword).or_insert(value);
        }
    }
    for (keyword, value) in environment.keywords() {
        values.entry(keyword).or_insert_with(|| value.to_owned());
    }
    Ok(values)
}

#[cfg(test)]
mod tests;
