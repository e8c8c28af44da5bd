//! Finding sets: only what was set on a snapshot itself counts, and what cannot be looked at is never told as absent.

use stillframe_sdk::{Error, MemberState, Provider, SetReference};

use super::fake::{failure, output};
use super::{
    ZfsProvider, by_handle, by_token, config, create, create_of_two, defaults, delete, is_ready, listed, pools, request, token,
};

#[test]
fn there_is_no_trace_of_a_set_that_never_was() {
    let (_, host) = pools();
    assert_eq!(by_token(&host, "b1"), None);
    let handle = SetReference::Handle(format!("b1:{}", token("b1")));
    assert_eq!(ZfsProvider::get_set(&host, &defaults(), handle), Ok(None));
    let foreign = ZfsProvider::get_set(&host, &defaults(), SetReference::Handle("snap-0123".to_owned()));
    assert!(matches!(foreign, Err(Error::Invalid(argument)) if argument.field == "handle"));
    let set = create(&host, "b1").unwrap();
    let of_another_name = SetReference::Handle(set.handle.replace("b1:", "b2:"));
    assert_eq!(ZfsProvider::get_set(&host, &defaults(), of_another_name), Ok(None));
}

#[test]
fn inherited_and_received_properties_make_no_snapshot_ours() {
    let (fake, host) = pools();
    create(&host, "b1").unwrap();
    fake.by_hand("snapshot tank/home@hourly");
    fake.by_hand("snapshot tank/wal@hourly");
    fake.state(|state| {
        let ours = state.snapshots["tank/pg@b1"].local.clone();
        // Somebody has sent the backup to this dataset, and somebody has set our properties on a dataset.
        state.snapshots.get_mut("tank/wal@hourly").unwrap().received.clone_from(&ours);
        state.datasets.get_mut("tank").unwrap().local.extend(ours);
    });
    let set = by_token(&host, "b1").unwrap();
    assert_eq!(set.members.len(), 2);
    assert_eq!(listed(&host).len(), 1);
    delete(&host, &set).unwrap();
    assert_eq!(fake.snapshots(), ["tank/home@hourly", "tank/wal@hourly"]);
    assert_eq!(by_token(&host, "b1"), None);
}

#[test]
fn a_member_whose_snapshot_or_dataset_was_destroyed_is_absent_and_the_others_tell_of_it() {
    let (fake, host) = pools();
    fake.state(|state| state.add("tank/pg/ts2"));
    let paths =
        vec![super::path("tablespace-2", stillframe_sdk::DataRole::Tablespace, "tank/pg/ts2", "/srv/tank/pg/ts2"), super::data()];
    let set = super::create_and_look(&host, super::request_of(&host, "b1", paths)).unwrap();
    fake.by_hand("release stillframe tank/pg/ts2@b1");
    fake.by_hand("destroy tank/pg/ts2@b1");
    let states = |set: &stillframe_sdk::SnapshotSet| set.members.iter().map(|member| member.state.clone()).collect::<Vec<_>>();
    assert_eq!(states(&by_handle(&host, &set).unwrap()), [MemberState::Absent, MemberState::Ready]);
    fake.by_hand("destroy tank/pg/ts2");
    assert_eq!(states(&by_handle(&host, &set).unwrap()), [MemberState::Absent, MemberState::Ready]);
    assert_eq!(by_handle(&host, &set).unwrap().labels, set.labels);
}

#[test]
fn a_pool_that_is_not_imported_proves_no_absence() {
    let (fake, host) = pools();
    let set = create(&host, "b1").unwrap();
    fake.state(|state| {
        state.snapshots.retain(|name, _| !name.starts_with("fast"));
        state.datasets.retain(|name, _| !name.starts_with("fast"));
    });
    let errors = [
        ZfsProvider::get_set(&host, &defaults(), SetReference::Handle(set.handle.clone())).unwrap_err(),
        ZfsProvider::get_set(&host, &defaults(), SetReference::Token(token("b9"))).unwrap_err(),
        ZfsProvider::list_sets(&host, &defaults(), "main cluster", None).unwrap_err(),
        delete(&host, &set).unwrap_err(),
        ZfsProvider::check(&host, &defaults()).unwrap_err(),
    ];
    for error in errors {
        let Error::Invalid(argument) = error else { panic!("{error:?}") };
        assert_eq!(argument.field, "datasets");
        assert!(argument.message.contains("fast/ts") && argument.message.contains("not imported"), "{}", argument.message);
    }
    assert_eq!(fake.snapshots().len(), 2);
}

