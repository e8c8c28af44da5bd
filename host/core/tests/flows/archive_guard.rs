//! Who may archive: the normal primary always, whatever happens to it; a clone and a server that was rolled back never.

use jiff::Timestamp;
use stillframe_core::catalog::{Claims, DirectoryIdentity, Instance, Place};
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::flows::{Finding, GuardError, Guarding, Replaced, Verdict, admit, archive_accept, explain};
use stillframe_core::postgres::{SystemIdentifier, TimelineId, WalFileName};
use stillframe_core::store::{Key, PutOutcome, Store};
use stillframe_core::testing::{FaultyStore, WatchedStore, When};

use crate::cluster::DataDirectory;
use crate::hooked_store::{Hook, Operation, hooked, hooked_at, unreadable};
use crate::house::{House, unsealed, wal_key};

fn timeline(number: u32) -> TimelineId {
    TimelineId::new(number).unwrap()
}

fn name(text: &str) -> WalFileName {
    text.parse().unwrap()
}

fn segment(timeline: u32, number: u32) -> WalFileName {
    name(&format!("{timeline:08X}00000000{number:08X}"))
}

/// A primary on timeline 1.
fn instance(host: &str, inode: u64) -> Instance {
    Instance {
        place: Place {
            host: host.to_owned(),
            data_directory: "/var/lib/postgresql/15/main".to_owned(),
            directory: DirectoryIdentity { inode, born_at: Some(Timestamp::UNIX_EPOCH) },
        },
        system_identifier: SystemIdentifier(42),
        timeline: timeline(1),
        is_in_recovery: false,
    }
}

fn promoted(instance: &Instance, to: u32) -> Instance {
    Instance { timeline: timeline(to), is_in_recovery: false, ..instance.clone() }
}

fn standby(host: &str) -> Instance {
    Instance { is_in_recovery: true, ..instance(host, 900) }
}

/// Pushes as `wal-push` does: admitted, then put if absent; the same content again is a success.
async fn push_to(house: &House, store: &dyn Store, pusher: &Instance, name: WalFileName, content: &str) -> Result<(), GuardError> {
    let ports = house.ports(store);
    admit(&ports, Guarding::Refuse, pusher, name).await?;
    let key = wal_key(&format!("{name}.zst"));
    match store.put_if_absent(&key, content.to_owned().into()).await.unwrap() {
        PutOutcome::Created => Ok(()),
        PutOutcome::AlreadyExists if store.get(&key).await.unwrap().unwrap() == content => Ok(()),
        PutOutcome::AlreadyExists => Err(GuardError::Refused(Box::new(explain(&ports, pusher, name).await))),
    }
}

async fn push(house: &House, pusher: &Instance, name: WalFileName) -> Result<(), GuardError> {
    push_to(house, &house.store, pusher, name, &format!("{name}")).await
}

async fn other_content(house: &House, pusher: &Instance, name: WalFileName) -> Result<(), GuardError> {
    push_to(house, &house.store, pusher, name, "written after it was copied").await
}

fn refused(result: Result<(), GuardError>) -> Verdict {
    match result {
        Err(GuardError::Refused(verdict)) => *verdict,
        other => panic!("not refused: {other:?}"),
    }
}

async fn owner(house: &House, number: u32) -> Option<String> {
    let claim = Claims::new(&house.store, &house.layout).read(timeline(number)).await.unwrap();
    claim.map(|claim| claim.place.host)
}

/// A house in which `db1` has archived segments 4 to 9 of timeline 1.
async fn archived() -> (House, Instance) {
    let (house, primary) = (House::new().await, instance("db1", 7));
    for number in 4..=9 {
        push(&house, &primary, segment(1, number)).await.unwrap();
    }
    (house, primary)
}

#[tokio::test]
async fn the_normal_primary_is_never_blocked() {
    let (house, primary) = archived().await;
    // A retry of what was archived, one of an older file, and files in any order, as when several are pushed at once.
    for number in [9, 4, 12, 11, 10] {
        push(&house, &primary, segment(1, number)).await.unwrap();
    }
    for other in ["00000001000000000000000A.00000028.backup", "00000001000000000000000A.partial", "00000002.history"] {
        push(&house, &primary, name(other)).await.unwrap();
    }
    // Restored to a point in time: the next timeline, in a directory that was made anew or not.
    for inode in [7, 8] {
        let restored = promoted(&instance("db1", inode), u32::try_from(inode).unwrap());
        push(&house, &restored, segment(restored.timeline.get(), 10)).await.unwrap();
        push(&house, &restored, segment(restored.timeline.get(), 11)).await.unwrap();
    }
    assert_eq!(owner(&house, 1).await.as_deref(), Some("db1"));
}

