//! The table of argument lists, `policy.cases.toml`: what it allows is exactly what the provider gives to `zfs`, so that the test of
//! the policy on this table proves that the provider is allowed to work. It also holds what the policy must never let through.

use std::collections::BTreeSet;

use stillframe_sdk::{Host, LockMode, Provider, RestoreRequest};

use super::fake::{allowed, refused, shape};
use super::{
    TOKEN, ZfsProvider, by_handle, config, create, create_of_two, defaults, delete, directory, is_ready, listed, pools, release,
    restore,
};

/// Uses every command in every form that it has.
fn scenario() -> BTreeSet<Vec<String>> {
    let (fake, host) = pools();
    ZfsProvider::check(&host, &defaults()).unwrap();
    let rights = crate::rights::BACKUP.iter().map(|right| (*right).to_owned()).collect();
    fake.state(|state| state.rights = Some([("tank".to_owned(), rights)].into()));
    ZfsProvider::check(&host, &config(r#"{"datasets":["tank/pg"]}"#)).unwrap();
    fake.state(|state| state.rights = None);
    let set = create_of_two(&host, "b1").unwrap();
    create(&host, "b2").unwrap();
    create(&host, "b2").unwrap();
    let until = host.now_ms() + 1_000;
    ZfsProvider::lock_set(&host, &defaults(), &set.handle, LockMode::Governance, until).unwrap();
    ZfsProvider::unlock_set(&host, &defaults(), &set.handle).unwrap();
    restore(&host, &set).unwrap();
    // From here on a snapshot lies below `clones`.
    fake.by_hand(&format!("promote tank/stillframe/{TOKEN}-2"));
    for snapshot in ["fast/ts@b1", "tank/wal@b1", &format!("tank/stillframe/{TOKEN}-2@b1")] {
        fake.by_hand(&format!("release stillframe {snapshot}"));
    }
    assert!(is_ready(&by_handle(&host, &set).unwrap()));
    fake.by_hand("release stillframe tank/pg@b2");
    fake.by_hand("destroy tank/pg@b2");
    fake.by_hand("destroy tank/pg");
    fake.state(|state| state.add("tank/pg"));
    let directories = ["data", "tablespace-16384"].map(|name| {
        directory(name, if name == "data" { stillframe_sdk::DataRole::Data } else { stillframe_sdk::DataRole::Tablespace })
    });
    let second = RestoreRequest { handle: set.handle.clone(), token: "second".to_owned(), directories: directories.to_vec() };
    ZfsProvider::restore_set(&host, &defaults(), second).unwrap();
    release(&host, "second").unwrap();
    fake.state(|state| state.datasets.get_mut(&format!("fast/stillframe/{TOKEN}-0")).unwrap().local.clear());
    release(&host, TOKEN).unwrap_err();
    fake.by_hand(&format!("unmount fast/stillframe/{TOKEN}-0"));
    fake.by_hand(&format!("destroy fast/stillframe/{TOKEN}-0"));
    ZfsProvider::lock_set(&host, &defaults(), &set.handle, LockMode::Governance, until).unwrap();
    host.advance_ms(2_000);
    for set in listed(&host) {
        delete(&host, &set).unwrap();
    }
    assert!(fake.snapshots().is_empty());
    fake.state(|state| state.seen.iter().cloned().collect())
}

#[test]
fn the_table_of_allowed_argument_lists_is_what_the_provider_uses() {
    let seen = scenario();
    let table: BTreeSet<Vec<String>> = allowed().into_iter().collect();
    let lines = |lists: &BTreeSet<Vec<String>>| {
        lists.iter().map(|list| serde_json::to_string(list).unwrap()).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(seen, table, "`allowed` should be, each behind \"zfs\":\n{}\n", lines(&seen));
}

#[test]
fn nothing_that_is_refused_is_of_a_kind_that_is_used_with_other_options() {
    let refused = refused();
    assert!(refused.len() > 40);
    let allowed = allowed();
    assert!(refused.iter().all(|row| row[0] != "zfs" || !allowed.contains(&row[1..].to_vec())));
    // Options are never anything but what the table has.
    let options: BTreeSet<String> = allowed.iter().flat_map(|list| shape(list)).filter(|kind| kind.starts_with('-')).collect();
    for dangerous in ["-R", "-f", "-d", "-n", "-rf", "-u", "-F"] {
        assert!(!options.contains(dangerous), "{dangerous}");
    }
    assert!(allowed.iter().all(|list| !list.contains(&"-r".to_owned()) || list[0] == "get"));
}
