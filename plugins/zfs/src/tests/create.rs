//! Making a set: one command a pool and no other in backup mode, what stands on the snapshots, and that a failure leaves nothing.

use stillframe_sdk::command::CommandError;
use stillframe_sdk::{Deletion, Error, Host, Level, MemberState, Provider, SetReference};

use super::fake::failure;
use super::{
    ZfsProvider, by_handle, by_token, changes, create, create_and_look, create_of_two, defaults, delete, is_cut, is_ready, listed,
    pools, request, request_of_two, short, token,
};

#[test]
fn one_command_cuts_all_datasets_of_a_pool_and_nothing_else_runs_in_backup_mode() {
    let (fake, host) = pools();
    let wanted = request(&host, "b1");
    let before = host.now_ms();
    let set = ZfsProvider::create_set(&host, &defaults(), wanted).unwrap();
    let calls: Vec<String> = host.calls().iter().map(|call| short(call)).collect();
    assert_eq!(calls, ["command.run zfs snapshot tank/wal@b1 tank/pg@b1"]);
    assert!(is_cut(&set) && set.atomic && set.isolated);
    assert_eq!((set.cut_begin_ms, set.cut_end_ms), (before, host.now_ms()));
    let members: Vec<(&str, &str)> = set.members.iter().map(|member| (member.volume.as_str(), member.id.as_str())).collect();
    assert_eq!(members, [("tank/wal", "tank/wal@b1"), ("tank/pg", "tank/pg@b1")]);
    assert!(fake.holds("tank/pg@b1").is_empty());
}

#[test]
fn the_first_look_holds_the_snapshots_and_only_then_says_ready() {
    let look_by_handle = |set: &stillframe_sdk::SnapshotSet| SetReference::Handle(set.handle.clone());
    let look_by_token = |set: &stillframe_sdk::SnapshotSet| SetReference::Token(set.token.clone());
    for reference in [look_by_handle, look_by_token] {
        let (fake, host) = pools();
        let cut = ZfsProvider::create_set(&host, &defaults(), request_of_two(&host, "b1")).unwrap();
        assert!(is_cut(&listed(&host)[0]), "a listing changes nothing");
        host.forget_calls();
        let look = || ZfsProvider::get_set(&host, &defaults(), reference(&cut)).unwrap().unwrap();
        let set = look();
        assert!(is_ready(&set));
        assert_eq!(set.members[0].size_bytes, Some(1_048_576));
        assert_eq!(changes(&host), ["hold stillframe fast/ts@b1 tank/pg@b1 tank/wal@b1"]);
        assert!(fake.snapshots().iter().all(|snapshot| fake.holds(snapshot) == ["stillframe"]));
        host.forget_calls();
        assert_eq!((look(), listed(&host).remove(0)), (set.clone(), set));
        assert!(changes(&host).is_empty());
    }
}

#[test]
fn what_cannot_be_held_is_not_ready_and_may_be_looked_at_again() {
    for (takes_hold, answer, error) in [
        (false, Ok(failure("cannot hold: out of space")), Error::Exhausted("cannot hold: out of space".to_owned())),
        (true, Err(CommandError::TimedOut), Error::Transient("zfs was ended at the deadline".to_owned())),
    ] {
        let (fake, host) = pools();
        let cut = ZfsProvider::create_set(&host, &defaults(), request_of_two(&host, "b1")).unwrap();
        fake.fail("hold stillframe", takes_hold, answer);
        let reference = SetReference::Handle(cut.handle.clone());
        assert_eq!(ZfsProvider::get_set(&host, &defaults(), reference), Err(error));
        assert_eq!((fake.snapshots().len(), listed(&host).len()), (3, 1), "it stays known");
        assert!(is_ready(&by_handle(&host, &cut).unwrap()));
        assert_eq!(delete(&host, &cut), Ok(Deletion::Deleted));
    }
}

#[test]
fn what_somebody_destroys_before_it_is_held_is_not_ready() {
    let (fake, host) = pools();
    let cut = ZfsProvider::create_set(&host, &defaults(), request(&host, "b1")).unwrap();
    fake.by_hand("destroy tank/wal@b1");
    let found = by_handle(&host, &cut).unwrap();
    let states: Vec<&MemberState> = found.members.iter().map(|member| &member.state).collect();
    assert_eq!(states, [&MemberState::Absent, &MemberState::Cut]);
    assert!(fake.holds("tank/pg@b1").is_empty(), "of a set that cannot be restored, nothing is kept from others");
    let cut = ZfsProvider::create_set(&host, &defaults(), request(&host, "b2")).unwrap();
    fake.fail("hold stillframe", false, Ok(failure("cannot hold snapshot 'tank/pg@b2': dataset does not exist")));
    let look = ZfsProvider::get_set(&host, &defaults(), SetReference::Handle(cut.handle));
    assert!(matches!(look, Err(Error::Transient(_))), "{look:?}");
}