#[tokio::test]
async fn a_pod_of_the_same_name_and_volume_is_the_same_instance_wherever_it_runs() {
    let (house, _) = archived().await;
    // Another kernel, which does not know when the directory was made.
    let mut moved = instance("db1", 7);
    moved.place.directory.born_at = None;
    push(&house, &moved, segment(1, 10)).await.unwrap();
}

#[tokio::test]
async fn one_claim_is_written_in_the_life_of_a_timeline() {
    let (house, primary) = archived().await;
    let store = FaultyStore::new(&house.store, None);
    admit(&house.ports(&store), Guarding::Refuse, &primary, segment(1, 10)).await.unwrap();
    assert_eq!(store.writes(), 0);
    let claim = Claims::new(&house.store, &house.layout).read(timeline(1)).await.unwrap().unwrap();
    assert_eq!((claim.first_file, claim.place, claim.system_identifier.0), (Some(segment(1, 4)), primary.place, 42));
    let body = house.store.get(&Key::parse("main/guard_001/timeline-00000001.json").unwrap()).await.unwrap().unwrap();
    assert!(body.starts_with(b"{\n  \"format_version\": 1,"), "{body:?}");
}

#[tokio::test]
async fn a_failover_passes_and_the_new_primary_has_its_own_timeline() {
    let (house, primary) = archived().await;
    // The checkpoint that tells the new timeline is written a moment after the promotion.
    let early = Instance { is_in_recovery: false, ..standby("db2") };
    push(&house, &early, name("00000001000000000000000A.partial")).await.unwrap();
    push(&house, &early, name("00000002.history")).await.unwrap();
    push(&house, &early, segment(2, 10)).await.unwrap();
    let new = promoted(&early, 2);
    push(&house, &new, segment(2, 11)).await.unwrap();
    // What it had left to archive of the old timeline is common to both.
    push(&house, &new, segment(1, 9)).await.unwrap();
    push(&house, &new, segment(1, 10)).await.unwrap();
    assert_eq!((owner(&house, 1).await.as_deref(), owner(&house, 2).await.as_deref()), (Some("db1"), Some("db2")));
    // The old primary comes back as a standby, and is promoted again.
    let back = Instance { is_in_recovery: true, ..promoted(&primary, 2) };
    push(&house, &Instance { is_in_recovery: true, ..back }, segment(2, 11)).await.unwrap();
    let again = promoted(&primary, 3);
    push(&house, &again, name("00000002000000000000000C.partial")).await.unwrap();
    push(&house, &again, segment(3, 12)).await.unwrap();
    assert_eq!(owner(&house, 3).await.as_deref(), Some("db1"));
}

#[tokio::test]
async fn a_standby_that_archives_always_passes_and_claims_nothing() {
    let house = House::new().await;
    push(&house, &standby("db2"), segment(1, 4)).await.unwrap();
    assert_eq!(owner(&house, 1).await, None);
    push(&house, &instance("db1", 7), segment(1, 5)).await.unwrap();
    push(&house, &standby("db2"), segment(1, 6)).await.unwrap();
    push(&house, &instance("db1", 7), segment(1, 6)).await.unwrap();
    assert_eq!(owner(&house, 1).await.as_deref(), Some("db1"));
    let verdict = refused(other_content(&house, &standby("db3"), segment(1, 5)).await);
    assert_eq!(verdict.finding, Finding::OtherPrimary);
}

