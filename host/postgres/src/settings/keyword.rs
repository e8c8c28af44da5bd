//! The keywords of libpq 18, with their variables, and what becomes of each here.

/// What becomes of a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Support {
    /// It is honoured.
    Honoured,
    /// It changes nothing for us, and nothing that anybody relies on.
    Ignored,
    /// It asks for something that the operator relies on and that cannot be given: only these values pass.
    Only(&'static [&'static str]),
}

/// One keyword.
#[derive(Debug)]
pub(super) struct Keyword {
    pub(super) name: &'static str,
    pub(super) variable: Option<&'static str>,
    pub(super) support: Support,
}

use Support::{Honoured, Ignored, Only};

const KEYWORDS: [(&str, &str, Support); 53] = [
    ("application_name", "PGAPPNAME", Honoured),
    ("channel_binding", "PGCHANNELBINDING", Honoured),
    // The session always speaks UTF-8; what must keep its bytes is fetched as bytes.
    ("client_encoding", "PGCLIENTENCODING", Ignored),
    ("connect_timeout", "PGCONNECT_TIMEOUT", Honoured),
    ("dbname", "PGDATABASE", Honoured),
    ("fallback_application_name", "", Honoured),
    ("gssdelegation", "PGGSSDELEGATION", Only(&["", "0"])),
    ("gssencmode", "PGGSSENCMODE", Only(&["", "disable", "prefer"])),
    ("gsslib", "PGGSSLIB", Ignored),
    ("host", "PGHOST", Honoured),
    ("hostaddr", "PGHOSTADDR", Honoured),
    ("keepalives", "", Honoured),
    ("keepalives_count", "", Honoured),
    ("keepalives_idle", "", Honoured),
    ("keepalives_interval", "", Honoured),
    ("krbsrvname", "PGKRBSRVNAME", Ignored),
    ("load_balance_hosts", "PGLOADBALANCEHOSTS", Only(&["", "disable"])),
    ("max_protocol_version", "PGMAXPROTOCOLVERSION", Ignored),
    ("min_protocol_version", "PGMINPROTOCOLVERSION", Only(&["", "3.0"])),
    ("oauth_client_id", "", Only(&[""])),
    ("oauth_client_secret", "", Only(&[""])),
    ("oauth_issuer", "", Only(&[""])),
    ("oauth_scope", "", Only(&[""])),
    ("options", "PGOPTIONS", Honoured),
    ("passfile", "PGPASSFILE", Honoured),
    ("password", "PGPASSWORD", Honoured),
    ("port", "PGPORT", Honoured),
    ("replication", "", Only(&["", "0", "false", "no", "off"])),
    ("require_auth", "PGREQUIREAUTH", Only(&[""])),
    ("requirepeer", "PGREQUIREPEER", Honoured),
    ("requiressl", "PGREQUIRESSL", Honoured),
    ("scram_client_key", "", Only(&[""])),
    ("scram_server_key", "", Only(&[""])),
    ("service", "PGSERVICE", Honoured),
    ("servicefile", "PGSERVICEFILE", Honoured),
    ("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION", Honoured),
    ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION", Honoured),
    ("sslcert", "PGSSLCERT", Honoured),
    ("sslcertmode", "PGSSLCERTMODE", Honoured),
    ("sslcompression", "PGSSLCOMPRESSION", Ignored),
    ("sslcrl", "PGSSLCRL", Honoured),
    ("sslcrldir", "PGSSLCRLDIR", Only(&[""])),
    ("sslkey", "PGSSLKEY", Honoured),
    ("sslkeylogfile", "", Only(&[""])),
    ("sslmode", "PGSSLMODE", Honoured),
    ("sslnegotiation", "PGSSLNEGOTIATION", Honoured),
    ("sslpassword", "", Only(&[""])),
    ("sslrootcert", "PGSSLROOTCERT", Honoured),
    ("sslsni", "PGSSLSNI", Honoured),
    ("target_session_attrs", "PGTARGETSESSIONATTRS", Honoured),
    ("tcp_user_timeout", "", Honoured),
    ("tty", "", Ignored),
    ("user", "PGUSER", Honoured),
];

/// Every keyword.
pub(super) fn all() -> impl Iterator<Item = Keyword> {
    let keyword = |(name, variable, support): (&'static str, &'static str, Support)| Keyword {
        name,
        variable: (!variable.is_empty()).then_some(variable),
        support,
    };
    KEYWORDS.into_iter().map(keyword)
}

/// The keyword of this name, or an error that names it.
pub(super) fn known(name: &str) -> Result<&'static str, String> {
    let found = KEYWORDS.iter().find(|(known, ..)| *known == name);
    found.map(|(known, ..)| *known).ok_or_else(|| format!("`{name}` is not a keyword of a connection string"))
}
