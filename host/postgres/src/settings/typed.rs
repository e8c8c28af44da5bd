//! From texts to types: every value is checked here, before anything is connected to.

use std::path::PathBuf;
use std::time::Duration;

use super::keyword::{self, Support};
use super::{ConnectSettings, Environment, PasswordFile, Secret, Values, hosts};

/// What a server that does not answer costs at most, for each address.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Named by the service manager's logs and by `pg_stat_activity`.
const DEFAULT_APPLICATION_NAME: &str = "stillframe";
/// libpq takes the user's name; a backup tool has no database of its own, and this one exists nearly everywhere.
const DEFAULT_DATABASE: &str = "postgres";

/// `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// `sslnegotiation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SslNegotiation {
    Postgres,
    Direct,
}

/// `channel_binding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

/// `target_session_attrs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionKind {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TlsVersion {
    V1_2,
    V1_3,
}

/// How a silent connection is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keepalives {
    pub(crate) idle: Duration,
    pub(crate) interval: Duration,
    pub(crate) count: u32,
}

/// Files and switches of TLS; the files are read when they are needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) root: Option<PathBuf>,
    /// `sslrootcert=system`.
    pub(crate) system_roots: bool,
    pub(crate) revoked: Option<PathBuf>,
    pub(crate) certificate: Option<PathBuf>,
    /// Whether somebody named the certificate, so that it must exist.
    pub(crate) certificate_is_named: bool,
    pub(crate) key: Option<PathBuf>,
    pub(crate) server_name_indication: bool,
    pub(crate) oldest: TlsVersion,
    pub(crate) newest: TlsVersion,
}

/// Checks all values.
pub(super) fn check(values: &Values, environment: &Environment) -> Result<ConnectSettings, String> {
    refuse_unsupported(values)?;
    let text = |keyword: &str| values.get(keyword).map(String::as_str).filter(|value| !value.is_empty());
    let os_user = || environment.os_user().map(str::to_owned);
    let user = text("user").map(str::to_owned).or_else(os_user).ok_or("there is no `user`, and the operating system knows none")?;
    let password_file = text("passfile").map(PathBuf::from).or_else(|| environment.in_home(".pgpass"));
    let application_name = text("application_name").or_else(|| text("fallback_application_name"));
    let tls = tls_files(values, environment)?;
    let ssl_mode = ssl_mode(values, &tls)?;
    Ok(ConnectSettings {
        hosts: hosts::list(values)?,
        user,
        database: text("dbname").unwrap_or(DEFAULT_DATABASE).to_owned(),
        password: text("password").map(Secret::new),
        password_file: password_file.map(PasswordFile),
        connect_timeout: connect_timeout(values)?,
        options: text("options").unwrap_or_default().to_owned(),
        application_name: application_name.unwrap_or(DEFAULT_APPLICATION_NAME).to_owned(),
        keepalives: keepalives(values)?,
        user_timeout: number(values, "tcp_user_timeout")?.filter(|millis| *millis > 0).map(Duration::from_millis),
        session_kind: session_kind(text("target_session_attrs").unwrap_or("any"))?,
        channel_binding: channel_binding(text("channel_binding").unwrap_or("prefer"))?,
        required_peer: text("requirepeer").map(str::to_owned),
        ssl_negotiation: ssl_negotiation(text("sslnegotiation").unwrap_or("postgres"), ssl_mode)?,
        ssl_mode,
        tls,
    })
}

fn refuse_unsupported(values: &Values) -> Result<(), String> {
    for keyword in keyword::all() {
        if let (Support::Only(accepted), Some(value)) = (keyword.support, values.get(keyword.name))
            && !accepted.contains(&value.as_str())
        {
            // The value is not shown: some of these are secrets.
            return Err(format!("`{}` is set to something that stillframe does not support", keyword.name));
        }
    }
    Ok(())
}

fn tls_files(values: &Values, environment: &Environment) -> Result<TlsFiles, String> {
    let named = |keyword: &str| values.get(keyword).filter(|value| !value.is_empty()).map(PathBuf::from);
    let file = |keyword: &str, default: &str| named(keyword).or_else(|| environment.in_home(&format!(".postgresql/{default}")));
    let system_roots = values.get("sslrootcert").is_some_and(|value| value == "system");
    let sends_certificate = match values.get("sslcertmode").map_or("", String::as_str) {
        "" | "allow" => true,
        "disable" => false,
        other => return Err(format!("`sslcertmode` is `{other}`; stillframe supports `allow` and `disable`")),
    };
    Ok(TlsFiles {
        root: file("sslrootcert", "root.crt").filter(|_| !system_roots),
        system_roots,
        revoked: file("sslcrl", "root.crl"),
        certificate: file("sslcert", "postgresql.crt").filter(|_| sends_certificate),
        certificate_is_named: named("sslcert").is_some(),
        key: file("sslkey", "postgresql.key"),
        server_name_indication: switch(values, "sslsni")?,
        oldest: tls_version(values, "ssl_min_protocol_version", TlsVersion::V1_2)?,
        newest: tls_version(values, "ssl_max_protocol_version", TlsVersion::V1_3)?,
    })
}