#[tokio::test]
async fn a_clone_is_refused_behind_at_and_ahead_of_the_head() {
    let (house, primary) = archived().await;
    let before = house.store.snapshot();
    let mut other_path = primary.clone();
    other_path.place.data_directory = "/srv/clone".to_owned();
    for clone in [instance("staging", 7), instance("staging", 8), other_path] {
        for file in
            [segment(1, 5), segment(1, 9), segment(1, 10), segment(1, 500), name("00000001000000000000000A.00000028.backup")]
        {
            let verdict = refused(push(&house, &clone, file).await);
            assert_eq!((verdict.finding, verdict.class()), (Finding::OtherInstance, ErrorClass::Refused));
            let text = verdict.to_string();
            let told = [&clone.place.to_string(), &primary.place.to_string(), &file.to_string(), "000000010000000000000009"];
            assert!(told.iter().all(|part| text.contains(*part)), "{text}");
            let hint = verdict.hint().unwrap();
            assert!(hint.contains("archive accept") && hint.contains("`[cluster]`") && hint.contains("`instance`"), "{hint}");
        }
    }
    assert_eq!(house.store.snapshot(), before, "nothing is written for a clone");
    push(&house, &primary, segment(1, 10)).await.unwrap();
}

#[tokio::test]
async fn the_archive_of_another_cluster_is_never_taken_over() {
    let (house, _) = archived().await;
    let upgraded = Instance { system_identifier: SystemIdentifier(43), ..instance("db1", 8) };
    let verdict = refused(push(&house, &upgraded, segment(1, 10)).await);
    assert_eq!(verdict.finding, Finding::OtherCluster);
    assert!(verdict.to_string().contains("42") && verdict.to_string().contains("43"), "{verdict}");
    let before = house.store.snapshot();
    // Also not where the other cluster has claimed another timeline only.
    for number in [1, 2] {
        let error = archive_accept(&house.ports(&house.store), &upgraded, timeline(number)).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Refused, "{error}");
        assert!(error.to_string().contains("42") && error.to_string().contains("43"), "{error}");
        for hint in [error.hint().unwrap(), verdict.hint().unwrap()] {
            assert!(hint.contains("`[cluster]`") && hint.contains("store create") && hint.contains("backup"), "{hint}");
            assert!(!hint.contains("archive accept"), "{hint}");
        }
    }
    assert_eq!(house.store.snapshot(), before);
    // Nor does it begin a timeline that the other one passed through before there were claims.
    let house = House::new().await;
    push(&house, &promoted(&instance("db1", 7), 2), segment(2, 10)).await.unwrap();
    let before = house.store.snapshot();
    let verdict = refused(push(&house, &upgraded, segment(1, 12)).await);
    assert_eq!(verdict.finding, Finding::OtherCluster);
    assert_eq!(house.store.snapshot(), before);
}

/// Content alone does not prove who wrote it: the healthy primary must not be told to restore itself.
fn assert_both_causes_are_told(verdict: &Verdict) {
    let (text, hint) = (verdict.to_string(), verdict.hint().unwrap());
    assert!(text.contains("rolled back") && text.contains("a copy of it"), "{text}");
    let told = ["position", "age", "`stillframe wal-show`", "newer than", "`[cluster]`"];
    assert!(told.iter().all(|part| hint.contains(part)), "{hint}");
    let (last, restoring) = (hint.rfind(';').unwrap(), hint.find("snapshot-fetch").unwrap());
    assert!(restoring > last && hint[last..].contains("if it was rolled back") && hint[last..].contains("replaces"), "{hint}");
}

#[tokio::test]
async fn a_machine_that_was_rolled_back_is_told_so_and_a_copied_back_directory_too() {
    let (house, primary) = archived().await;
    let verdict = refused(other_content(&house, &primary, segment(1, 6)).await);
    assert_eq!(verdict.finding, Finding::RolledBackContent);
    assert!(verdict.to_string().contains("rolled back") && verdict.to_string().contains("000000010000000000000009"), "{verdict}");
    assert_both_causes_are_told(&verdict);
    // An old copy of the directory: what is archived is compared, and what is missing behind the head is not filled in.
    let copied_back = instance("db1", 8);
    assert_eq!(refused(other_content(&house, &copied_back, segment(1, 6)).await).finding, Finding::RolledBackContent);
    house.store.delete(&wal_key("000000010000000000000007.zst")).await.unwrap();
    let verdict = refused(other_content(&house, &copied_back, segment(1, 7)).await);
    assert_eq!(verdict.finding, Finding::RolledBack);
    assert!(!house.store.snapshot().keys().any(|key| key.as_str().contains("000000010000000000000007")));
}

