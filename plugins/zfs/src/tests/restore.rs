//! Restoring: clones, where they are mounted, and that nothing is left of them.

use stillframe_sdk::command::CommandError;
use stillframe_sdk::{DataRole, Error, Provider, RestoreRequest};

use super::{
    TOKEN, ZfsProvider, by_handle, changes, config, create, create_of_two, data, defaults, directory, path, pools, release,
    request_of, restore,
};

#[test]
fn each_dataset_becomes_a_writable_clone_and_each_path_is_in_its_place() {
    let (fake, host) = pools();
    let set = create_of_two(&host, "b1").unwrap();
    host.forget_calls();
    let restored = restore(&host, &set).unwrap();
    let paths: Vec<(&str, &str)> =
        restored.directories.iter().map(|directory| (directory.name.as_str(), directory.path.as_str())).collect();
    let data = format!("/run/stillframe/mnt/{TOKEN}/2/15/main");
    let tablespace = format!("/run/stillframe/mnt/{TOKEN}/0/blue whale");
    assert_eq!(paths, [("data", data.as_str()), ("tablespace-16384", tablespace.as_str())]);
    assert_eq!(restored.handle, format!("{TOKEN}@fast/stillframe,tank/stillframe"));
    assert_eq!(
        changes(&host),
        [
            format!(
                "clone -ocanmount=noauto -odevices=off -omountpoint=/run/stillframe/mnt/{TOKEN}/0 -oreadonly=off -osetuid=off \
                 -ostillframe:restore={TOKEN} -ostillframe:set={} fast/ts@b1 fast/stillframe/{TOKEN}-0",
                set.handle
            ),
            format!("mount fast/stillframe/{TOKEN}-0"),
            format!(
                "clone -ocanmount=noauto -odevices=off -omountpoint=/run/stillframe/mnt/{TOKEN}/2 -oreadonly=off -osetuid=off \
                 -ostillframe:restore={TOKEN} -ostillframe:set={} tank/pg@b1 tank/stillframe/{TOKEN}-2",
                set.handle
            ),
            format!("mount tank/stillframe/{TOKEN}-2"),
        ]
    );
    assert!(fake.state(|state| state.datasets[&format!("tank/stillframe/{TOKEN}-2")].is_mounted));
    release(&host, &restored.handle).unwrap();
    assert!(fake.below("tank/stillframe").is_empty() && fake.below("fast/stillframe").is_empty());
    assert_eq!(by_handle(&host, &set).unwrap().members, set.members);
}

#[test]
fn paths_of_one_dataset_share_a_clone_and_a_path_at_its_root_is_its_mount_point() {
    let (fake, host) = pools();
    let nested = path("tablespace-1", DataRole::Tablespace, "tank/pg[/ts1]", "/srv/tank/pg");
    let at_root = path("tablespace-16384", DataRole::Tablespace, "fast/ts", "/srv/fast/ts");
    let request = request_of(&host, "b1", vec![nested, at_root, data()]);
    let set = ZfsProvider::create_set(&host, &defaults(), request).unwrap();
    let directories = ["tablespace-1", "tablespace-16384", "data"]
        .map(|name| directory(name, if name == "data" { DataRole::Data } else { DataRole::Tablespace }));
    let request = RestoreRequest { handle: set.handle, token: TOKEN.to_owned(), directories: directories.to_vec() };
    let restored = ZfsProvider::restore_set(&host, &defaults(), request).unwrap();
    let paths: Vec<String> = restored.directories.into_iter().map(|directory| directory.path).collect();
    let root = format!("/run/stillframe/mnt/{TOKEN}");
    assert_eq!(paths, [format!("{root}/0/ts1"), format!("{root}/1"), format!("{root}/0/15/main")]);
    assert_eq!(fake.below("tank/stillframe"), [format!("tank/stillframe/{TOKEN}-0")]);
}

#[test]
fn the_same_token_again_is_the_same_restore() {
    let (fake, host) = pools();
    let set = create_of_two(&host, "b1").unwrap();
    let first = restore(&host, &set).unwrap();
    host.forget_calls();
    assert_eq!(restore(&host, &set).unwrap(), first);
    assert!(changes(&host).is_empty());
    fake.by_hand(&format!("unmount tank/stillframe/{TOKEN}-2"));
    assert_eq!(restore(&host, &set).unwrap(), first);
    assert_eq!(changes(&host), [format!("mount tank/stillframe/{TOKEN}-2")]);
}

