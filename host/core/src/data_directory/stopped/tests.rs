use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::*;
use crate::postgres::SystemIdentifier;
use crate::testing::{control_file, shutdown_segment};

const CLUSTER: SystemIdentifier = SystemIdentifier(42);

fn cluster() -> (tempfile::TempDir, LocalStoppedServer) {
    let root = tempfile::tempdir().unwrap();
    let pgdata = root.path().join("data");
    for directory in ["global", "base/1", "pg_tblspc", "pg_wal"] {
        std::fs::create_dir_all(pgdata.join(directory)).unwrap();
    }
    std::fs::write(pgdata.join("PG_VERSION"), "15\n").unwrap();
    let size = crate::postgres::WalSegmentSize::SMALLEST;
    let (content, checkpoint) = shutdown_segment(7, CLUSTER, size);
    std::fs::write(pgdata.join(PgControl::PATH), control_file(CLUSTER, size, 1, checkpoint)).unwrap();
    std::fs::write(pgdata.join("pg_wal/000000010000000000000007"), content).unwrap();
    (root, LocalStoppedServer { pgdata })
}

#[test]
fn files_tell_what_a_session_would() {
    let (root, server) = cluster();
    let location = root.path().join("a space");
    symlink(&location, server.pgdata.join("pg_tblspc/16384")).unwrap();
    let files = server.look().unwrap();
    assert_eq!(files, server.look().unwrap(), "nothing has happened");
    assert_eq!((files.version.major(), files.running, files.obstacle), (15, None, None));
    assert_eq!(files.control.system_identifier(), CLUSTER);
    assert_eq!(files.tablespaces, [Tablespace { oid: 16384, name: "16384".to_owned(), location }]);
    let shutdown = crate::postgres::Shutdown::of(&files.control).unwrap();
    shutdown.prove_segment(&server.segment(shutdown.segment()).unwrap().unwrap()).unwrap();
    assert_eq!(server.segment("000000010000000000000008".parse().unwrap()).unwrap(), None);
}

#[test]
fn what_a_start_leaves_is_seen_by_the_next_look() {
    let (_root, server) = cluster();
    let before = server.look().unwrap();
    std::fs::write(server.pgdata.join("postmaster.pid"), "999999999\n").unwrap();
    assert_eq!(server.look().unwrap().obstacle, Some("postmaster.pid"), "whether or not the process can be seen from here");
    std::fs::remove_file(server.pgdata.join("postmaster.pid")).unwrap();
    assert_eq!(server.look().unwrap(), before);
    let mut control = std::fs::read(server.pgdata.join(PgControl::PATH)).unwrap();
    // The time of the last change, which every start writes.
    control[24] ^= 1;
    let checksum = crc32c::crc32c(&control[..292]);
    control[292..296].copy_from_slice(&checksum.to_ne_bytes());
    std::fs::write(server.pgdata.join(PgControl::PATH), control).unwrap();
    assert_ne!(server.look().unwrap(), before);
}

#[test]
fn what_is_no_cluster_is_an_error() {
    let (_root, server) = cluster();
    std::fs::write(server.pgdata.join("PG_VERSION"), "9.6\n").unwrap();
    assert!(matches!(server.look(), Err(StoppedError::Version(found)) if found == "9.6"));
    std::fs::remove_file(server.pgdata.join("PG_VERSION")).unwrap();
    assert!(matches!(server.look(), Err(StoppedError::NotACluster { missing: "PG_VERSION", .. })));
    let nowhere = LocalStoppedServer { pgdata: PathBuf::from("/nonexistent") };
    assert!(matches!(nowhere.look(), Err(StoppedError::File(_))));
}