#[test]
fn a_dataset_that_is_not_covered_any_more_proves_no_absence_and_stops_the_deletion() {
    let (fake, host) = pools();
    let set = create_of_two(&host, "b1").unwrap();
    let narrower = config(r#"{"datasets":["tank/pg","tank/wal"]}"#);
    let found = ZfsProvider::get_set(&host, &narrower, SetReference::Handle(set.handle.clone())).unwrap().unwrap();
    let MemberState::Failed(reason) = &found.members[0].state else { panic!("{found:?}") };
    assert!(reason.contains("fast/ts"), "{reason}");
    let Err(Error::Invalid(argument)) = ZfsProvider::delete_set(&host, &narrower, &set.handle) else { panic!("deleted") };
    assert_eq!(argument.field, "datasets");
    assert_eq!(fake.snapshots().len(), 3);
    delete(&host, &set).unwrap();
    assert!(fake.snapshots().is_empty());
}

#[test]
fn an_answer_that_failed_or_was_cut_is_an_error_and_never_an_absent_set() {
    for (question, answer) in [
        ("get", failure("cannot open 'tank/pg': pool I/O is currently suspended")),
        ("stillframe:token", stillframe_sdk::command::Output { truncated: true, ..output(0, "", "") }),
        ("value all", failure("internal error: out of luck")),
        ("holds", failure("internal error: out of luck")),
        ("list", output(0, "tank/pg@b1\t1\n", "")),
        ("list", output(0, "tank/pg@b1\tone\ttwo\tthree\tfour\tfive\t\n", "")),
    ] {
        let (fake, host) = pools();
        let set = create(&host, "b1").unwrap();
        fake.fail(question, false, Ok(answer));
        let answer = ZfsProvider::get_set(&host, &defaults(), SetReference::Handle(set.handle.clone()));
        assert!(matches!(answer, Err(Error::Transient(_))), "{question}: {answer:?}");
        assert!(by_handle(&host, &set).is_some());
    }
}

#[test]
fn a_snapshot_that_goes_between_two_questions_does_not_spoil_the_listing() {
    let (fake, host) = pools();
    create(&host, "b1").unwrap();
    create(&host, "b2").unwrap();
    let gone = "cannot open 'tank/pg@b1': dataset does not exist\ncannot open 'tank/wal@b1': dataset does not exist\n";
    let names = "tank/pg@b2\t1\t2\t3\t4\t5\t\ntank/wal@b2\t1\t2\t3\t4\t5\t\n";
    fake.fail("list", false, Ok(output(1, names, gone)));
    let names: Vec<String> = listed(&host).into_iter().map(|set| set.name).collect();
    assert_eq!(names, ["b2"]);
}

#[test]
fn changed_properties_are_an_error_and_nothing_is_deleted() {
    for (property, value) in [
        ("stillframe:name", "../x"),
        ("stillframe:begin", "soon"),
        ("stillframe:path.0", "9,data,data,/"),
        ("stillframe:label.0", "%"),
        ("stillframe:volume.1", "tank/wal"),
        ("stillframe:owner", "another"),
    ] {
        let (fake, host) = pools();
        let set = create(&host, "b1").unwrap();
        fake.state(|state| {
            state.snapshots.get_mut("tank/pg@b1").unwrap().local.insert(property.to_owned(), value.to_owned());
        });
        assert!(matches!(delete(&host, &set), Err(Error::Internal(text)) if text.contains("tank/pg@b1")), "{property}");
        assert_eq!(fake.snapshots().len(), 2, "{property}");
    }
}

#[test]
fn foreign_properties_on_our_snapshots_do_no_harm() {
    let (fake, host) = pools();
    let set = create(&host, "b1").unwrap();
    fake.state(|state| {
        let local = &mut state.snapshots.get_mut("tank/pg@b1").unwrap().local;
        local.insert("com.example:note".to_owned(), "two\nlines\tand\ttabs".to_owned());
    });
    assert_eq!(by_handle(&host, &set).unwrap().members, set.members);
}

#[test]
fn lists_the_owners_sets_oldest_first_in_pages() {
    let (_, host) = pools();
    for number in 0..205 {
        // The names sort the other way round: the time decides.
        let mut one = request(&host, &format!("b{:03}", 999 - number));
        if number % 41 == 0 {
            one.labels[0].1 = "other".to_owned();
        }
        super::create_and_look(&host, one).unwrap();
        host.advance_ms(1_000);
    }
    let (mut names, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = ZfsProvider::list_sets(&host, &defaults(), "main cluster", cursor).unwrap();
        assert!(page.sets.len() <= 100 && page.sets.iter().all(is_ready));
        names.extend(page.sets.into_iter().map(|set| set.name));
        pages += 1;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let expected: Vec<String> = (0..205).filter(|number| number % 41 != 0).map(|number| format!("b{:03}", 999 - number)).collect();
    assert_eq!((names, pages), (expected, 2));
    assert_eq!(ZfsProvider::list_sets(&host, &defaults(), "other", None).unwrap().sets.len(), 5);
    assert!(ZfsProvider::list_sets(&host, &defaults(), "main", None).unwrap().sets.is_empty());
    let strange = ZfsProvider::list_sets(&host, &defaults(), "main", Some("b7".to_owned()));
    assert!(matches!(strange, Err(Error::Invalid(argument)) if argument.field == "cursor"));
}

#[test]
fn a_page_goes_on_although_its_last_set_was_deleted_meanwhile() {
    let (_, host) = pools();
    for number in 0..150 {
        create(&host, &format!("b{number:03}")).unwrap();
        host.advance_ms(1);
    }
    let page = ZfsProvider::list_sets(&host, &defaults(), "main cluster", None).unwrap();
    delete(&host, &page.sets[99]).unwrap();
    let rest = ZfsProvider::list_sets(&host, &defaults(), "main cluster", page.next).unwrap();
    assert_eq!((rest.sets.len(), rest.sets[0].name.as_str(), rest.next), (50, "b100", None));
}
