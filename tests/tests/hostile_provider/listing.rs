//! A provider that lies when all of its sets are listed: `reconcile` neither adopts nor deletes on such a word.

use std::path::PathBuf;

use serde_json::{Value, json};
use stillframe_tests::Account;

use crate::guests::{self, Liars, edit};

/// What the labels of a passport begin with.
const PASSPORT: &str = "stillframe-passport-";

/// Case and action of each finding, after all was done that may be done.
#[track_caller]
fn reconciled(liars: &Liars, lie: &str, about: &str, arguments: &[&str]) -> (Option<i32>, Vec<(String, String)>, Value) {
    let all: Vec<&str> = ["reconcile", "--confirm"].iter().chain(arguments).copied().collect();
    let (finished, plan) = guests::json(&liars.telling(lie, about), &all);
    let word = |finding: &Value, key: &str| finding[key].as_str().unwrap_or("-").to_owned();
    let findings = plan["findings"].as_array().unwrap_or_else(|| panic!("{finished}"));
    let pairs = findings.iter().map(|finding| (word(finding, "case"), word(finding, "action"))).collect();
    (finished.code(), pairs, plan)
}

fn pair(case: &str, action: &str) -> Vec<(String, String)> {
    vec![(case.to_owned(), action.to_owned())]
}

/// A set of another catalog on the same storage.
fn foreign(liars: &Liars, owner: &str, catalog: &str) -> PathBuf {
    let token = "abcdef0123456789abcdef0123456789";
    let record = json!({
        "handle": format!("liar:{token}"), "token": token, "name": "sf-20250101T000000Z-00000000", "cut_ms": 1_735_689_600_000_u64,
        "labels": [["stillframe-owner", owner], ["stillframe-catalog", catalog], ["stillframe-token", token]],
        "members": [{ "volume": "data", "id": format!("{token}/data"), "size_bytes": 1 }],
    });
    Account::unprivileged().create_directory(&liars.lies(token));
    let path = liars.lies(token).join("record.json");
    Account::unprivileged().write(&path, record.to_string());
    path
}

#[test]
fn a_listing_that_hides_everything_loses_nothing() {
    let liars = Liars::start();
    let name = liars.backup();
    let (code, found, plan) = reconciled(&liars, "hides", "", &["--min-age", "0"]);
    assert_eq!((code, found), (Some(0), Vec::new()), "each is asked for by its handle: {plan}");
    liars.assert_restorable(&name);
}

#[test]
fn a_listing_that_contradicts_itself_decides_nothing() {
    let liars = Liars::start();
    let (name, forgotten) = (liars.backup(), liars.backup());
    let other = foreign(&liars, "main/7000000000000000001", "another");
    liars.forget(&forgotten);
    for (lie, words) in [("lists-everybody", "belongs to another owner"), ("doubles", "twice")] {
        let (code, found, plan) = reconciled(&liars, lie, "", &["--min-age", "0"]);
        assert!(code != Some(0) && found.is_empty(), "{lie}: {plan}");
        assert!(plan["unknown_providers"][0]["reason"].as_str().unwrap().contains(words), "{lie}: {plan}");
    }
    assert!(other.exists() && liars.kept().contains(&forgotten));
    liars.assert_restorable(&name);
}

#[test]
fn a_set_that_only_looks_like_a_leftover_is_not_deleted() {
    let liars = Liars::start();
    let name = liars.backup();
    let (_, found, plan) = reconciled(&liars, "invents", &liars.handle(&name), &["--min-age", "0"]);
    assert_eq!(found, pair("unpublished", "-"), "{plan}");
    let claimed =
        reconciled(&liars, "invents", &liars.handle(&name), &["--min-age", "0", "--claim", "sf-20200101T000000Z-00000000"]);
    assert_eq!(claimed.1, pair("unpublished", "-"), "it holds what a backup is made of: {}", claimed.2);
    assert!(claimed.2["findings"][0]["reason"].as_str().unwrap().contains(&name), "{}", claimed.2);
    liars.assert_restorable(&name);
}

