//! Sessions whose copy is whole, and whose WAL or publication is late: nothing of them is lost.

use std::collections::BTreeSet;

use crate::{assert_void, begin, break_archiving, end, kill_owner, label_of, site, state, wait_until};

#[test]
fn the_label_is_printed_even_when_its_wal_is_not_archived_and_another_try_publishes() {
    let mut site = site();
    site.reconfigure(|config| config.value("backup", "archive_timeout_secs", 1));
    break_archiving(&site, true);
    let id = begin(&site, &[]);
    let first = end(&site, &id, &["--snapshot-id", "vol-1"]);
    assert_eq!(first.code(), Some(5), "{first}");
    assert!(first.stdout.starts_with("START WAL LOCATION") && first.says("is not published"), "{first}");
    assert_eq!((state(&site, &id).as_str(), site.backups().len(), site.intents().len()), ("stopped", 0, 1));
    let aborted = site.stillframe.run(["session", "abort", &id]);
    assert!(aborted.code() == Some(4) && aborted.says("--discard"), "scripts abort whatever failed: {aborted}");
    let out = site.stillframe.run(["--json", "session", "end", &id]);
    assert_eq!((out.json()["is_published"].as_bool(), out.code()), (Some(false), Some(5)), "{out}");

    break_archiving(&site, false);
    site.reconfigure(|config| config.value("backup", "archive_timeout_secs", 300));
    for _ in 0..2 {
        let again = end(&site, &id, &[]);
        assert!(again.is_success() && again.stdout == first.stdout, "{again}");
    }
    let name = site.backups().pop().unwrap();
    assert_eq!(label_of(&site, &name), first.stdout);
    assert_eq!(site.show(&name)["outside"]["snapshot_ids"][0], "vol-1", "what was said first counts until somebody says otherwise");
}

#[test]
fn what_waits_for_its_publication_is_forgotten_on_a_word_of_its_own_only() {
    let mut site = site();
    site.reconfigure(|config| config.value("backup", "archive_timeout_secs", 1));
    break_archiving(&site, true);
    let id = begin(&site, &[]);
    assert_eq!(end(&site, &id, &[]).code(), Some(5));
    assert_eq!(site.stillframe.run(["session", "abort", &id]).code(), Some(4));
    assert_eq!(site.intents().len(), 1);
    site.stillframe.succeed(["session", "abort", "--discard", &id]);
    assert_void(&site, &id, "aborted");
}

#[test]
fn an_owner_that_is_killed_after_backup_mode_costs_nothing() {
    let site = site();
    break_archiving(&site, true);
    let id = begin(&site, &[]);
    let ending = site.stillframe.spawn(["session", "end", &id]);
    wait_until("backup mode was left", || state(&site, &id) == "stopped");
    kill_owner(&site);
    break_archiving(&site, false);
    let ended = ending.wait();
    assert!(ended.is_success(), "{ended}");
    assert_eq!(ended.stdout.matches("START WAL LOCATION").count(), 1, "printed once: {ended}");
    assert_eq!(ended.stdout, label_of(&site, &site.backups().pop().unwrap()));
    assert_eq!(state(&site, &id), "published");
}

#[test]
fn a_caller_of_end_that_is_killed_costs_nothing_and_a_second_one_waits_for_the_same() {
    let site = site();
    break_archiving(&site, true);
    let id = begin(&site, &[]);
    let killed = site.stillframe.spawn(["session", "end", &id]);
    wait_until("backup mode was left", || state(&site, &id) == "stopped");
    killed.kill9();
    let others = [site.stillframe.spawn(["session", "end", &id]), site.stillframe.spawn(["session", "end", &id])];
    let aborted = site.stillframe.run(["session", "abort", &id]);
    assert_eq!(aborted.code(), Some(4), "{aborted}");
    break_archiving(&site, false);
    let labels: BTreeSet<String> = others
        .map(|other| {
            let ended = other.wait();
            assert!(ended.is_success(), "{ended}");
            ended.stdout
        })
        .into();
    assert_eq!(labels, [label_of(&site, &site.backups()[0])].into());
    assert_eq!(site.backups().len(), 1);
    let aborted = site.stillframe.run(["session", "abort", &id]);
    assert!(aborted.code() == Some(4) && aborted.says("is published as the backup"), "{aborted}");
}
