//! Finding and deleting sets.

use stillframe_sdk::tree::TreeError;
use stillframe_sdk::{Deletion, Error, MemberState, Provider, SetReference};

use super::{Hardlink, by_handle, by_token, create, defaults, delete, host, is_root, request, sets};

#[test]
fn a_set_is_found_by_token_and_by_handle_until_it_is_deleted() {
    let host = host();
    let set = create(&host, "b1").unwrap();
    assert_eq!(by_token(&host, "b1"), Some(set.clone()));
    assert_eq!(by_handle(&host, &set), Some(set.clone()));
    assert_eq!(delete(&host, &set.handle), Ok(Deletion::Deleted));
    assert_eq!(delete(&host, &set.handle), Ok(Deletion::Absent));
    assert_eq!(by_handle(&host, &set), None);
    assert_eq!(by_token(&host, "b1"), None);
    assert!(sets(&host).is_empty());
}

#[test]
fn a_handle_never_means_a_later_set_of_the_same_name() {
    let host = host();
    create(&host, "b1").unwrap();
    assert_eq!(delete(&host, "b1:earlier-token"), Ok(Deletion::Absent));
    assert!(by_token(&host, "b1").is_some());
}

#[test]
fn a_handle_of_somebody_else_is_refused() {
    for handle in ["", "b1", "../etc:token", "a/b:token", ":token", "b1:", "snap-0123"] {
        assert!(matches!(delete(&host(), handle), Err(Error::Invalid(argument)) if argument.field == "handle"), "{handle}");
    }
}

#[test]
fn a_lost_tree_is_told_as_failed() {
    let host = host();
    create(&host, "b1").unwrap();
    host.lose("snapshots", "b1/tablespace-16384");
    let states: Vec<MemberState> = by_token(&host, "b1").unwrap().members.into_iter().map(|member| member.state).collect();
    assert_eq!(states[..2], [MemberState::Ready, MemberState::Ready]);
    assert!(matches!(&states[2], MemberState::Failed(reason) if reason.contains("not there")));
}

#[test]
fn a_root_that_is_missing_is_never_an_absent_set() {
    let host = host();
    let set = create(&host, "b1").unwrap();
    host.remove_root("snapshots");
    assert!(is_root(&delete(&host, &set.handle).unwrap_err()));
    for reference in [SetReference::Token(set.token), SetReference::Handle(set.handle)] {
        assert!(is_root(&Hardlink::get_set(&host, &defaults(), reference).unwrap_err()));
    }
    assert!(is_root(&Hardlink::list_sets(&host, &defaults(), "main", None).unwrap_err()));
}

#[test]
fn a_disk_that_cannot_be_read_is_never_an_absent_set() {
    let host = host();
    let set = create(&host, "b1").unwrap();
    for call in ["read-file", "list-entries"] {
        host.fail_tree(call, TreeError::Failed("a disk error".to_owned()));
        let token = SetReference::Token(set.token.clone());
        assert_eq!(Hardlink::get_set(&host, &defaults(), token), Err(Error::Transient("a disk error".to_owned())), "{call}");
    }
    host.fail_tree("read-file", TreeError::Failed("a disk error".to_owned()));
    assert!(delete(&host, &set.handle).is_err());
    assert_eq!(by_handle(&host, &set), Some(set));
}

#[test]
fn a_damaged_record_is_an_error_and_nothing_is_deleted() {
    for damaged in ["", "{", r#"{"format_version":2}"#] {
        let host = host();
        let set = create(&host, "b1").unwrap();
        host.put("snapshots", "b1/set.json", damaged);
        assert!(matches!(delete(&host, &set.handle), Err(Error::Internal(text)) if text.contains("b1/set.json")), "{damaged}");
        assert!(matches!(create(&host, "b1"), Err(Error::Internal(_))));
        assert!(Hardlink::list_sets(&host, &defaults(), "main", None).is_err());
        assert!(host.content("snapshots", "b1/data/base/1/1259").is_some());
    }
}

#[test]
fn a_record_that_was_moved_to_another_name_is_damaged() {
    let host = host();
    create(&host, "b1").unwrap();
    let record = host.content("snapshots", "b1/set.json").unwrap();
    host.put("snapshots", "b2/set.json", &record);
    assert!(matches!(delete(&host, "b2:token-b1"), Err(Error::Internal(_))));
}

#[test]
fn a_failed_deletion_is_told_and_goes_on_next_time() {
    let host = host();
    let set = create(&host, "b1").unwrap();
    host.fail_tree("remove-tree snapshots:b1/wal", TreeError::Failed("a disk error".to_owned()));
    assert_eq!(delete(&host, &set.handle), Err(Error::Transient("a disk error".to_owned())));
    let states: Vec<MemberState> = by_handle(&host, &set).unwrap().members.into_iter().map(|member| member.state).collect();
    assert_eq!(states, [MemberState::Absent, MemberState::Deleting, MemberState::Deleting]);
    assert_eq!(delete(&host, &set.handle), Ok(Deletion::Deleted));
    assert!(sets(&host).is_empty());
}

#[test]
fn lists_the_owners_sets_oldest_first_in_pages() {
    let host = host();
    for number in 0..205 {
        // The names sort the other way round: the time decides.
        let mut one = request(&format!("b{:03}", 999 - number));
        if number % 41 == 0 {
            one.labels[0].1 = "other".to_owned();
        }
        Hardlink::create_set(&host, &defaults(), one).unwrap();
        host.advance_ms(1_000);
    }
    host.put("snapshots", "lost+found/x", "");
    host.put("snapshots", "not-a-set/x", "");
    let mut names = Vec::new();
    let mut cursor = None;
    let mut pages = 0;
    loop {
        let page = Hardlink::list_sets(&host, &defaults(), "main", cursor).unwrap();
        assert!(page.sets.len() <= 100 && !page.sets.is_empty());
        names.extend(page.sets.into_iter().map(|set| set.name));
        pages += 1;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let expected: Vec<String> = (0..205).filter(|number| number % 41 != 0).map(|number| format!("b{:03}", 999 - number)).collect();
    assert_eq!(names, expected);
    assert_eq!(pages, 2);
    assert_eq!(Hardlink::list_sets(&host, &defaults(), "other", None).unwrap().sets.len(), 5);
    assert!(Hardlink::list_sets(&host, &defaults(), "nobody", None).unwrap().sets.is_empty());
}

#[test]
fn a_page_goes_on_although_its_last_set_was_deleted_meanwhile() {
    let host = host();
    for number in 0..150 {
        create(&host, &format!("b{number:03}")).unwrap();
    }
    let page = Hardlink::list_sets(&host, &defaults(), "main", None).unwrap();
    delete(&host, &page.sets[99].handle).unwrap();
    let rest = Hardlink::list_sets(&host, &defaults(), "main", page.next).unwrap();
    assert_eq!((rest.sets.len(), rest.sets[0].name.as_str(), rest.next), (50, "b100", None));
}