#[test]
fn the_set_of_another_catalog_is_left_alone() {
    let liars = Liars::start();
    let name = liars.backup();
    let labels = liars.set(&name)["labels"].clone();
    let other = foreign(&liars, labels["stillframe-owner"].as_str().unwrap(), "another");
    for lie in ["", "disowns"] {
        let (_, found, plan) = reconciled(&liars, lie, "", &["--min-age", "0"]);
        assert_eq!(found, pair("unpublished", "-"), "{lie}: {plan}");
    }
    // What bears the labels of another set is not ours either, whoever says so.
    let mut record: Value = serde_json::from_slice(&std::fs::read(&other).unwrap()).unwrap();
    record["labels"][2][1] = labels["stillframe-token"].clone();
    Account::unprivileged().write(&other, record.to_string());
    let (_, found, plan) = reconciled(&liars, "relabels", "", &["--min-age", "0"]);
    assert_eq!(found, pair("unpublished", "-"), "{plan}");
    assert!(other.exists());
    liars.assert_restorable(&name);
}

#[test]
fn nobody_is_told_to_delete_a_backup_for_what_another_set_says() {
    let liars = Liars::start();
    let name = liars.backup();
    let (code, found, plan) = reconciled(&liars, "calls-all-failed", "", &[]);
    assert_eq!((code, found), (Some(0), Vec::new()), "{plan}");
    liars.assert_restorable(&name);
}

/// The passport in a set's labels with a part of it replaced.
fn reissue(labels: &mut Vec<Value>, key: &str, value: &Value) {
    let is_piece = |label: &Value| label[0].as_str().unwrap().starts_with(PASSPORT);
    let mut pieces: Vec<(String, String)> = labels
        .extract_if(.., |label| is_piece(label))
        .map(|label| (label[0].as_str().unwrap().to_owned(), label[1].as_str().unwrap().to_owned()))
        .collect();
    pieces.sort();
    let digits: String = pieces.into_iter().map(|(_, piece)| piece).collect();
    let packed: Vec<u8> =
        (0..digits.len() / 2).map(|place| u8::from_str_radix(&digits[2 * place..2 * place + 2], 16).unwrap()).collect();
    let mut passport: Value = serde_json::from_slice(&zstd::decode_all(packed.as_slice()).unwrap()).unwrap();
    assert_ne!(std::mem::replace(&mut passport[key], value.clone()), *value);
    let packed = zstd::bulk::compress(passport.to_string().as_bytes(), 3).unwrap();
    let digits = packed.iter().fold(String::new(), |digits, byte| format!("{digits}{byte:02x}"));
    let pieces = digits.as_bytes().chunks(240).enumerate();
    labels.extend(pieces.map(|(number, piece)| json!([format!("{PASSPORT}{number:02}"), String::from_utf8_lossy(piece)])));
}

#[test]
fn a_passport_of_another_cluster_makes_no_backup_and_deletes_none() {
    let liars = Liars::start();
    let (name, kept) = (liars.backup(), liars.backup());
    let cluster: u64 = liars.site.show(&name)["system_identifier"].as_str().unwrap().parse().unwrap();
    let reissued =
        |key: &'static str, value: Value| move |record: &mut Value| reissue(record["labels"].as_array_mut().unwrap(), key, &value);
    let directory = liars.directory(&name);
    liars.forget(&name);
    edit(&directory, reissued("c", 7_000_000_000_000_000_001_u64.into()));
    let (_, found, plan) = reconciled(&liars, "", "", &["--min-age", "0"]);
    assert_eq!(found, pair("unpublished", "-"), "{plan}");
    assert!(plan["findings"][0]["reason"].as_str().unwrap().contains("of another cluster"), "{plan}");
    assert!(liars.kept().contains(&name) && !liars.site.backups().contains(&name));
    edit(&directory, reissued("c", cluster.into()));
    let (_, found, plan) = reconciled(&liars, "", "", &[]);
    assert_eq!(found, pair("unpublished", "adopt"), "{plan}");
    assert_eq!(liars.site.backups(), [name.clone(), kept]);
    liars.assert_restorable(&name);
}

#[test]
fn a_forged_passport_makes_no_backup() {
    let liars = Liars::start();
    let (name, kept) = (liars.backup(), liars.backup());
    liars.forget(&name);
    for forged in ["00", "zz", &"28b52ffd".repeat(20)] {
        let (_, found, plan) = reconciled(&liars, "forges-a-passport", forged, &["--min-age", "0"]);
        assert_eq!(found, pair("unpublished", "-"), "{forged}: {plan}");
    }
    assert_eq!(liars.site.backups(), std::slice::from_ref(&kept));
    // The honest one is still there to be adopted.
    let (_, found, plan) = reconciled(&liars, "", "", &[]);
    assert_eq!(found, pair("unpublished", "adopt"), "{plan}");
    assert_eq!(liars.site.backups(), [name, kept]);
}
