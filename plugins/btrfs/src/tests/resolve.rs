//! Which subvolume holds a directory.

use stillframe_sdk::testing::FakeHost;
use stillframe_sdk::{DataPath, DataRole, Error, Provider, parse_config};

use super::{Btrfs, Config, config, machine, path, paths};

fn unmanaged(host: &FakeHost, paths: Vec<DataPath>) -> String {
    let Err(Error::UnmanagedPath(path)) = Btrfs::resolve(host, &config(), paths) else { panic!("covered") };
    let (_, reason) = host.messages().pop().unwrap();
    assert!(reason.starts_with(&format!("`{path}` cannot be covered: ")), "{reason}");
    reason
}

#[test]
fn directories_of_one_subvolume_are_one_volume() {
    let (host, _) = machine();
    let volumes = Btrfs::resolve(&host, &config(), paths()).unwrap();
    let shown: Vec<(String, Vec<&str>)> =
        volumes.iter().map(|volume| (volume.id.clone(), volume.paths.iter().map(|path| path.name.as_str()).collect())).collect();
    assert_eq!(shown, [("/srv/pg".to_owned(), vec!["data", "wal"]), ("/fast/space".to_owned(), vec!["tablespace-16384"])]);
    assert_eq!(volumes[1].attributes, [("root".to_owned(), "/fast/snaps".to_owned())]);
}

#[test]
fn refuses_another_file_system_and_names_it() {
    let (host, btrfs) = machine();
    let mut ext4 = paths();
    ext4[0].fs_type = "ext4".to_owned();
    assert!(unmanaged(&host, ext4).contains("its file system is ext4"));
    btrfs.mount("/third", "/dev/vdd", "/", "/");
    let third = path("tablespace-1", DataRole::Tablespace, "/third", ("/third", "/dev/vdd"));
    assert!(unmanaged(&host, vec![third]).contains("lies on its file system, `/dev/vdd`"));
}

#[test]
fn refuses_a_mount_that_shows_a_directory_within_a_subvolume() {
    let (host, btrfs) = machine();
    btrfs.mount("/bound", "/dev/vdb", "/pg/15", "/pg");
    let bound = path("data", DataRole::Data, "/bound", ("/bound", "/dev/vdb[/pg/15]"));
    assert!(unmanaged(&host, vec![bound]).contains("shows a directory in a subvolume"));
    btrfs.mount("/whole", "/dev/vdb", "/pg", "/pg");
    let whole = path("data", DataRole::Data, "/whole", ("/whole", "/dev/vdb[/pg]"));
    assert_eq!(Btrfs::resolve(&host, &config(), vec![whole]).unwrap()[0].id, "/whole");
    btrfs.mount("/odd", "/dev/vdb", "/a,b", "/a,b");
    let odd = path("data", DataRole::Data, "/odd", ("/odd", "/dev/vdb[/a,b]"));
    assert_eq!(Btrfs::resolve(&host, &config(), vec![odd]).unwrap()[0].id, "/odd");
}

#[test]
fn refuses_to_keep_snapshots_within_what_they_are_of() {
    let (host, btrfs) = machine();
    btrfs.directory("/srv/data");
    let same = path("data", DataRole::Data, "/srv/data", ("/srv", "/dev/vdb"));
    assert!(unmanaged(&host, vec![same]).contains("is in the same subvolume"));
}

#[test]
fn a_program_that_was_killed_says_nothing_about_the_configuration() {
    for program in ["findmnt", "btrfs"] {
        let (host, btrfs) = machine();
        btrfs.kill(program);
        let error = Btrfs::resolve(&host, &config(), paths()).unwrap_err();
        assert!(matches!(&error, Error::Transient(text) if text.contains("signal 9")), "{program}: {error:?}");
        Btrfs::resolve(&host, &config(), paths()).unwrap();
    }
}

#[test]
fn the_schema_has_exactly_the_keys_that_are_read() {
    let info = <Btrfs as Provider<FakeHost>>::describe();
    let schema: serde_json::Value = serde_json::from_str(&info.config_schema).unwrap();
    let documented: Vec<&str> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    let Err(Error::Invalid(argument)) = parse_config::<Config>(r#"{"roots":"x"}"#) else { panic!("accepted") };
    let mut read: Vec<&str> = argument.message.split('`').skip(3).step_by(2).collect();
    read.sort_unstable();
    assert_eq!(read, documented);
}

#[test]
fn refuses_roots_that_could_mean_another_place() {
    let (host, _) = machine();
    for root in ["snaps", "/srv/../etc", "/srv//snaps", "/srv/snaps/", "/"] {
        let config: Config = parse_config(&format!(r#"{{"root":"{root}"}}"#)).unwrap();
        let Err(Error::Invalid(argument)) = Btrfs::check(&host, &config) else { panic!("{root} accepted") };
        assert_eq!(argument.field, "root");
    }
}