#[tokio::test]
async fn a_directory_that_was_moved_goes_on_at_the_head_and_takes_the_claim_over() {
    let (house, _) = archived().await;
    let moved = instance("db1", 8);
    // A retry of what was archived just before the move says nothing yet.
    push(&house, &moved, segment(1, 9)).await.unwrap();
    let claim = async || Claims::new(&house.store, &house.layout).read(timeline(1)).await.unwrap().unwrap();
    assert_eq!(claim().await.place.directory.inode, 7);
    push(&house, &moved, segment(1, 10)).await.unwrap();
    assert_eq!(claim().await.place.directory.inode, 8);
    push(&house, &moved, segment(1, 12)).await.unwrap();
    push(&house, &moved, segment(1, 11)).await.unwrap();
}

#[tokio::test]
async fn accepting_tells_what_it_replaced_and_turns_the_refusal_round() {
    let (house, primary) = archived().await;
    let replacement = instance("db9", 70);
    let ports = house.ports(&house.store);
    let accepted = archive_accept(&ports, &replacement, timeline(1)).await.unwrap();
    assert!(matches!(accepted.replaced, Replaced::Claim(claim) if claim.place == primary.place));
    push(&house, &replacement, segment(1, 10)).await.unwrap();
    assert_eq!(refused(push(&house, &primary, segment(1, 10)).await).finding, Finding::OtherInstance);
    // Content is compared all the same.
    assert_eq!(refused(other_content(&house, &replacement, segment(1, 9)).await).finding, Finding::RolledBackContent);
    let accepted = archive_accept(&ports, &replacement, timeline(2)).await.unwrap();
    assert!(matches!(accepted.replaced, Replaced::Nothing));
    assert_eq!(archive_accept(&ports, &standby("db2"), timeline(1)).await.unwrap_err().class(), ErrorClass::Refused);
}

#[tokio::test]
async fn an_archive_from_before_there_were_claims_goes_to_whoever_is_at_its_head() {
    let house = House::new().await;
    for file in ["000000010000000000000009.lz4", "000000010000000000000009.00000028.backup.lz4", "00000001000000000000000A.zst.age"]
    {
        house.put_wal(file, "x").await;
    }
    // A clone that is behind is upgraded first.
    push(&house, &instance("staging", 7), segment(1, 3)).await.unwrap_or_default();
    admit(&house.ports(&house.store), Guarding::Refuse, &instance("staging", 7), segment(1, 10)).await.unwrap();
    assert_eq!(owner(&house, 1).await, None, "it locks nobody out");
    push(&house, &instance("db1", 7), segment(1, 11)).await.unwrap();
    assert_eq!(owner(&house, 1).await.as_deref(), Some("db1"));
    assert_eq!(refused(push(&house, &instance("staging", 7), segment(1, 12)).await).finding, Finding::OtherInstance);
}

#[tokio::test]
async fn content_that_differs_where_nobody_has_claimed_is_explained_all_the_same() {
    let (house, primary) = (House::new().await, instance("db1", 7));
    let verdict = explain(&house.ports(&house.store), &primary, segment(1, 3)).await;
    assert_eq!(verdict.finding, Finding::Unclaimed);
    assert_both_causes_are_told(&verdict);
    let other = explain(&house.ports(&house.store), &primary, name("00000002.history")).await;
    assert_eq!(other.finding, Finding::OtherHistory);
    let partial = explain(&house.ports(&house.store), &primary, name("000000010000000000000003.partial")).await;
    assert_eq!(partial.finding, Finding::OtherPartial);
}

#[tokio::test]
async fn a_crash_between_claim_and_push_is_harmless_and_a_failing_store_is_tried_again() {
    let (house, primary) = (House::new().await, instance("db1", 7));
    let claimed = segment(1, 4);
    for when in [When::Before, When::After] {
        let store = FaultyStore::new(&house.store, Some((0, when)));
        let error = admit(&house.ports(&store), Guarding::Warn, &primary, claimed).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Transient, "{error}");
    }
    // Claimed, and killed before the push.
    assert_eq!(owner(&house, 1).await.as_deref(), Some("db1"));
    push(&house, &primary, claimed).await.unwrap();
    push(&house, &primary, segment(1, 5)).await.unwrap();
    let store = unreadable(&house.store, "timeline-00000001.json");
    let error = admit(&house.ports(&store), Guarding::Warn, &primary, segment(1, 6)).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient);
    admit(&house.ports(&store), Guarding::Off, &primary, segment(1, 6)).await.unwrap();
}

