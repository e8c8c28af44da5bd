//! A server's directories in a made-up tree, with a made-up `/proc` and `/sys`.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::error::Classify;
use crate::postgres::{
    ArchiveMode, Lsn, PgVersion, ServerFacts, SystemIdentifier, Tablespace, TimelineId, WalSegmentSize, control_image,
};

struct Machine {
    root: PathBuf,
    facts: ServerFacts,
    _directory: tempfile::TempDir,
}

impl Machine {
    /// PGDATA with `pg_wal` elsewhere and one tablespace; each on a mount of its own.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        for name in ["pg/data/global", "pg/data/pg_tblspc", "wal/main", "fast disk/space", "proc/self", "sys"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::write(root.join("pg/data/global/pg_control"), control_image(42, 288)).unwrap();
        symlink("../../wal/main", root.join("pg/data/pg_wal")).unwrap();
        symlink(root.join("fast disk/space"), root.join("pg/data/pg_tblspc/16384")).unwrap();
        let mount = |id: u32, name: &str, rest: &str| {
            format!("{id} 1 0:{id} / {} rw - {rest} rw\n", root.join(name).display().to_string().replace(' ', "\\040"))
        };
        let mountinfo = "1 0 254:0 / / rw - ext4 /dev/vda1 rw\n".to_owned()
            + &mount(2, "pg", "zfs tank/pg")
            + &mount(3, "wal", "xfs /dev/mapper/vg0-wal")
            + &mount(4, "fast disk", "zfs tank/fast");
        fs::write(root.join("proc/self/mountinfo"), mountinfo).unwrap();
        let facts = ServerFacts {
            version: PgVersion(150_018),
            system_identifier: SystemIdentifier(42),
            data_directory: root.join("pg/data"),
            segment_size: WalSegmentSize::DEFAULT,
            in_recovery: false,
            timeline: TimelineId::FIRST,
            wal_position: Lsn(0),
            replayed: None,
            archive_mode: ArchiveMode::On,
            archiver_is_set: true,
            tablespaces: vec![Tablespace { oid: 16384, name: "fast".into(), location: root.join("fast disk/space") }],
            now: jiff::Timestamp::UNIX_EPOCH,
        };
        Self { root, facts, _directory: directory }
    }

    fn locate(&self) -> Result<Vec<DataPath>, PathError> {
        let kernel = KernelFiles { proc: self.root.join("proc"), sys: self.root.join("sys") };
        LocalPaths { pgdata: self.root.join("pg/data"), kernel }.locate(&self.facts)
    }

    /// Mounts one file system more, below PGDATA's.
    fn mount_too(&self, name: &str, rest: &str) {
        let mountinfo = fs::read_to_string(self.root.join("proc/self/mountinfo")).unwrap();
        let id = mountinfo.lines().count() + 1;
        let more = format!("{id} 2 0:{id} / {} rw - {rest} rw\n", self.root.join(name).display());
        fs::write(self.root.join("proc/self/mountinfo"), mountinfo + &more).unwrap();
    }

    fn in_pgdata(&self, name: &str) -> PathBuf {
        self.root.join("pg/data").join(name)
    }
}

#[test]
fn names_every_directory_with_its_links_resolved_and_its_mount() {
    let machine = Machine::new();
    let found: Vec<_> = machine.locate().unwrap();
    let shown: Vec<_> = found.iter().map(|path| (path.name.to_string(), path.path.clone(), path.mount_source.as_str())).collect();
    let expected = [
        ("data".to_owned(), machine.root.join("pg/data"), "tank/pg"),
        ("wal".to_owned(), machine.root.join("wal/main"), "/dev/mapper/vg0-wal"),
        ("tablespace-16384".to_owned(), machine.root.join("fast disk/space"), "tank/fast"),
    ];
    assert_eq!(shown, expected);
    assert_eq!((found[0].mount_point.clone(), found[0].fs_type.as_str()), (machine.root.join("pg"), "zfs"));
    assert_eq!(found[0].last, ["global/pg_control"]);
    assert!(found[1].last.is_empty() && found[2].last.is_empty());
    assert!(found[0].skip.contains(&"pg_wal/*".to_owned()) && found[2].skip.contains(&"**/pgsql_tmp*".to_owned()));
}

