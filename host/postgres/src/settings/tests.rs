//! What wins over what, and what is refused.

use std::error::Error;
use std::fs;

use super::*;

fn environment(pairs: &[(&str, &str)]) -> Environment {
    let variables = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Environment::new(variables).with_os_user("osuser")
}

fn resolve(conninfo: &str, pairs: &[(&str, &str)]) -> ConnectSettings {
    ConnectSettings::resolve(conninfo, &environment(pairs)).unwrap()
}

fn refusal(conninfo: &str, pairs: &[(&str, &str)]) -> String {
    let error = ConnectSettings::resolve(conninfo, &environment(pairs)).unwrap_err();
    assert!(matches!(error.fault, ConnectionFault::Settings(_)));
    format!("{error}: {}", error.source().unwrap())
}

#[test]
fn defaults_are_the_socket_the_user_of_the_process_and_the_database_postgres() {
    let settings = resolve("", &[]);
    assert_eq!(settings.server(), "/var/run/postgresql:5432,/tmp:5432/postgres");
    assert_eq!((settings.user.as_str(), settings.application_name.as_str()), ("osuser", "stillframe"));
    assert_eq!(settings.connect_timeout, Some(Duration::from_secs(30)));
    assert_eq!(settings.ssl_mode, SslMode::Prefer);
    assert!(settings.keepalives.is_some() && settings.password_file.is_none());
}

#[test]
fn conninfo_wins_over_the_service_and_the_service_over_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("services");
    fs::write(&file, "[prod]\nhost=from-service\nport=2\nuser=from-service\n").unwrap();
    let variables = [
        ("PGSERVICEFILE", file.to_str().unwrap()),
        ("PGHOST", "from-env"),
        ("PGPORT", "3"),
        ("PGUSER", "from-env"),
        ("PGDATABASE", "from-env"),
    ];
    let settings = resolve("service=prod host=from-conninfo", &variables);
    assert_eq!(settings.server(), "from-conninfo:2/from-env");
    assert_eq!(settings.user, "from-service");
    let by_variable = resolve("", &[&variables[..], &[("PGSERVICE", "prod")]].concat());
    assert_eq!(by_variable.server(), "from-service:2/from-env");
    assert_eq!(resolve("", &variables).server(), "from-env:3/from-env");
    assert!(refusal("service=test", &variables).contains("`test`"));
}

#[test]
fn a_service_file_is_looked_for_where_libpq_looks() {
    let home = tempfile::tempdir().unwrap();
    let system = tempfile::tempdir().unwrap();
    fs::write(home.path().join(".pg_service.conf"), "[mine]\nhost=home\n").unwrap();
    fs::write(system.path().join("pg_service.conf"), "[mine]\nhost=system\n[theirs]\nhost=theirs\n").unwrap();
    let variables = [("HOME", home.path().to_str().unwrap()), ("PGSYSCONFDIR", system.path().to_str().unwrap())];
    assert_eq!(resolve("service=mine", &variables).server(), "home:5432/postgres");
    assert_eq!(resolve("service=theirs", &variables).server(), "theirs:5432/postgres");
    let missing = [("PGSERVICEFILE", "/nonexistent/services")];
    assert!(refusal("service=mine", &missing).contains("/nonexistent/services"));
}

#[test]
fn a_uri_and_keywords_mean_the_same() {
    let uri = resolve("postgresql://u:p@h:1/d?connect_timeout=7", &[]);
    let keywords = resolve("user=u password=p host=h port=1 dbname=d connect_timeout=7", &[]);
    assert_eq!(format!("{uri:?}"), format!("{keywords:?}"));
}

#[test]
fn no_debug_output_shows_a_password() {
    let settings = resolve("password=hidden", &[]);
    assert_eq!(settings.password.as_ref().unwrap().reveal(), "hidden");
    assert!(!format!("{settings:?}").contains("hidden"));
    assert!(!format!("{:?}", environment(&[("PGPASSWORD", "hidden")])).contains("hidden"));
}

#[test]
fn an_unknown_keyword_is_named() {
    assert!(refusal("hots=a", &[]).contains("`hots`"));
    assert!(refusal("postgresql://h?hots=a", &[]).contains("`hots`"));
}

#[test]
fn what_is_relied_on_and_cannot_be_given_is_refused() {
    for conninfo in [
        "require_auth=scram-sha-256",
        "gssencmode=require",
        "sslpassword=x",
        "sslcrldir=/d",
        "replication=database",
        "sslcertmode=require",
    ] {
        let keyword = conninfo.split('=').next().unwrap();
        assert!(refusal(conninfo, &[]).contains(keyword), "{conninfo}");
    }
    assert!(refusal("", &[("PGREQUIREAUTH", "scram-sha-256")]).contains("require_auth"));
    assert_eq!(resolve("gssencmode=prefer", &[]).user, "osuser");
}

#[test]
fn values_out_of_range_are_refused() {
    for conninfo in [
        "sslmode=sometimes",
        "sslmode=''",
        "port=0",
        "connect_timeout=soon",
        "target_session_attrs=master",
        "channel_binding=yes",
        "keepalives=maybe",
        "ssl_max_protocol_version=TLSv1",
        "sslnegotiation=direct",
        "sslrootcert=system sslmode=require",
    ] {
        refusal(conninfo, &[]);
    }
    assert_eq!(resolve("sslrootcert=system", &[]).ssl_mode, SslMode::VerifyFull);
    assert_eq!(resolve("connect_timeout=0", &[]).connect_timeout, None);
    assert_eq!(resolve("connect_timeout=-1", &[]).connect_timeout, None);
    assert_eq!(resolve("", &[("PGREQUIRESSL", "1")]).ssl_mode, SslMode::Require);
}

#[test]
fn every_variable_of_libpq_reaches_its_keyword() {
    let settings = resolve(
        "",
        &[
            ("PGHOST", "h"),
            ("PGHOSTADDR", "127.0.0.1"),
            ("PGAPPNAME", "app"),
            ("PGOPTIONS", "-c geqo=off"),
            ("PGCONNECT_TIMEOUT", "3"),
            ("PGTARGETSESSIONATTRS", "standby"),
            ("PGCHANNELBINDING", "require"),
            ("PGSSLMODE", "verify-ca"),
            ("PGSSLROOTCERT", "/r"),
            ("PGSSLCERT", "/c"),
            ("PGSSLKEY", "/k"),
            ("PGSSLCRL", "/l"),
            ("PGPASSFILE", "/p"),
            ("PGPASSWORD", "w"),
        ],
    );
    assert_eq!((settings.application_name.as_str(), settings.options.as_str()), ("app", "-c geqo=off"));
    assert_eq!(settings.session_kind, SessionKind::Standby);
    assert_eq!((settings.channel_binding, settings.ssl_mode), (ChannelBinding::Require, SslMode::VerifyCa));
    let paths = [&settings.tls.root, &settings.tls.certificate, &settings.tls.key, &settings.tls.revoked];
    assert_eq!(paths.map(|path| path.clone().unwrap().display().to_string()), ["/r", "/c", "/k", "/l"]);
    assert_eq!(settings.password_file, Some(PasswordFile("/p".into())));
}

#[test]
fn files_below_home_are_the_defaults() {
    let settings = resolve("", &[("HOME", "/h")]);
    assert_eq!(settings.password_file, Some(PasswordFile("/h/.pgpass".into())));
    assert_eq!(settings.tls.root, Some("/h/.postgresql/root.crt".into()));
    assert!(!settings.tls.certificate_is_named);
}