#[test]
fn the_snapshots_alone_tell_everything_of_the_set() {
    let (_, host) = pools();
    let set = ZfsProvider::create_set(&host, &defaults(), request_of_two(&host, "b1")).unwrap();
    let found = by_token(&host, "b1").unwrap();
    assert_eq!(found.labels, set.labels);
    assert_eq!(found.labels.iter().find(|(key, _)| key == "note").unwrap().1, "it's \"100 %\",\tok\n=");
    assert!(found.cut_end_ms >= found.cut_begin_ms);
    let ids = |set: &stillframe_sdk::SnapshotSet| set.members.iter().map(|member| member.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&found), ids(&set));
    let (cut_end_ms, members) = (set.cut_end_ms, set.members.clone());
    assert_eq!(stillframe_sdk::SnapshotSet { cut_end_ms, members, ..found }, set);
    assert_eq!(by_handle(&host, &set).unwrap().token, token("b1"));
}

#[test]
fn several_pools_are_cut_one_by_one_with_the_control_file_last_and_told_as_not_atomic() {
    let (_, host) = pools();
    let set = ZfsProvider::create_set(&host, &defaults(), request_of_two(&host, "b1")).unwrap();
    assert!(is_cut(&set) && !set.atomic);
    let calls: Vec<String> = host.calls().iter().map(|call| short(call)).collect();
    assert_eq!(calls, ["command.run zfs snapshot fast/ts@b1", "command.run zfs snapshot tank/wal@b1 tank/pg@b1"]);
    // The order of the request decides, until a control file does.
    let mut turned = request_of_two(&host, "b2");
    turned.volumes.rotate_left(1);
    ZfsProvider::create_set(&host, &defaults(), turned).unwrap();
    assert_eq!(short(&changes(&host)[0]), "snapshot fast/ts@b2");
}

#[test]
fn the_same_token_again_is_the_same_set_and_its_holds_are_finished() {
    let (fake, host) = pools();
    let first = create(&host, "b1").unwrap();
    fake.by_hand("release stillframe tank/pg@b1");
    host.advance_ms(5_000);
    let again = create(&host, "b1").unwrap();
    assert_eq!(again, by_token(&host, "b1").unwrap());
    assert_eq!((again.handle, again.members, again.cut_begin_ms), (first.handle, first.members, first.cut_begin_ms));
    assert_eq!(fake.holds("tank/pg@b1"), ["stillframe"]);
    assert_eq!(fake.snapshots().len(), 2);
}

#[test]
fn a_token_with_another_name_makes_no_second_backup_and_takes_nothing_from_the_first() {
    let (fake, host) = pools();
    let first = create_of_two(&host, "b1").unwrap();
    host.advance_ms(1_000);
    let mut renamed = request_of_two(&host, "b2");
    renamed.token = token("b1");
    let second = ZfsProvider::create_set(&host, &defaults(), renamed.clone()).unwrap();
    let told = by_handle(&host, &second).unwrap();
    for member in &told.members {
        assert!(matches!(&member.state, MemberState::Failed(reason) if reason.contains(&first.handle)), "{member:?}");
    }
    assert!(fake.holds("tank/pg@b2").is_empty());
    assert_eq!((by_token(&host, "b1").unwrap(), by_handle(&host, &first).unwrap()), (first.clone(), first.clone()));
    assert_eq!(listed(&host), [first.clone(), told], "what was cut is accounted for");
    assert!(matches!(ZfsProvider::create_set(&host, &defaults(), renamed), Err(Error::Conflict(_))));
    assert_eq!(delete(&host, &second), Ok(Deletion::Deleted));
    assert_eq!(fake.snapshots(), ["fast/ts@b1", "tank/pg@b1", "tank/wal@b1"]);
    assert_eq!(by_handle(&host, &first).unwrap(), first);
}

#[test]
fn a_snapshot_of_that_name_that_is_not_ours_is_a_conflict_and_stays() {
    for taken in ["tank/pg@b1", "fast/ts@b1"] {
        let (fake, host) = pools();
        fake.by_hand(&format!("snapshot {taken}"));
        let error = create_of_two(&host, "b1").unwrap_err();
        assert!(matches!(&error, Error::Conflict(text) if text.contains(taken)), "{error:?}");
        assert_eq!(fake.snapshots(), [taken]);
    }
}

#[test]
fn the_same_name_with_another_token_is_a_conflict_and_touches_nothing() {
    let (fake, host) = pools();
    create(&host, "b1").unwrap();
    let mut other = request(&host, "b1");
    other.token = token("other");
    assert!(matches!(ZfsProvider::create_set(&host, &defaults(), other), Err(Error::Conflict(_))));
    assert!(is_ready(&by_token(&host, "b1").unwrap()));
    assert_eq!(fake.snapshots().len(), 2);
}