#[test]
fn a_link_to_pgdata_leads_to_the_same_paths() {
    let machine = Machine::new();
    let link = machine.root.join("link");
    symlink(machine.in_pgdata(""), &link).unwrap();
    let kernel = KernelFiles { proc: machine.root.join("proc"), sys: machine.root.join("sys") };
    assert_eq!(LocalPaths { pgdata: link, kernel }.locate(&machine.facts).unwrap(), machine.locate().unwrap());
}

#[test]
fn refuses_another_cluster_and_a_copy_of_this_one() {
    let mut machine = Machine::new();
    machine.facts.data_directory = machine.root.join("wal/main");
    assert!(matches!(machine.locate(), Err(PathError::OtherDirectory { .. })));
    machine.facts.data_directory = "/in/a/container".into();
    assert!(machine.locate().is_ok());
    machine.facts.system_identifier = SystemIdentifier(43);
    assert!(matches!(machine.locate(), Err(PathError::OtherCluster { .. })));
    fs::remove_file(machine.in_pgdata("global/pg_control")).unwrap();
    assert!(matches!(machine.locate(), Err(PathError::NotACluster { .. })));
}

#[test]
fn refuses_the_files_of_a_standby_for_a_session_on_its_primary_and_the_other_way_round() {
    let mut machine = Machine::new();
    // The server is on another host, which has its data at the same path.
    machine.facts.in_recovery = true;
    let error = machine.locate().unwrap_err();
    assert!(matches!(error, PathError::OtherRole { server_replays: true, .. }), "{error}");
    assert!(error.hint().unwrap().contains("primary_conninfo"));
    machine.facts.in_recovery = false;
    let control = control_image(42, 288);
    fs::write(machine.in_pgdata("global/pg_control"), control_in_recovery(&control)).unwrap();
    let error = machine.locate().unwrap_err();
    assert!(matches!(error, PathError::OtherRole { server_replays: false, .. }), "{error}");
}

/// The same `pg_control`, of a standby.
fn control_in_recovery(image: &[u8]) -> Vec<u8> {
    const STATE: usize = 16;
    const CHECKSUM: usize = 288;
    let mut bytes = image.to_vec();
    bytes[STATE] = 5;
    let checksum = crc32c::crc32c(&bytes[..CHECKSUM]);
    bytes[CHECKSUM..CHECKSUM + 4].copy_from_slice(&checksum.to_ne_bytes());
    bytes
}

#[test]
fn refuses_a_tablespace_that_disk_and_server_disagree_about_and_names_it() {
    let machine = Machine::new();
    let link = machine.in_pgdata("pg_tblspc/16384");
    fs::remove_file(&link).unwrap();
    let error = machine.locate().unwrap_err().to_string();
    assert!(error.starts_with("tablespace `fast` is at") && error.ends_with("does not exist here"), "{error}");
    symlink(machine.root.join("wal"), &link).unwrap();
    let error = machine.locate().unwrap_err().to_string();
    assert!(error.contains("leads to"), "{error}");
}

#[test]
fn refuses_a_link_that_the_server_did_not_name() {
    let mut machine = Machine::new();
    machine.facts.tablespaces.clear();
    assert!(matches!(machine.locate(), Err(PathError::UnknownTablespace { .. })));
}

#[test]
fn refuses_data_behind_a_link_that_no_backup_would_contain() {
    let machine = Machine::new();
    symlink(machine.root.join("wal"), machine.in_pgdata("pg_xact")).unwrap();
    assert!(matches!(machine.locate(), Err(PathError::LinkedDirectory { .. })));
}

#[test]
fn refuses_a_tablespace_whose_directory_is_gone() {
    let machine = Machine::new();
    fs::remove_dir(machine.root.join("fast disk/space")).unwrap();
    assert!(matches!(machine.locate(), Err(PathError::File(_))));
}

#[test]
fn refuses_a_mount_inside_the_data_directory_that_no_snapshot_of_it_would_hold() {
    let machine = Machine::new();
    fs::create_dir_all(machine.in_pgdata("base/5")).unwrap();
    machine.mount_too("pg/data/base/5", "zfs tank/pg/base");
    let error = machine.locate().unwrap_err().to_string();
    assert!(error.contains("pg/data/base/5` is a mount point inside `"), "{error}");
}

