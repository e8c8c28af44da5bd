//! The binary is killed in the middle of its work, and what its provider was doing goes on or stops there.

use std::path::Path;

use stillframe_real_storage::{FileSystem, History, Killer, Moment, VolumeGroup, succeed};
use stillframe_tests::{Site, StopMode};

use super::{DATA_MIB, RESTORES, Room, group, guest, kept, subject, volume};

const ROWS: usize = 20;

/// One of two volumes is cut; both, without the mark; and all.
const OF_A_BACKUP: [(Moment, usize); 3] = [
    (Moment::Within("lvcreate*stillframe_backup* vg0/ts"), 1),
    (Moment::After("lvcreate*stillframe_backup* vg0/data"), 2),
    (Moment::Within("lvchange --addtag=stillframe.cut-end"), 2),
];

/// The classic volume is copied and mounted, then the thin one cloned and mounted.
const OF_A_RESTORE: [(Moment, usize, usize); 4] = [
    (Moment::Within("dd if="), 1, 0),
    (Moment::After("mount -t"), 1, 1),
    (Moment::Within("lvcreate --snapshot*stillframe_restore"), 2, 1),
    (Moment::Within("mount -txfs"), 2, 2),
];

#[test]
fn whatever_a_killed_run_left_is_accounted_for_and_goes() {
    guest().run("killed::whatever_a_killed_run_left_is_accounted_for_and_goes", |disks| {
        let group = group(disks);
        let killer = Killer::install();
        let data = FileSystem::Xfs.on(&volume(&group, Room::Thin, "data", DATA_MIB), Path::new("/srv/data"));
        let tablespace = FileSystem::Ext4.on(&volume(&group, Room::Classic, "ts", 256), Path::new("/srv/ts"));
        let location = tablespace.directory("postgres").join("ts");
        let subject = subject(&data.directory("postgres")).key("command_prefix", killer.prefix());
        let site = subject.cluster(|builder| builder.tablespace_at(&location)).start();
        let mut history = History::begin(&site.cluster);
        site.cluster.sql("ALTER TABLE history SET TABLESPACE ts1");
        history.write(&site.cluster, ROWS);
        let before = kept(&group);

        let name = backups_are_killed(&site, &killer, &group);
        let with_backup = kept(&group);
        site.switch_wal();
        let place = Path::new(RESTORES).join("main").display().to_string();
        let moved = format!("{}={RESTORES}/ts1", location.display());
        let fetch = ["snapshot-fetch", &place, &name, "--tablespace-mapping", &moved, "--archiving", "off"];
        let release = ["snapshot-release", place.as_str()];
        for (moment, clones, mounts) in OF_A_RESTORE {
            killer.kill(moment, &site.stillframe, &fetch);
            let left = newly(&with_backup, &group);
            let is_mount = |name: &&String| name.starts_with('/');
            assert_eq!(left.iter().filter(|name| !is_mount(name)).count(), clones, "{moment:?}: {left:?}");
            assert_eq!(left.iter().filter(is_mount).count(), mounts, "{moment:?}: {left:?}");
            let token = restores(&site).pop().unwrap_or_else(|| panic!("{moment:?}: no record"));
            assert!(left.iter().all(|name| name.contains(&token)), "{moment:?}: {left:?} is of {token}");
            let released = site.stillframe.run(release);
            assert!(released.is_success(), "{moment:?}: {released}");
            assert_eq!(kept(&group), with_backup, "{moment:?}");
            assert!(restores(&site).is_empty(), "{moment:?}");
        }

        site.stillframe.succeed(fetch);
        let mut restored = site.recover(&place);
        History::assert_rows(&restored, ROWS);
        restored.stop(StopMode::Fast);
        for moment in [Moment::After("umount"), Moment::After("lvremove")] {
            killer.kill(moment, &site.stillframe, &release);
            assert_eq!(restores(&site).len(), 1, "{moment:?}");
        }
        site.stillframe.succeed(release);
        assert_eq!(kept(&group), with_backup);

        let delete = ["delete", "target", &name, "--confirm"];
        killer.kill(Moment::After("lvremove"), &site.stillframe, &delete);
        assert_eq!(newly(&before, &group).len(), 1, "one of two is gone");
        assert_eq!(site.backups(), std::slice::from_ref(&name));
        site.stillframe.succeed(delete);
        assert_eq!(kept(&group), before);
        assert!(site.backups().is_empty() && site.intents().is_empty() && restores(&site).is_empty());
        History::assert_rows(&site.cluster, ROWS);
    });
}

/// Kills some, takes one, and settles the killed ones; gives the name of the one.
fn backups_are_killed(site: &Site, killer: &Killer, group: &VolumeGroup) -> String {
    let before = kept(group);
    let push = ["snapshot-push", "--provider", "lvm"];
    let mut expected = before.clone();
    for (killed, (moment, cut)) in OF_A_BACKUP.into_iter().enumerate() {
        let earlier = site.intents();
        killer.kill(moment, &site.stillframe, &push);
        site.wait_until_no_session_is_left();
        let intents = site.intents();
        assert_eq!((intents.len(), site.backups().len()), (killed + 1, 0), "{moment:?}");
        let name = intents.iter().find(|name| !earlier.contains(name)).expect("a new one");
        let left = newly(&expected, group);
        assert!(left.len() == cut && left.iter().all(|left| left.contains(name)), "{moment:?}: {left:?} is of {name}");
        expected = kept(group);
    }
    let seen = killer.seen("--name=stillframe_backup").len();
    let name = site.backup_by("lvm", &[]);
    let cuts = killer.seen("--name=stillframe_backup").split_off(seen);
    let origins: Vec<&str> = cuts.iter().filter_map(|line| line.rsplit(' ').next()).collect();
    assert_eq!(origins, ["vg0/ts", "vg0/data"], "`pg_control` is cut last");
    let shown = site.show(&name);
    let recorded: Vec<_> = shown["sets"][0]["volumes"].as_array().expect("a list").iter().map(|volume| &volume["id"]).collect();
    assert_eq!(recorded, origins, "and the record says so");

    // Nobody waits for them any more.
    succeed("date", &["--set", "+2 days"]);
    site.stillframe.succeed(["delete", "garbage", "--confirm"]);
    assert!(site.intents().is_empty());
    let left = newly(&before, group);
    assert!(left.len() == 2 && left.iter().all(|left| left.contains(&name)), "{left:?}");
    name
}

/// What is kept and was not before.
fn newly(before: &[String], group: &VolumeGroup) -> Vec<String> {
    kept(group).into_iter().filter(|name| !before.contains(name)).collect()
}

/// Tokens of the restores that are recorded.
fn restores(site: &Site) -> Vec<String> {
    let listed = site.stillframe.succeed(["--json", "backup-list"]).json();
    let restores = listed["restores"].as_array().expect("a list");
    restores.iter().map(|restore| restore["token"].as_str().expect("a token").to_owned()).collect()
}
