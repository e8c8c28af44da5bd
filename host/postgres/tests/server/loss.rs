//! What ends a session, and what the caller is told.

use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::postgres::{CheckpointMode, Connection, ConnectionFault};
use stillframe_tests::{Cluster, Postgres, StopMode};

use super::{connect_to, connect_with, fault_of, words};

const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'stillframe'";
/// What the server logs when a session ends in backup mode.
const BACKUP_ABORTED: &str = "aborting backup due to backend exiting";

#[tokio::test]
async fn dropping_the_connection_ends_backup_mode() {
    for major in Postgres::available_majors() {
        let cluster = Cluster::builder(major).start();
        let mut dropped = connect_to(&cluster.conninfo()).await.unwrap();
        dropped.start_backup("dropped", CheckpointMode::Fast).await.unwrap();
        assert_eq!(cluster.value(SESSIONS), "1");
        drop(dropped);
        // The goodbye goes out on this runtime, which the wait must not block.
        let cluster = gone(cluster).await;
        assert_eq!(cluster.log().matches(BACKUP_ABORTED).count(), 1, "PostgreSQL {major}:\n{}", cluster.log());
    }
}

/// Waits, beside the runtime, until no session of ours is left.
async fn gone(cluster: Cluster) -> Cluster {
    tokio::task::spawn_blocking(move || {
        cluster.wait_until(&format!("SELECT ({SESSIONS}) = 0"));
        cluster
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn closing_says_goodbye_before_it_returns() {
    let cluster = Cluster::builder(15).start();
    let mut connection = connect_to(&cluster.conninfo()).await.unwrap();
    connection.start_backup("closed", CheckpointMode::Fast).await.unwrap();
    connection.close().await;
    cluster.wait_until(&format!("SELECT ({SESSIONS}) = 0"));
    assert!(cluster.log().contains(BACKUP_ABORTED), "{}", cluster.log());
}

#[tokio::test]
async fn a_terminated_session_is_lost_for_good_and_says_why() {
    for major in [15, 18, 10] {
        let cluster = Cluster::builder(major).start();
        let mut connection = connect_to(&cluster.conninfo()).await.unwrap();
        connection.start_backup("terminated", CheckpointMode::Fast).await.unwrap();
        cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'stillframe'");
        let cluster = gone(cluster).await;
        for _ in 0..2 {
            let error = connection.ping().await.unwrap_err();
            assert!(matches!(error.fault, ConnectionFault::Lost(_)), "{error:?}");
            assert_eq!(error.class(), ErrorClass::Transient);
            assert!(
                words(&error).contains("terminating connection due to administrator command"),
                "PostgreSQL {major}: {}",
                words(&error)
            );
        }
        // Never on another session: that would stop a backup that is not running.
        assert!(matches!(connection.stop_backup().await.unwrap_err().fault, ConnectionFault::Lost(_)));
        assert_eq!(cluster.value(SESSIONS), "0");
    }
}

#[tokio::test]
async fn a_killed_server_is_a_lost_session() {
    let mut cluster = Cluster::builder(15).start();
    let mut connection = connect_to(&cluster.conninfo()).await.unwrap();
    cluster.kill9();
    assert!(matches!(connection.facts().await.unwrap_err().fault, ConnectionFault::Lost(_)));
    assert!(matches!(connection.facts().await.unwrap_err().fault, ConnectionFault::Lost(_)));
}

#[tokio::test]
async fn an_abandoned_start_ends_with_its_connection_and_not_with_the_checkpoint() {
    // So much to write, spread over so long, that the checkpoint outlasts the test.
    let cluster = Cluster::builder(15).setting("checkpoint_timeout", "1h").setting("shared_buffers", "64MB").start();
    cluster.sql("CREATE TABLE filler AS SELECT repeat('x', 1000) FROM generate_series(1, 30000)");
    let mut connection = connect_to(&cluster.conninfo()).await.unwrap();
    let conninfo = cluster.conninfo();
    let started = tokio::task::spawn_blocking(move || {
        let session = stillframe_tests::Session::open(&conninfo).unwrap();
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'stillframe' AND state = 'active' \
                       AND query LIKE '%pg_backup_start%'";
        while session.sql(waiting)[0][0].as_deref() != Some("1") {
            std::thread::yield_now();
        }
    });
    tokio::select! {
        result = connection.start_backup("abandoned", CheckpointMode::Spread) => panic!("the checkpoint was too quick: {result:?}"),
        seen = started => seen.unwrap(),
    }
    // What the server would answer now belongs to the abandoned request.
    assert!(matches!(connection.ping().await.unwrap_err().fault, ConnectionFault::Lost(_)));
    drop(connection);
    gone(cluster).await;
}

#[tokio::test]
async fn no_timeout_of_the_server_ends_the_session() {
    let cluster = Cluster::builder(15).start();
    // A session that kept them would not live until the stop.
    cluster.sql("ALTER ROLE postgres SET statement_timeout = '1ms'; ALTER ROLE postgres SET lock_timeout = '1ms'");
    cluster.sql("ALTER ROLE postgres SET idle_session_timeout = '50ms'");
    cluster.sql("ALTER ROLE postgres SET idle_in_transaction_session_timeout = '50ms'");
    let mut connection = connect_with(&cluster.conninfo(), &[("PGOPTIONS", "-c statement_timeout=1ms")]).await.unwrap();
    connection.start_backup("patient", CheckpointMode::Fast).await.unwrap();
    let idle = "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'stillframe' AND state = 'idle' \
                AND xact_start IS NULL AND clock_timestamp() - state_change > interval '500ms'";
    let observer = format!("{} options='-c statement_timeout=0 -c idle_session_timeout=0'", cluster.conninfo());
    let session = stillframe_tests::Session::open(&observer).unwrap();
    while session.sql(idle)[0][0].as_deref() != Some("t") {
        assert_eq!(session.sql(SESSIONS)[0][0].as_deref(), Some("1"), "the server ended the session:\n{}", cluster.log());
    }
    connection.stop_backup().await.unwrap();
}

#[tokio::test]
async fn a_server_that_shuts_down_or_is_not_there_is_lost() {
    let mut cluster = Cluster::builder(15).start();
    let conninfo = cluster.tcp_conninfo();
    let mut connection = connect_to(&conninfo).await.unwrap();
    cluster.stop(StopMode::Fast);
    let error = connection.ping().await.unwrap_err();
    assert!(matches!(error.fault, ConnectionFault::Lost(_)), "{error:?}");
    let (fault, words) = fault_of(&conninfo).await;
    assert!(matches!(fault, ConnectionFault::Lost(_)) && words.contains(&cluster.port().to_string()), "{words}");
}
