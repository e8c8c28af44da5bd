//! The calls of a backup, on every major version.

use stillframe_core::postgres::{ArchiveMode, CheckpointMode, Connection, Lsn, WalFileName, WalSegment};
use stillframe_tests::{Cluster, Postgres};

use super::connect_to;

#[tokio::test]
async fn every_major_version_answers_every_call() {
    for major in Postgres::available_majors() {
        let cluster = Cluster::builder(major).archive_command("true").tablespaces(2).start();
        let mut connection = connect_to(&cluster.conninfo()).await.unwrap();
        let facts = connection.facts().await.unwrap();
        assert_eq!(facts.version.major(), major);
        assert_eq!(facts.data_directory, cluster.data_directory());
        assert_eq!(facts.system_identifier.to_string(), cluster.value("SELECT system_identifier FROM pg_control_system()"));
        assert_eq!((facts.segment_size.bytes(), facts.timeline.get(), facts.in_recovery), (16 << 20, 1, false));
        assert_eq!((facts.archive_mode, facts.archiver_is_set), (ArchiveMode::On, true));
        let names: Vec<_> = facts.tablespaces.iter().map(|tablespace| tablespace.name.as_str()).collect();
        assert_eq!(names, ["ts1", "ts2"], "PostgreSQL {major}");
        assert_eq!(facts.tablespaces[0].location, cluster.scratch().join("ts1"));
        let server_clock: i64 = cluster.value("SELECT extract(epoch FROM clock_timestamp())::int8").parse().unwrap();
        assert!((server_clock - facts.now.as_second()).abs() < 60);

        let label = format!("claim on {major}");
        let start = connection.start_backup(&label, CheckpointMode::Fast).await.unwrap();
        connection.ping().await.unwrap();
        let stopped = connection.stop_backup().await.unwrap();
        assert!(stopped.stop_lsn > start && start >= facts.wal_position, "PostgreSQL {major}");
        let text = String::from_utf8(stopped.label_file).unwrap();
        let first = WalSegment::containing(facts.timeline, start, facts.segment_size).file_name(facts.segment_size);
        assert!(text.starts_with(&format!("START WAL LOCATION: {start} (file {first})\n")), "{text}");
        assert!(text.contains(&format!("LABEL: {label}\n")), "{text}");
        let map = String::from_utf8(stopped.tablespace_map_file).unwrap();
        assert_eq!(map.lines().count(), 2, "{map}");

        let point = connection.create_restore_point_and_switch("a point").await.unwrap();
        assert!(point > stopped.stop_lsn);
        let position: Lsn = cluster.value("SELECT pg_current_wal_lsn()").parse().unwrap();
        assert_eq!(position.0 % facts.segment_size.bytes(), 0, "the switch begins a new segment, not {position}");
        cluster.wait_until("SELECT last_archived_wal IS NOT NULL FROM pg_stat_archiver");
        let archiver = connection.archiver().await.unwrap();
        assert!(!archiver.is_failing && archiver.last_archived_wal.unwrap().parse::<WalFileName>().is_ok());
        connection.close().await;
    }
}

#[tokio::test]
async fn label_and_map_keep_the_bytes_of_the_server() {
    // In Latin-1 the letter is one byte, and two in the UTF-8 that the session speaks.
    for major in [12, 15] {
        let cluster = Cluster::builder(major).initdb_argument("--no-locale").initdb_argument("--encoding=LATIN1").start();
        let mut connection = connect_to(&cluster.conninfo()).await.unwrap();
        connection.start_backup("caf\u{e9}", CheckpointMode::Fast).await.unwrap();
        let stopped = connection.stop_backup().await.unwrap();
        let wanted = b"LABEL: caf\xe9\n";
        assert!(stopped.label_file.windows(wanted.len()).any(|bytes| bytes == wanted), "{:?}", stopped.label_file);
        assert_eq!(stopped.tablespace_map_file, b"");
    }
}

