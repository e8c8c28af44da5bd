//! Where to connect, as whom, and with which password.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::postgres::{Connection, ConnectionFault};
use stillframe_tests::Cluster;

use super::{connect_to, connect_with, fault_of, words};

#[tokio::test]
async fn a_uri_the_variables_and_keywords_reach_the_same_server() {
    let cluster = Cluster::builder(15).start();
    let port = cluster.port().to_string();
    let socket = cluster.socket_directory().display().to_string();
    connect_to(&format!("postgresql://postgres@127.0.0.1:{port}/postgres")).await.unwrap();
    connect_to(&format!("postgresql:///postgres?host={socket}&port={port}&user=postgres")).await.unwrap();
    let variables = [("PGHOST", socket.as_str()), ("PGPORT", &port), ("PGUSER", "postgres"), ("PGAPPNAME", "named")];
    let mut connection = connect_with("", &variables).await.unwrap();
    assert_eq!(connection.facts().await.unwrap().data_directory, cluster.data_directory());
    assert_eq!(cluster.value("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'named'"), "1");
}

#[tokio::test]
async fn hosts_that_do_not_answer_or_are_of_another_kind_are_passed_over() {
    let primary = Cluster::builder(15).start();
    let mut standby = Cluster::standby_of(&primary);
    standby.start();
    let none = Cluster::builder(15).create().port();
    let conninfo = |kind: &str| {
        let ports = format!("{none},{},{}", standby.port(), primary.port());
        format!("host=127.0.0.1,127.0.0.1,127.0.0.1 port={ports} user=postgres target_session_attrs={kind}")
    };
    for (kind, in_recovery) in
        [("any", true), ("primary", false), ("read-write", false), ("read-only", true), ("standby", true), ("prefer-standby", true)]
    {
        let facts = connect_to(&conninfo(kind)).await.unwrap().facts().await.unwrap();
        assert_eq!(facts.in_recovery, in_recovery, "{kind}");
    }
    let only_primary = format!("{} target_session_attrs=", primary.tcp_conninfo());
    assert!(!connect_to(&format!("{only_primary}prefer-standby")).await.unwrap().facts().await.unwrap().in_recovery);
    let (fault, words) = fault_of(&format!("{only_primary}standby")).await;
    assert!(matches!(fault, ConnectionFault::Lost(_)) && words.contains("not a standby"), "{words}");
}

#[tokio::test]
async fn passwords_come_from_the_setting_or_the_password_file_and_never_show() {
    for (major, method) in [(12, "md5"), (15, "scram-sha-256"), (18, "scram-sha-256")] {
        let cluster = Cluster::builder(major).setting("password_encryption", method).start();
        cluster.sql("ALTER ROLE postgres PASSWORD 'open sesame'");
        cluster.write_hba(&format!("local all all trust\nhost all all 127.0.0.1/32 {method}\n"));
        let conninfo = cluster.tcp_conninfo();
        connect_to(&format!("{conninfo} password='open sesame'")).await.unwrap();
        connect_with(&conninfo, &[("PGPASSWORD", "open sesame")]).await.unwrap();

        let file = cluster.scratch().join("pgpass");
        fs::write(&file, format!("127.0.0.1:{}:*:postgres:open sesame\n", cluster.port())).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        connect_with(&conninfo, &[("PGPASSFILE", file.to_str().unwrap())]).await.unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        let error = connect_with(&conninfo, &[("PGPASSFILE", file.to_str().unwrap())]).await.unwrap_err();
        assert!(
            matches!(error.fault, ConnectionFault::Authentication(_)) && words(&error).contains("password missing"),
            "{error:?}"
        );

        let error = connect_to(&format!("{conninfo} password=wrongword")).await.unwrap_err();
        assert!(matches!(error.fault, ConnectionFault::Authentication(_)), "{error:?}");
        assert_eq!(error.class(), ErrorClass::Config);
        assert!(!format!("{error:?} {}", words(&error)).contains("wrongword"));
    }
}

#[tokio::test]
async fn a_missing_database_or_role_is_named() {
    let cluster = Cluster::builder(15).start();
    let (fault, words) = fault_of(&format!("{} dbname=nowhere", cluster.conninfo())).await;
    assert!(matches!(fault, ConnectionFault::Settings(_)) && words.contains("nowhere"), "{words}");
    let (fault, words) = fault_of(&format!("{} user=nobody", cluster.conninfo())).await;
    assert!(matches!(fault, ConnectionFault::Authentication(_)) && words.contains("nobody"), "{words}");
}

#[tokio::test]
async fn the_peer_of_a_socket_is_proved() {
    let cluster = Cluster::builder(15).start();
    let account = stillframe_tests::Account::unprivileged();
    connect_to(&format!("{} requirepeer={}", cluster.conninfo(), account.name)).await.unwrap();
    let (fault, words) = fault_of(&format!("{} requirepeer=somebody", cluster.conninfo())).await;
    assert!(matches!(fault, ConnectionFault::Authentication(_)) && words.contains(&account.name), "{words}");
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_costs_the_timeout_and_no_more() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    for mode in ["disable", "require"] {
        let (fault, words) = fault_of(&format!("host=127.0.0.1 port={port} connect_timeout=1 sslmode={mode}")).await;
        assert!(matches!(fault, ConnectionFault::Lost(_)) && words.contains("connect_timeout"), "{words}");
    }
}

#[tokio::test]
async fn startup_options_of_the_user_are_kept() {
    let cluster = Cluster::builder(15).start();
    let (fault, _) = fault_of(&format!("{} options='-c no_such_setting=1'", cluster.conninfo())).await;
    assert!(matches!(fault, ConnectionFault::Server { .. }), "{fault:?}");
}