#[test]
fn a_token_of_another_request_is_a_conflict_and_takes_nothing_from_its_set() {
    let (fake, host) = pools();
    create(&host, "b1").unwrap();
    let mut more = request_of_two(&host, "b1");
    more.labels.pop();
    let error = ZfsProvider::create_set(&host, &defaults(), more).unwrap_err();
    assert!(matches!(&error, Error::Conflict(text) if text.contains("other volumes or labels")), "{error:?}");
    assert_eq!(fake.snapshots(), ["tank/pg@b1", "tank/wal@b1"]);
    assert!(is_ready(&by_token(&host, "b1").unwrap()));
}

#[test]
fn a_failure_at_any_command_leaves_nothing() {
    let answer = "cannot create snapshots : out of space";
    for command in ["snapshot", "tank/wal@b1 tank/pg@b1"] {
        let (fake, host) = pools();
        let wanted = request_of_two(&host, "b1");
        fake.fail(command, false, Ok(failure(answer)));
        assert_eq!(ZfsProvider::create_set(&host, &defaults(), wanted), Err(Error::Exhausted(answer.to_owned())), "{command}");
        assert!(fake.snapshots().is_empty(), "{command}: {:?}", fake.snapshots());
    }
}

#[test]
fn a_command_whose_end_is_not_known_is_undone() {
    for later in [0, 1] {
        for takes_hold in [false, true] {
            let (fake, host) = pools();
            let wanted = request_of_two(&host, "b1");
            fake.fail_later(later, "snapshot", takes_hold, Err(CommandError::TimedOut));
            let error = ZfsProvider::create_set(&host, &defaults(), wanted).unwrap_err();
            assert!(matches!(&error, Error::Transient(text) if text.contains("deadline")), "{error:?}");
            assert!(fake.snapshots().is_empty(), "{later} {takes_hold}");
        }
    }
}

#[test]
fn what_cannot_be_undone_is_indeterminate_and_the_next_request_with_the_token_finishes() {
    let (fake, host) = pools();
    let wanted = request_of_two(&host, "b1");
    fake.fail_later(1, "snapshot -o", true, Err(CommandError::TimedOut));
    fake.fail("get -H", false, Ok(failure("cannot open 'tank/pg': pool I/O is currently suspended")));
    let error = ZfsProvider::create_set(&host, &defaults(), wanted.clone()).unwrap_err();
    assert!(matches!(&error, Error::Indeterminate(_)), "{error:?}");
    assert!(host.messages().iter().any(|(level, text)| *level == Level::Warn && text.contains("b1")));
    assert_eq!(fake.snapshots().len(), 3);
    assert!(is_cut(&ZfsProvider::create_set(&host, &defaults(), wanted).unwrap()));
    assert!(is_ready(&by_token(&host, "b1").unwrap()));
    assert_eq!(fake.holds("fast/ts@b1"), ["stillframe"]);
}

#[test]
fn a_failure_is_undone_although_another_configured_pool_is_not_there() {
    let (fake, host) = pools();
    let wanted = request(&host, "b1");
    fake.by_hand("destroy fast/ts");
    fake.fail("snapshot", true, Err(CommandError::TimedOut));
    assert!(matches!(ZfsProvider::create_set(&host, &defaults(), wanted), Err(Error::Transient(_))));
    assert!(fake.snapshots().is_empty());
}

#[test]
fn snapshots_of_two_attempts_are_never_mixed() {
    let (fake, host) = pools();
    let first = create_of_two(&host, "b1").unwrap();
    // Somebody destroys the one that is cut first: another attempt would cut it after the others.
    fake.by_hand("release stillframe fast/ts@b1");
    fake.by_hand("destroy fast/ts@b1");
    host.advance_ms(60_000);
    fake.state(|state| state.now_secs += 60);
    let second = create_of_two(&host, "b1").unwrap();
    assert!(second.cut_begin_ms > first.cut_begin_ms);
    let txgs = fake.state(|state| state.snapshots.values().map(|snapshot| snapshot.creation_secs).collect::<Vec<_>>());
    assert!(txgs.iter().all(|creation| *creation == txgs[0]), "{txgs:?}");
    assert!(is_ready(&by_token(&host, "b1").unwrap()));
}