#[test]
fn refuses_a_mount_inside_a_tablespace_that_lies_inside_the_data_directory() {
    let mut machine = Machine::new();
    let inner = machine.in_pgdata("inner");
    fs::create_dir_all(inner.join("PG_15_202209061/5")).unwrap();
    fs::remove_file(machine.in_pgdata("pg_tblspc/16384")).unwrap();
    symlink(&inner, machine.in_pgdata("pg_tblspc/16384")).unwrap();
    machine.facts.tablespaces[0].location = inner;
    assert!(machine.locate().is_ok());
    machine.mount_too("pg/data/inner/PG_15_202209061/5", "zfs tank/pg/five");
    assert!(matches!(machine.locate(), Err(PathError::MountInside { .. })));
}

#[test]
fn refuses_a_database_behind_a_link_that_no_backup_would_contain() {
    for place in ["pg/data/base/5", "fast disk/space/PG_15_202209061/5", "fast disk/space/PG_15_202209061"] {
        let machine = Machine::new();
        let link = machine.root.join(place);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(machine.root.join("wal"), &link).unwrap();
        assert!(matches!(machine.locate(), Err(PathError::LinkedDirectory { path }) if path == link), "{place}");
    }
}

#[test]
fn a_mount_at_pg_wal_is_a_path_of_its_own() {
    let machine = Machine::new();
    fs::remove_file(machine.in_pgdata("pg_wal")).unwrap();
    fs::create_dir(machine.in_pgdata("pg_wal")).unwrap();
    machine.mount_too("pg/data/pg_wal", "xfs /dev/mapper/vg0-wal");
    let found = machine.locate().unwrap();
    assert_eq!((found[1].name.to_string(), found[1].path.clone()), ("wal".to_owned(), machine.in_pgdata("pg_wal")));
    assert_eq!(found[1].mount_source, "/dev/mapper/vg0-wal");
}

#[test]
fn snapshots_that_zfs_shows_and_settings_of_a_container_are_no_storage_inside() {
    let machine = Machine::new();
    fs::write(machine.in_pgdata("postgresql.conf"), "").unwrap();
    machine.mount_too("pg/data/postgresql.conf", "ext4 /dev/vda1");
    machine.mount_too("pg/data/.zfs/snapshot/daily", "zfs tank/pg@daily");
    assert!(machine.locate().is_ok());
}

#[tokio::test]
async fn a_flush_keeps_nobody_waiting_on_the_same_thread() {
    let machine = Machine::new();
    let (mut paths, locator) = (machine.locate().unwrap(), LocalPaths { pgdata: PathBuf::new(), kernel: KernelFiles::default() });
    locator.flush(&paths).await.unwrap();
    // Whoever opens a pipe waits for the other end.
    let pipe = machine.root.join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    paths[0].path.clone_from(&pipe);
    let (flushed, opened) = tokio::join!(locator.flush(&paths), async { fs::File::options().write(true).open(&pipe) });
    assert!(flushed.is_ok() && opened.is_ok(), "{flushed:?} {opened:?}");
}

#[tokio::test]
async fn a_disk_that_cannot_be_flushed_is_an_error() {
    let machine = Machine::new();
    let (paths, locator) = (machine.locate().unwrap(), LocalPaths { pgdata: PathBuf::new(), kernel: KernelFiles::default() });
    fs::remove_dir_all(machine.root.join("fast disk")).unwrap();
    assert!(matches!(locator.flush(&paths).await, Err(PathError::File(_))));
}

#[test]
fn the_machine_s_own_files_tell_where_a_directory_is_mounted() {
    let mut machine = Machine::new();
    machine.facts.tablespaces.clear();
    fs::remove_file(machine.in_pgdata("pg_tblspc/16384")).unwrap();
    let paths = LocalPaths { pgdata: machine.in_pgdata(""), kernel: KernelFiles::default() }.locate(&machine.facts).unwrap();
    assert!(paths[0].path.starts_with(&paths[0].mount_point));
    assert!(!paths[0].fs_type.is_empty());
}