#[tokio::test]
async fn of_two_instances_that_claim_at_once_one_is_refused() {
    let (house, file) = (House::new().await, segment(1, 4));
    let faster = async { push(&house, &instance("db2", 7), file).await.unwrap() };
    let store = hooked(&house.store, Operation::PutIfAbsent, "timeline-00000001.json", faster);
    let slower = push_to(&house, &store, &instance("db1", 7), file, "other").await;
    assert_eq!(refused(slower).finding, Finding::OtherInstance);
    drop(store);
    assert_eq!(owner(&house, 1).await.as_deref(), Some("db2"));
}

#[tokio::test]
async fn a_damaged_claim_is_named_and_is_repaired_by_accepting() {
    let (house, primary) = archived().await;
    let key = Key::parse("main/guard_001/timeline-00000001.json").unwrap();
    let of_another = house.store.get(&key).await.unwrap().unwrap();
    let of_another = unsealed(&of_another).replace("\"timeline\": 1", "\"timeline\": 2");
    let ports = house.ports(&house.store);
    for damage in ["", "{\"format_version\": 1}", &of_another] {
        house.store.put(&key, damage.to_owned().into()).await.unwrap();
        let error = push(&house, &primary, segment(1, 10)).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Corrupt);
        let hint = error.hint().unwrap();
        assert!(hint.contains(key.as_str()) && hint.contains("archive accept"), "{hint}");
        let accepted = archive_accept(&ports, &primary, timeline(1)).await.unwrap();
        assert!(matches!(accepted.replaced, Replaced::Damaged(_)));
        push(&house, &primary, segment(1, 10)).await.unwrap();
    }
    // A newer version may know better: its claim is not called damaged.
    house.store.put(&key, "{\"format_version\": 2}".into()).await.unwrap();
    assert_eq!(push(&house, &primary, segment(1, 11)).await.unwrap_err().class(), ErrorClass::Config);
    archive_accept(&ports, &primary, timeline(1)).await.unwrap_err();
}

#[tokio::test]
async fn a_warning_lets_the_push_through_and_leaves_the_claim() {
    let (house, _) = archived().await;
    let ports = house.ports(&house.store);
    for guarding in [Guarding::Warn, Guarding::Off] {
        admit(&ports, guarding, &instance("staging", 7), segment(1, 10)).await.unwrap();
    }
    assert_eq!(owner(&house, 1).await.as_deref(), Some("db1"));
}

#[tokio::test]
async fn the_newest_position_is_found_in_an_archive_of_many_segments() {
    let (house, primary) = archived().await;
    for place in ["0000000200000000", "0000000A000000FE", "0000000A000000FF", "FFFFFFFF00000000"] {
        let file = format!("00000001{place}");
        push(&house, &primary, name(&file)).await.unwrap();
        // Beside it, what sorts later and is no segment, and another timeline.
        for other in [format!("{file}.00000028.backup.zst"), "0000000200000000000000FF.zst".to_owned()] {
            house.put_wal(&other, "x").await;
        }
        let verdict = refused(push(&house, &instance("staging", 7), segment(1, 5)).await);
        assert!(verdict.newest.unwrap().to_string().starts_with(&file), "{verdict}");
    }
}

#[tokio::test]
async fn a_primary_whose_copy_was_faster_is_not_told_to_restore_itself() {
    let (house, primary) = archived().await;
    // Same host name and path, as in two containers; made later.
    let mut copy = instance("db1", 70);
    copy.place.directory.born_at = Some(Timestamp::UNIX_EPOCH + std::time::Duration::from_hours(1));
    push(&house, &copy, segment(1, 10)).await.unwrap();
    let verdict = refused(other_content(&house, &primary, segment(1, 10)).await);
    assert_eq!(verdict.finding, Finding::OtherContent);
    assert!(!verdict.hint().unwrap().contains("snapshot-fetch"), "{:?}", verdict.hint());
}