#[test]
fn what_was_not_cut_at_once_is_never_ready_nor_held() {
    let (fake, host) = pools();
    let cut = ZfsProvider::create_set(&host, &defaults(), request_of_two(&host, "b1")).unwrap();
    fake.state(|state| state.snapshots.get_mut("tank/pg@b1").unwrap().txg += 1);
    let found = by_handle(&host, &cut).unwrap();
    assert_eq!(found.members[0].state, MemberState::Cut, "of the other pool, nothing is wrong");
    for member in &found.members[1..] {
        assert!(matches!(&member.state, MemberState::Failed(reason) if reason.contains("together")), "{member:?}");
    }
    assert!(fake.snapshots().iter().all(|snapshot| fake.holds(snapshot).is_empty()));
    assert_eq!(delete(&host, &cut), Ok(Deletion::Deleted));
}

#[test]
fn missing_rights_are_told_with_the_command_that_gives_them() {
    for (rights, missing) in
        [(&["snapshot", "mount", "destroy"][..], "userprop"), (&["snapshot", "mount", "destroy", "userprop"], "hold")]
    {
        let (fake, host) = pools();
        let wanted = request(&host, "b1");
        let rights = rights.iter().map(|right| (*right).to_owned()).collect();
        fake.state(|state| state.rights = Some([("tank".to_owned(), rights)].into()));
        let made = create_and_look(&host, wanted);
        let Err(Error::Denied(text)) = made else { panic!("{missing}") };
        for dataset in ["tank/wal", "tank/pg"] {
            let command = format!("`zfs allow -u USER destroy,hold,mount,release,snapshot,userprop {dataset}`");
            assert!(text.contains(&command), "{text}");
        }
        assert!(text.contains("permission denied") && text.contains("command_prefix"), "{text}");
        for set in listed(&host) {
            assert_eq!(delete(&host, &set), Ok(Deletion::Deleted), "what cannot be held can be removed");
        }
        assert!(fake.snapshots().is_empty(), "{missing}");
    }
}

#[test]
fn a_dataset_that_has_gone_or_is_busy_may_be_tried_again() {
    let (fake, host) = pools();
    let wanted = request(&host, "b1");
    fake.fail("snapshot", false, Ok(failure("cannot create snapshot 'tank/pg@b1': dataset is busy")));
    assert!(matches!(ZfsProvider::create_set(&host, &defaults(), wanted.clone()), Err(Error::Transient(_))));
    fake.by_hand("destroy tank/wal");
    assert!(
        matches!(ZfsProvider::create_set(&host, &defaults(), wanted), Err(Error::Transient(text)) if text.contains("tank/wal"))
    );
    assert!(fake.snapshots().is_empty());
}

#[test]
fn refuses_what_could_not_be_kept_or_is_not_its_own_before_anything_runs() {
    let (_, host) = pools();
    let field = |change: &dyn Fn(&mut stillframe_sdk::CreateRequest)| {
        let mut changed = request(&host, "b1");
        change(&mut changed);
        let error = ZfsProvider::create_set(&host, &defaults(), changed).unwrap_err();
        assert!(host.calls().is_empty(), "{:?}", host.calls());
        let Error::Invalid(argument) = error else { panic!("{error:?}") };
        argument.field
    };
    for name in ["", "a b", "a@b", "a%b", "a,b", "-r", "a/b", &"x".repeat(65)] {
        assert_eq!(field(&|request| request.name = name.to_owned()), "name", "{name}");
    }
    for token in ["", "-r", "a b", "../x", "a%b", &"x".repeat(61)] {
        assert_eq!(field(&|request| request.token = token.to_owned()), "token", "{token}");
    }
    for volume in ["tank/home", "tank", "tank/pg@x", "tank/pg x", "-r", "tank/pg/../home", "tank/pgx", ""] {
        assert_eq!(field(&|request| request.volumes[0].id = volume.to_owned()), "volumes", "{volume}");
    }
    assert_eq!(field(&|request| request.volumes[1] = request.volumes[0].clone()), "volumes");
    assert_eq!(field(&|request| request.volumes.clear()), "volumes");
    assert_eq!(field(&|request| request.labels.push(("k".to_owned(), "%".repeat(1_500)))), "labels");
    assert_eq!(field(&|request| request.volumes[0].id = format!("tank/pg/{}", "x".repeat(245))), "name");
}

#[test]
fn a_hostile_label_stays_a_value() {
    let (fake, host) = pools();
    let mut wanted = request(&host, "b1");
    let hostile = ("-r tank".to_owned(), "x\ttank/pg@b1\tstillframe:token\tother\n-rf".to_owned());
    wanted.labels.push(hostile.clone());
    ZfsProvider::create_set(&host, &defaults(), wanted).unwrap();
    assert!(by_token(&host, "b1").unwrap().labels.contains(&hostile));
    let seen = fake.state(|state| state.seen.concat());
    assert!(seen.iter().all(|arg| !arg.contains(['\t', '\n', ' '])), "{seen:?}");
}
