//! The machine loses its power with a backup, a mounted restore and a backup that is under way, and starts again.

use std::path::Path;

use stillframe_real_storage::{FileSystem, History, Mounted, VolumeGroup, allow_as_documented, engine, succeed};
use stillframe_tests::{Account, Cluster, ConfigFile, ScratchDirectory, Stillframe, StopMode, compiled_cache};

use super::{DATA_MIB, RESTORES, Room, group, guest, kept, set_archive_command, subject, volume};

const ROWS: usize = 20;
const DATA: &str = "/srv/data/postgres/data";
const STORE: &str = "/srv/store/postgres/store";

#[test]
fn after_a_power_cut_backups_restore_restores_are_released_and_the_rest_is_settled() {
    let test = "power_cut::after_a_power_cut_backups_restore_restores_are_released_and_the_rest_is_settled";
    guest().run_through_a_power_cut(
        test,
        |disks| {
            let group = group(disks);
            let data = FileSystem::Xfs.on(&volume(&group, Room::Thin, "data", DATA_MIB), Path::new("/srv/data"));
            let store = FileSystem::Ext4.on(&volume(&group, Room::Classic, "store", 512), Path::new("/srv/store"));
            store.directory("postgres");
            let site = subject(&data.directory("postgres")).value("store", "url", format!("file://{STORE}")).start();
            let mut history = History::begin(&site.cluster);
            history.write(&site.cluster, ROWS);
            let name = site.backup_by("lvm", &[]);
            site.switch_wal();
            let place = format!("{RESTORES}/main");
            site.stillframe.succeed(["snapshot-fetch", &place, &name, "--archiving", "off"]);
            // A server runs on it.
            let restored = site.recover(&place);
            restored.sql("DELETE FROM history");
            set_archive_command(&site, "false");
            let mut running = site.stillframe.spawn(["snapshot-push", "--provider", "lvm"]);
            running.wait_for_stderr("waiting for the WAL");
            (data, store, site, restored, running)
        },
        |_| {
            allow_as_documented("lvm");
            let group = VolumeGroup::find("vg0");
            let _data = Mounted::mount(&group.device("data"), Path::new("/srv/data"), &[]);
            let _store = Mounted::mount(&group.device("store"), Path::new("/srv/store"), &[]);
            everything_is_there(&group);
        },
    );
}

fn everything_is_there(group: &VolumeGroup) {
    let mut cluster = Cluster::adopt(DATA, 15);
    cluster.start();
    History::assert_rows(&cluster, ROWS);
    let scratch = ScratchDirectory::create();
    let stillframe = installation(&cluster, &scratch);
    let listed = || stillframe.succeed(["--json", "backup-list"]).json();
    let counted = |kind: &str| listed()[kind].as_array().expect("a list").len();
    assert_eq!(["backups", "intents", "restores"].map(counted), [1, 1, 1], "{}", listed());
    let count = |part: &str| kept(group).iter().filter(|name| name.contains(part)).count();
    assert_eq!((count("stillframe_backup."), count("stillframe_restore.")), (2, 1), "{:?}", kept(group));
    let clone = kept(group).into_iter().find(|name| name.contains("stillframe_restore.")).expect("it is there");
    assert_eq!(group.column(&clone, "lv_active"), "", "no file system is found twice");

    let place = format!("{RESTORES}/main");
    Account::unprivileged().create_directory(Path::new(RESTORES));
    stillframe.succeed(["snapshot-release", &place]);
    assert_eq!((count("stillframe_restore."), counted("restores")), (0, 0));

    let name = listed()["backups"][0]["backup_name"].as_str().expect("a name").to_owned();
    stillframe.succeed(["snapshot-fetch", &place, &name, "--archiving", "off"]);
    let mut restored = Cluster::adopt(&place, 15);
    restored.start();
    restored.wait_until_recovered();
    History::assert_rows(&restored, ROWS);
    restored.stop(StopMode::Fast);
    stillframe.succeed(["snapshot-release", &place]);

    // Nobody waits for the backup that was under way.
    succeed("date", &["--set", "+2 days"]);
    stillframe.succeed(["delete", "everything", "--confirm"]);
    assert_eq!(["backups", "intents", "restores"].map(counted), [0, 0, 0], "{}", listed());
    assert_eq!(kept(group), ["data", "pool", "store"]);
}

/// What the administrator finds in `/etc` again.
fn installation(cluster: &Cluster, scratch: &ScratchDirectory) -> Stillframe {
    let config = ConfigFile::new().cluster("main", cluster).store_directory(Path::new(STORE));
    let config = config.value("runtime", "engine", engine()).value("runtime", "cache", compiled_cache().display().to_string());
    let config = config.value("archive", "spool", scratch.join("spool").display().to_string());
    let config = config.value("provider.lvm", "volume_groups", vec!["vg0"]).value("provider.lvm", "classic_size", "512M");
    Stillframe::new(config.value("provider.lvm", "command_prefix", vec!["/usr/bin/sudo", "-n"]).write(scratch.path()))
}