#[tokio::test]
async fn a_word_of_the_operator_is_not_undone_by_a_push_that_was_under_way() {
    // While the push looks at what is archived, and between its write and its answer.
    for nth in [2, 3] {
        let (house, _) = archived().await;
        let accept = async {
            archive_accept(&house.ports(&house.store), &instance("db9", 70), timeline(1)).await.unwrap();
        };
        let store: WatchedStore<'_, Hook<'_>> = hooked_at(&house.store, Operation::Get, nth, "timeline-00000001.json", accept);
        let pushed = push_to(&house, &store, &instance("db1", 8), segment(1, 10), "x").await;
        assert_eq!(refused(pushed).finding, Finding::OtherInstance, "{nth}");
        drop(store);
        assert_eq!(owner(&house, 1).await.as_deref(), Some("db9"), "{nth}");
    }
}

#[tokio::test]
async fn a_timeline_beyond_the_known_one_is_claimed() {
    let (house, _) = archived().await;
    let early = Instance { is_in_recovery: false, ..standby("db2") };
    push(&house, &early, segment(2, 10)).await.unwrap();
    assert_eq!(owner(&house, 2).await.as_deref(), Some("db2"));
}

#[tokio::test]
async fn a_directory_of_unknown_birth_is_not_taken_for_older() {
    let (house, _) = archived().await;
    let mut unknown = instance("db1", 8);
    unknown.place.directory.born_at = None;
    let verdict = refused(other_content(&house, &unknown, segment(1, 6)).await);
    assert_eq!(verdict.finding, Finding::RolledBackContent);
}

#[tokio::test]
async fn a_backup_history_passes_from_a_moved_directory_and_takes_no_claim() {
    const BACKUP_HISTORIES: [&str; 2] = ["000000010000000000000005.00000028.backup", "00000001000000000000000A.00000028.backup"];
    let (house, moved) = (archived().await.0, instance("db1", 8));
    for other in BACKUP_HISTORIES {
        push(&house, &moved, name(other)).await.unwrap();
    }
    let claim = Claims::new(&house.store, &house.layout).read(timeline(1)).await.unwrap().unwrap();
    assert_eq!(claim.place.directory.inode, 7);
    let unclaimed = House::new().await;
    push(&unclaimed, &instance("db1", 7), name(BACKUP_HISTORIES[1])).await.unwrap();
    assert_eq!(owner(&unclaimed, 1).await, None);
}

#[tokio::test]
async fn what_is_no_segment_does_not_make_the_head_look_passed() {
    let (house, _) = archived().await;
    for other in ["00000001000000000000000A.00000028.backup.zst", "00000001000000000000000B.partial.zst"] {
        house.put_wal(other, "x").await;
    }
    push(&house, &instance("db1", 8), segment(1, 10)).await.unwrap();
}

#[test]
fn a_server_that_was_just_promoted_is_on_its_new_timeline() {
    let data = DataDirectory::of_cluster(SystemIdentifier(42));
    data.change_control(|control| {
        control[16] = 6;
        control[48..52].copy_from_slice(&1_u32.to_ne_bytes());
        control[144..148].copy_from_slice(&2_u32.to_ne_bytes());
    });
    assert_eq!(Instance::observe(&data.path, "db1").unwrap().timeline, timeline(2));
}

#[tokio::test]
async fn other_content_of_another_cluster_is_explained_by_the_cluster() {
    let (house, _) = archived().await;
    let upgraded = Instance { system_identifier: SystemIdentifier(43), ..instance("db1", 8) };
    assert_eq!(explain(&house.ports(&house.store), &upgraded, segment(1, 9)).await.finding, Finding::OtherCluster);
}

#[tokio::test]
async fn a_history_passes_whoever_has_claimed_its_timeline() {
    let (house, _) = archived().await;
    push(&house, &promoted(&instance("db2", 9), 2), segment(2, 10)).await.unwrap();
    push(&house, &promoted(&instance("db3", 11), 2), name("00000002.history")).await.unwrap();
}

#[tokio::test]
async fn a_segment_that_is_stored_as_it_is_counts_as_archived() {
    let house = House::new().await;
    house.put_wal("000000010000000000000009", "x").await;
    admit(&house.ports(&house.store), Guarding::Refuse, &instance("db1", 7), segment(1, 9)).await.unwrap();
    assert_eq!(owner(&house, 1).await, None);
}