#[tokio::test]
async fn a_standby_tells_its_timeline_and_takes_backups_and_no_restore_points() {
    for major in [12, 15] {
        let primary = Cluster::builder(major).setting("archive_mode", "always").start();
        let mut standby = Cluster::standby_of(&primary);
        standby.start();
        let mut connection = connect_to(&standby.conninfo()).await.unwrap();
        let facts = connection.facts().await.unwrap();
        assert!(facts.in_recovery && facts.wal_position > Lsn(0));
        assert_eq!(facts.timeline.get(), 1);
        // The command is not set, and `archive_library` is not either.
        assert_eq!((facts.archive_mode, facts.archiver_is_set), (ArchiveMode::Always, false));
        connection.start_backup("on a standby", CheckpointMode::Fast).await.unwrap();
        assert!(!connection.stop_backup().await.unwrap().label_file.is_empty());
        assert!(connection.create_restore_point_and_switch("no").await.is_err());

        // After a promotion the primary's own file says the new timeline, before any checkpoint does.
        standby.try_sql("SELECT pg_promote(false)").unwrap();
        standby.wait_until("SELECT NOT pg_is_in_recovery()");
        let facts = connection.facts().await.unwrap();
        assert_eq!((facts.timeline.get(), facts.in_recovery), (2, false));
    }
}

#[tokio::test]
async fn archiving_is_told_as_it_is() {
    let off = Cluster::builder(15).setting("archive_command", "true").start();
    let facts = connect_to(&off.conninfo()).await.unwrap().facts().await.unwrap();
    assert_eq!((facts.archive_mode, facts.archiver_is_set), (ArchiveMode::Off, false));

    let library = Cluster::builder(15).setting("archive_mode", "on").setting("archive_library", "basic_archive").start();
    let facts = connect_to(&library.conninfo()).await.unwrap().facts().await.unwrap();
    assert!(facts.archiver_is_set);

    let broken = Cluster::builder(12).archive_command("false").start();
    let mut connection = connect_to(&broken.conninfo()).await.unwrap();
    assert_eq!(connection.archiver().await.unwrap(), stillframe_core::postgres::ArchiverStatus::default());
    connection.create_restore_point_and_switch("unarchived").await.unwrap();
    broken.wait_until("SELECT last_failed_wal IS NOT NULL FROM pg_stat_archiver");
    let status = connection.archiver().await.unwrap();
    assert!(status.is_failing && status.last_failed_wal.is_some() && status.last_archived_wal.is_none());
    broken.append_setting("archive_command", "true");
    broken.reload();
    broken.wait_until("SELECT last_archived_wal IS NOT NULL FROM pg_stat_archiver");
    assert!(!connection.archiver().await.unwrap().is_failing);
}

#[tokio::test]
async fn in_place_tablespaces_are_part_of_the_data_directory() {
    let cluster = Cluster::builder(15).start();
    let session = cluster.session();
    session.sql("SET allow_in_place_tablespaces = on");
    session.sql("CREATE TABLESPACE inside LOCATION ''");
    let facts = connect_to(&cluster.conninfo()).await.unwrap().facts().await.unwrap();
    assert_eq!(facts.tablespaces, []);
}

#[tokio::test]
async fn segment_sizes_come_from_the_server() {
    let cluster = Cluster::builder(15).wal_segment_size(1).start();
    let facts = connect_to(&cluster.conninfo()).await.unwrap().facts().await.unwrap();
    assert_eq!(facts.segment_size.bytes(), 1 << 20);
}

#[tokio::test]
async fn a_hostile_search_path_changes_no_answer() {
    let cluster = Cluster::builder(15).start();
    cluster.sql(
        "CREATE FUNCTION public.pg_is_in_recovery() RETURNS boolean LANGUAGE sql AS 'SELECT true';
         CREATE FUNCTION public.pg_backend_pid() RETURNS int LANGUAGE sql AS 'SELECT 1';
         ALTER ROLE postgres SET search_path = public, pg_catalog",
    );
    let mut connection = connect_to(&cluster.conninfo()).await.unwrap();
    assert!(!connection.facts().await.unwrap().in_recovery);
    connection.ping().await.unwrap();
}
