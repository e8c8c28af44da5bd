//! Finds a server among the hosts, logs in as `sslmode` allows, and hands over a session that a backup can trust.

use std::time::Duration;

use stillframe_core::postgres::{ConnectionError, ConnectionFault};
use tokio::time::timeout;
use tokio_postgres::{Client, Config, Connection};

use crate::connection::PgConnection;
use crate::fault;
use crate::session::{self, Mark};
use crate::settings::{ChannelBinding, ConnectSettings, Host, SessionKind, SslMode};
use crate::transport::{Encryption, Established, Place, Transport, dial, encrypt, places};

type Login = (Client, Connection<Transport, Transport>);

/// Connects to the first host that answers and is of the wanted kind.
///
/// As with libpq, a host that does not answer is passed over, and one that refuses the role ends the search.
pub async fn connect(settings: &ConnectSettings) -> Result<PgConnection, ConnectionError> {
    let failed = |server: String, fault| ConnectionError { server, operation: "connect", fault };
    let passes: &[SessionKind] = match settings.session_kind {
        SessionKind::PreferStandby => &[SessionKind::Standby, SessionKind::Any],
        ref kind => std::slice::from_ref(kind),
    };
    let mut failures = Vec::new();
    for kind in passes {
        for host in &settings.hosts {
            let server = format!("{host}/{}", settings.database);
            match connect_to_host(host, *kind, settings, &server).await {
                Ok(connection) => return Ok(connection),
                Err(ConnectionFault::Lost(reason)) => failures.push((server, reason)),
                Err(fault) => return Err(failed(server, fault)),
            }
        }
    }
    match <[_; 1]>::try_from(failures) {
        Ok([(server, reason)]) => Err(failed(server, ConnectionFault::Lost(reason))),
        Err(failures) => {
            let reasons: Vec<_> = failures.into_iter().map(|(server, reason)| format!("{server}: {reason}")).collect();
            Err(failed(settings.server(), ConnectionFault::Lost(reasons.join("; "))))
        }
    }
}

async fn connect_to_host(
    host: &Host,
    kind: SessionKind,
    settings: &ConnectSettings,
    server: &str,
) -> Result<PgConnection, ConnectionFault> {
    let mut reasons = Vec::new();
    for place in within(settings.connect_timeout, places(host)).await? {
        match within(settings.connect_timeout, connect_to_place(host, &place, kind, settings, server)).await {
            Err(ConnectionFault::Lost(reason)) => reasons.push(reason),
            other => return other,
        }
    }
    Err(ConnectionFault::Lost(reasons.join("; ")))
}

async fn within<Done>(
    limit: Option<Duration>,
    work: impl Future<Output = Result<Done, ConnectionFault>>,
) -> Result<Done, ConnectionFault> {
    let Some(limit) = limit else { return work.await };
    let expired = |_| ConnectionFault::Lost(format!("no answer within {} s (`connect_timeout`)", limit.as_secs()));
    timeout(limit, work).await.map_err(expired)?
}

async fn connect_to_place(
    host: &Host,
    place: &Place,
    kind: SessionKind,
    settings: &ConnectSettings,
    server: &str,
) -> Result<PgConnection, ConnectionFault> {
    let mark = Mark::random()?;
    let attempt = Attempt { host, place, settings, mark: &mark };
    let (client, connection) = match (settings.ssl_mode, place) {
        (SslMode::Disable, _) | (_, Place::Socket(_)) => attempt.in_clear().await?,
        (SslMode::Allow, Place::Network(_)) => match attempt.in_clear().await {
            Err(first) if is_refusal(&first) => attempt.encrypted().await.map_err(|second| both(first, &second))?,
            other => other?,
        },
        (SslMode::Prefer, Place::Network(_)) => attempt.encrypted_if_possible().await?,
        (SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull, Place::Network(_)) => attempt.encrypted().await?,
    };
    session::refuse_too_old(connection.parameter("server_version"))?;
    let connection = PgConnection::begin(client, connection, &mark, server.to_owned()).await?;
    connection.prove_kind(kind)?;
    Ok(connection)
}