fn ssl_mode(values: &Values, tls: &TlsFiles) -> Result<SslMode, String> {
    let mode = match values.get("sslmode").map(String::as_str) {
        Some("disable") => SslMode::Disable,
        Some("allow") => SslMode::Allow,
        Some("prefer") => SslMode::Prefer,
        Some("require") => SslMode::Require,
        Some("verify-ca") => SslMode::VerifyCa,
        Some("verify-full") => SslMode::VerifyFull,
        Some(other) => {
            return Err(format!("`sslmode` is `{other}`; it is one of disable, allow, prefer, require, verify-ca, verify-full"));
        }
        None if tls.system_roots => SslMode::VerifyFull,
        None if values.get("requiressl").is_some_and(|value| value.starts_with('1')) => SslMode::Require,
        None => SslMode::Prefer,
    };
    // Everybody can get a certificate that the system trusts, for some name.
    if tls.system_roots && mode != SslMode::VerifyFull {
        return Err("`sslrootcert=system` needs `sslmode=verify-full`".to_owned());
    }
    Ok(mode)
}

fn ssl_negotiation(value: &str, mode: SslMode) -> Result<SslNegotiation, String> {
    match value {
        "postgres" => Ok(SslNegotiation::Postgres),
        "direct" if mode >= SslMode::Require => Ok(SslNegotiation::Direct),
        "direct" => Err("`sslnegotiation=direct` needs `sslmode=require` or stronger".to_owned()),
        other => Err(format!("`sslnegotiation` is `{other}`; it is `postgres` or `direct`")),
    }
}

fn tls_version(values: &Values, keyword: &str, default: TlsVersion) -> Result<TlsVersion, String> {
    match (keyword, values.get(keyword).map(String::as_str)) {
        (_, None | Some("")) => Ok(default),
        // Older versions are never spoken, so a lower bound there changes nothing.
        ("ssl_min_protocol_version", Some("TLSv1" | "TLSv1.1")) | (_, Some("TLSv1.2")) => Ok(TlsVersion::V1_2),
        (_, Some("TLSv1.3")) => Ok(TlsVersion::V1_3),
        (_, Some(other)) => Err(format!("`{keyword}` is `{other}`; stillframe speaks TLSv1.2 and TLSv1.3")),
    }
}

fn session_kind(value: &str) -> Result<SessionKind, String> {
    Ok(match value {
        "any" => SessionKind::Any,
        "read-write" => SessionKind::ReadWrite,
        "read-only" => SessionKind::ReadOnly,
        "primary" => SessionKind::Primary,
        "standby" => SessionKind::Standby,
        "prefer-standby" => SessionKind::PreferStandby,
        other => {
            let known = "any, read-write, read-only, primary, standby, prefer-standby";
            return Err(format!("`target_session_attrs` is `{other}`; it is one of {known}"));
        }
    })
}

fn channel_binding(value: &str) -> Result<ChannelBinding, String> {
    match value {
        "disable" => Ok(ChannelBinding::Disable),
        "prefer" => Ok(ChannelBinding::Prefer),
        "require" => Ok(ChannelBinding::Require),
        other => Err(format!("`channel_binding` is `{other}`; it is disable, prefer or require")),
    }
}

/// As in libpq, zero and less mean no limit.
fn connect_timeout(values: &Values) -> Result<Option<Duration>, String> {
    let Some(value) = values.get("connect_timeout").filter(|value| !value.is_empty()) else {
        return Ok(Some(DEFAULT_CONNECT_TIMEOUT));
    };
    let secs = value.trim().parse::<i32>().map_err(|_| format!("`connect_timeout` is `{value}`; it is a number of seconds"))?;
    Ok(u64::try_from(secs).ok().filter(|secs| *secs > 0).map(Duration::from_secs))
}

/// On unless switched off: a backup's session is silent while the snapshot is cut, and a firewall that forgets it voids the backup.
fn keepalives(values: &Values) -> Result<Option<Keepalives>, String> {
    if !switch(values, "keepalives")? {
        return Ok(None);
    }
    // libpq leaves these to the system, whose default of two hours is longer than most firewalls remember.
    let or = |keyword, default| number(values, keyword).map(|given| given.filter(|value| *value > 0).unwrap_or(default));
    let count = u32::try_from(or("keepalives_count", 3)?).map_err(|_| "`keepalives_count` is too large".to_owned())?;
    let secs = |keyword, default| or(keyword, default).map(Duration::from_secs);
    Ok(Some(Keepalives { idle: secs("keepalives_idle", 60)?, interval: secs("keepalives_interval", 10)?, count }))
}

fn switch(values: &Values, keyword: &str) -> Result<bool, String> {
    match values.get(keyword).map_or("", String::as_str) {
        "" | "1" => Ok(true),
        "0" => Ok(false),
        other => Err(format!("`{keyword}` is `{other}`; it is 0 or 1")),
    }
}

fn number(values: &Values, keyword: &str) -> Result<Option<u64>, String> {
    let value = values.get(keyword).map(|value| value.trim()).filter(|value| !value.is_empty());
    let number = |value: &str| value.parse::<u64>().map_err(|_| format!("`{keyword}` is `{value}`; it is a whole number"));
    value.map(number).transpose()
}