#[test]
fn a_clone_that_a_crash_left_without_its_properties_is_made_anew() {
    let (fake, host) = pools();
    let set = create(&host, "b1").unwrap();
    fake.by_hand(&format!("clone -ocanmount=noauto tank/pg@b1 tank/stillframe/{TOKEN}-1"));
    restore(&host, &set).unwrap();
    let mountpoint = fake.state(|state| state.datasets[&format!("tank/stillframe/{TOKEN}-1")].local["mountpoint"].clone());
    assert_eq!(mountpoint, format!("/run/stillframe/mnt/{TOKEN}/1"));
    release(&host, TOKEN).unwrap();
    fake.by_hand(&format!("clone -ocanmount=noauto tank/pg@b1 tank/stillframe/{TOKEN}-1"));
    release(&host, TOKEN).unwrap();
    assert!(fake.below("tank/stillframe").is_empty());
}

#[test]
fn release_takes_a_lost_answers_token_spares_everything_else_and_is_idempotent() {
    let (fake, host) = pools();
    let set = create(&host, "b1").unwrap();
    restore(&host, &set).unwrap();
    fake.by_hand("clone -ocanmount=noauto tank/pg@b1 tank/stillframe/precious");
    fake.by_hand(&format!("clone -ocanmount=noauto -ostillframe:restore={TOKEN}0 tank/pg@b1 tank/stillframe/{TOKEN}0-1"));
    for handle in [TOKEN, TOKEN, "unknown", "", "-r", "tank/pg", "a b"] {
        release(&host, handle).unwrap();
    }
    assert_eq!(fake.below("tank/stillframe"), [format!("tank/stillframe/{TOKEN}0-1"), "tank/stillframe/precious".to_owned()]);
    ZfsProvider::release(&host, &config(r#"{"datasets":["tank/pg"]}"#), TOKEN).unwrap();
}

#[test]
fn a_clone_that_the_configuration_does_not_cover_any_more_keeps_the_whole_restore_and_is_named() {
    let narrower = [
        r#"{"datasets":["tank/pg","tank/wal","fast/ts"],"clones":["tank/stillframe"]}"#,
        r#"{"datasets":["tank/pg","tank/wal"],"clones":["tank/stillframe"]}"#,
        r#"{"datasets":["tank/pg"]}"#,
        r#"{"datasets":["tank/pg","tank/wal","fast/ts"],"clones":["tank/stillframe","fast/stillframe-new"]}"#,
    ];
    for (number, settings) in narrower.into_iter().enumerate() {
        let (fake, host) = pools();
        fake.state(|state| state.add("fast/stillframe-new"));
        let set = create_of_two(&host, "b1").unwrap();
        let restored = restore(&host, &set).unwrap();
        host.forget_calls();
        // Whose answer was lost, is found by its snapshot, as far as that can be looked at.
        let handles = [restored.handle.as_str(), TOKEN];
        for handle in &handles[..if number == 1 { 1 } else { 2 }] {
            let Err(Error::Invalid(argument)) = ZfsProvider::release(&host, &config(settings), handle) else {
                panic!("{settings}")
            };
            assert_eq!(argument.field, "clones");
            assert!(argument.message.contains("/stillframe"), "{}", argument.message);
        }
        assert!(changes(&host).is_empty());
        // Where it is mounted stands on the clone itself.
        let moved =
            r#"{"datasets":["tank/pg","tank/wal","fast/ts"],"clones":["tank/stillframe","fast/stillframe"],"mount_root":"/mnt"}"#;
        for _ in 0..2 {
            ZfsProvider::release(&host, &config(moved), &restored.handle).unwrap();
        }
        assert!(fake.below("tank/stillframe").is_empty() && fake.below("fast/stillframe").is_empty());
    }
}

#[test]
fn a_clone_that_is_used_or_has_something_of_its_own_is_not_taken_away() {
    let (fake, host) = pools();
    let set = create(&host, "b1").unwrap();
    restore(&host, &set).unwrap();
    let clone = format!("tank/stillframe/{TOKEN}-1");
    fake.state(|state| state.datasets.get_mut(&clone).unwrap().is_used = true);
    assert!(matches!(release(&host, TOKEN), Err(Error::InUse(text)) if text.contains("busy")));
    fake.state(|state| state.datasets.get_mut(&clone).unwrap().is_used = false);
    fake.by_hand(&format!("snapshot {clone}@mine"));
    assert!(matches!(release(&host, TOKEN), Err(Error::InUse(text)) if text.contains("@mine")));
    fake.by_hand(&format!("destroy {clone}@mine"));
    release(&host, TOKEN).unwrap();
    assert!(fake.below("tank/stillframe").is_empty());
}

#[test]
fn while_one_clone_is_used_no_other_is_taken_away() {
    for used in [format!("tank/stillframe/{TOKEN}-2"), format!("fast/stillframe/{TOKEN}-0")] {
        let (fake, host) = pools();
        let set = create_of_two(&host, "b1").unwrap();
        restore(&host, &set).unwrap();
        fake.state(|state| state.datasets.get_mut(&used).unwrap().is_used = true);
        assert!(matches!(release(&host, TOKEN), Err(Error::InUse(_))));
        for clone in [format!("tank/stillframe/{TOKEN}-2"), format!("fast/stillframe/{TOKEN}-0")] {
            assert!(fake.state(|state| state.datasets[&clone].is_mounted), "{used} {clone}");
        }
    }
}

#[test]
fn while_one_clone_has_something_of_its_own_no_other_is_taken_away() {
    for kept in [format!("tank/stillframe/{TOKEN}-2"), format!("fast/stillframe/{TOKEN}-0")] {
        let (fake, host) = pools();
        let set = create_of_two(&host, "b1").unwrap();
        restore(&host, &set).unwrap();
        // As tools for automatic snapshots do.
        fake.by_hand(&format!("snapshot {kept}@autosnap"));
        assert!(matches!(release(&host, TOKEN), Err(Error::InUse(text)) if text.contains(&format!("`{kept}@autosnap`"))));
        for clone in [format!("tank/stillframe/{TOKEN}-2"), format!("fast/stillframe/{TOKEN}-0")] {
            assert!(fake.state(|state| state.datasets.get(&clone).is_some_and(|there| there.is_mounted)), "{kept} {clone}");
        }
    }
}

#[test]
fn a_repetition_that_fails_takes_nothing_away_from_the_restore_that_is_there() {
    let (fake, host) = pools();
    let set = create_of_two(&host, "b1").unwrap();
    restore(&host, &set).unwrap();
    fake.by_hand(&format!("unmount tank/stillframe/{TOKEN}-2"));
    fake.fail(&format!("mount tank/stillframe/{TOKEN}-2"), false, Err(CommandError::TimedOut));
    assert!(restore(&host, &set).is_err());
    assert_eq!(fake.below("tank/stillframe").len() + fake.below("fast/stillframe").len(), 2);
    restore(&host, &set).unwrap();
}

#[test]
fn a_failure_at_any_command_leaves_no_clone() {
    for command in [
        format!("clone -ocanmount=noauto -odevices=off -omountpoint=/run/stillframe/mnt/{TOKEN}/2"),
        format!("mount fast/stillframe/{TOKEN}-0"),
        format!("mount tank/stillframe/{TOKEN}-2"),
    ] {
        for takes_hold in [false, true] {
            let (fake, host) = pools();
            let set = create_of_two(&host, "b1").unwrap();
            fake.fail(&command, takes_hold, Err(CommandError::TimedOut));
            assert!(matches!(restore(&host, &set), Err(Error::Transient(_))), "{command}");
            assert!(fake.below("tank/stillframe").is_empty() && fake.below("fast/stillframe").is_empty(), "{command} {takes_hold}");
        }
    }
}

#[test]
fn without_the_right_to_mount_nothing_is_left_and_the_way_out_is_told() {
    let (fake, host) = pools();
    let set = create(&host, "b1").unwrap();
    let rights = ["clone", "create", "mount", "destroy"].map(str::to_owned).into();
    fake.state(|state| state.rights = Some([("tank".to_owned(), rights)].into()));
    let Err(Error::Denied(text)) = restore(&host, &set) else { panic!("restored") };
    for words in ["Insufficient privileges", "command_prefix", "only root mounts", "zfs clone -o mountpoint=/run/stillframe/mnt/"] {
        assert!(text.contains(words), "{text}");
    }
    assert!(fake.below("tank/stillframe").is_empty());
}

#[test]
fn a_key_that_is_not_loaded_is_told_before_anything_is_made() {
    let (fake, host) = pools();
    let set = create(&host, "b1").unwrap();
    fake.state(|state| state.datasets.get_mut("tank/pg").unwrap().is_locked_away = true);
    host.forget_calls();
    let error = restore(&host, &set).unwrap_err();
    assert!(
        matches!(&error, Error::Denied(text) if text.contains("`tank/pg` is not loaded") && text.contains("load-key")),
        "{error:?}"
    );
    assert!(changes(&host).is_empty());
}

#[test]
fn refuses_directories_sets_and_pools_that_do_not_fit() {
    let (fake, host) = pools();
    let set = create_of_two(&host, "b1").unwrap();
    let both = vec![directory("data", DataRole::Data), directory("tablespace-16384", DataRole::Tablespace)];
    let refused = |handle: &str, token: &str, directories: Vec<stillframe_sdk::RestoreDirectory>, settings: &str| {
        let request = RestoreRequest { handle: handle.to_owned(), token: token.to_owned(), directories };
        match ZfsProvider::restore_set(&host, &config(settings), request) {
            Err(Error::Invalid(argument)) => argument.field,
            other => panic!("{other:?}"),
        }
    };
    let all = r#"{"datasets":["tank/pg","tank/wal","fast/ts"],"clones":["tank/stillframe","fast/stillframe"]}"#;
    let one_pool = r#"{"datasets":["tank/pg","tank/wal","fast/ts"],"clones":["tank/stillframe"]}"#;
    assert_eq!(refused(&set.handle, TOKEN, both[..1].to_vec(), all), "directories");
    let mut foreign = both.clone();
    foreign.push(directory("tablespace-9", DataRole::Tablespace));
    assert_eq!(refused(&set.handle, TOKEN, foreign, all), "directories");
    for token in ["", "../x", "a b", "a@b", "-r"] {
        assert_eq!(refused(&set.handle, token, both.clone(), all), "token");
    }
    assert_eq!(refused(&set.handle, TOKEN, both.clone(), one_pool), "clones");
    fake.by_hand("release stillframe fast/ts@b1");
    fake.by_hand("destroy fast/ts@b1");
    assert_eq!(refused(&set.handle, TOKEN, both.clone(), all), "handle");
    assert!(fake.below("tank/stillframe").is_empty());
    let absent = RestoreRequest { handle: format!("b9:{TOKEN}"), token: TOKEN.to_owned(), directories: both };
    assert!(matches!(ZfsProvider::restore_set(&host, &defaults(), absent), Err(Error::NotFound(_))));
}

#[test]
fn a_wal_directory_is_filled_or_stays_where_it_is() {
    let (_, host) = pools();
    let set = create(&host, "b1").unwrap();
    let directories = vec![directory("data", DataRole::Data), directory("wal", DataRole::Wal)];
    let request = RestoreRequest { handle: set.handle, token: TOKEN.to_owned(), directories: directories.clone() };
    let restored = ZfsProvider::restore_set(&host, &defaults(), request).unwrap();
    assert_eq!(restored.directories[1].path, format!("/run/stillframe/mnt/{TOKEN}/0"));
    let set = ZfsProvider::create_set(&host, &defaults(), request_of(&host, "b2", vec![data()])).unwrap();
    let request = RestoreRequest { handle: set.handle, token: "another".to_owned(), directories };
    let restored = ZfsProvider::restore_set(&host, &defaults(), request).unwrap();
    assert_eq!(restored.directories[1].path, "/restored/wal");
}

#[test]
fn a_foreign_dataset_of_a_clones_name_is_a_conflict_and_stays() {
    let (fake, host) = pools();
    let set = create(&host, "b1").unwrap();
    let clone = format!("tank/stillframe/{TOKEN}-1");
    fake.state(|state| state.add(&clone));
    assert!(matches!(restore(&host, &set), Err(Error::Conflict(_))));
    assert_eq!(fake.below("tank/stillframe"), [clone]);
}