/// One place, tried with and without TLS.
struct Attempt<'a> {
    host: &'a Host,
    place: &'a Place,
    settings: &'a ConnectSettings,
    mark: &'a Mark,
}

impl Attempt<'_> {
    async fn in_clear(&self) -> Result<Login, ConnectionFault> {
        let transport = dial(self.place, self.settings).await?;
        self.log_in(transport).await
    }

    async fn encrypted(&self) -> Result<Login, ConnectionFault> {
        let transport = dial(self.place, self.settings).await?;
        match encrypt(transport, self.host, self.settings).await? {
            Encryption::On(transport) => self.log_in(transport).await,
            Encryption::Failed(fault) => Err(fault),
            Encryption::NotOffered(_) => {
                Err(ConnectionFault::Settings("the server does not support TLS, and `sslmode` requires it".to_owned()))
            }
        }
    }

    /// `sslmode=prefer` promises nothing: without TLS where the server has none, or where it fails.
    async fn encrypted_if_possible(&self) -> Result<Login, ConnectionFault> {
        let transport = dial(self.place, self.settings).await?;
        let first = match encrypt(transport, self.host, self.settings).await? {
            Encryption::NotOffered(transport) => return self.log_in(transport).await,
            Encryption::Failed(fault) => fault,
            Encryption::On(transport) => match self.log_in(transport).await {
                Err(fault) if is_refusal(&fault) => fault,
                other => return other,
            },
        };
        self.in_clear().await.map_err(|second| both(first, &second))
    }

    async fn log_in(&self, transport: Transport) -> Result<Login, ConnectionFault> {
        let settings = self.settings;
        let mut config = Config::new();
        config.user(&settings.user).dbname(&settings.database).application_name(&settings.application_name);
        config.options(self.mark.appended_to(&settings.options));
        config.channel_binding(match settings.channel_binding {
            ChannelBinding::Disable => tokio_postgres::config::ChannelBinding::Disable,
            ChannelBinding::Prefer => tokio_postgres::config::ChannelBinding::Prefer,
            ChannelBinding::Require => tokio_postgres::config::ChannelBinding::Require,
        });
        let from_file = || settings.password_file.as_ref()?.look_up(self.host, &settings.database, &settings.user);
        if let Some(password) = settings.password.clone().or_else(from_file) {
            config.password(password.reveal());
        }
        if matches!(transport, Transport::Tls(_)) {
            // "Direct": TLS is up already, so there is nothing to ask for.
            config.ssl_mode(tokio_postgres::config::SslMode::Require);
            config.ssl_negotiation(tokio_postgres::config::SslNegotiation::Direct);
        } else {
            config.ssl_mode(tokio_postgres::config::SslMode::Disable);
        }
        let refused = |error| fault::of_login(&error, &settings.user, &settings.database);
        config.connect_raw(transport, Established).await.map_err(refused)
    }
}

/// Whether the server answered and said no, which another kind of encryption may change (`pg_hba.conf` tells them apart).
fn is_refusal(fault: &ConnectionFault) -> bool {
    matches!(fault, ConnectionFault::Authentication(_) | ConnectionFault::Server { .. })
}

/// The first fault, with the words of the second: either may be the one that helps.
fn both(first: ConnectionFault, second: &ConnectionFault) -> ConnectionFault {
    match (first, second) {
        (_, ConnectionFault::Pooler) => ConnectionFault::Pooler,
        (first, second) if first.to_string() == second.to_string() => first,
        (ConnectionFault::Authentication(text), second) => {
            ConnectionFault::Authentication(format!("{text}; and with the other kind of encryption: {second}"))
        }
        (ConnectionFault::Lost(text), second) => {
            ConnectionFault::Lost(format!("{text}; and with the other kind of encryption: {second}"))
        }
        (first, _) => first,
    }
}
