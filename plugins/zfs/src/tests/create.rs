//! Making a set: one command a pool, what stands on the snapshots, and that a failure leaves nothing.

use stillframe_sdk::command::CommandError;
use stillframe_sdk::{Error, Host, Level, Provider};

use super::fake::failure;
use super::{
    ZfsProvider, by_handle, by_token, changes, create, create_of_two, defaults, is_ready, pools, request, request_of_two, short,
    token,
};

#[test]
fn one_command_cuts_all_datasets_of_a_pool_and_nothing_runs_before_it() {
    let (fake, host) = pools();
    let wanted = request(&host, "b1");
    let before = host.now_ms();
    let set = ZfsProvider::create_set(&host, &defaults(), wanted).unwrap();
    assert!(host.calls()[0].starts_with("command.run zfs snapshot "));
    let changes: Vec<String> = changes(&host).iter().map(|call| short(call)).collect();
    assert_eq!(changes, ["snapshot tank/wal@b1 tank/pg@b1", "hold stillframe tank/wal@b1 tank/pg@b1"]);
    assert!(is_ready(&set) && set.atomic && set.isolated);
    assert_eq!((set.cut_begin_ms, set.cut_end_ms), (before, host.now_ms()));
    let members: Vec<(&str, &str)> = set.members.iter().map(|member| (member.volume.as_str(), member.id.as_str())).collect();
    assert_eq!(members, [("tank/wal", "tank/wal@b1"), ("tank/pg", "tank/pg@b1")]);
    assert_eq!(set.members[0].size_bytes, Some(1_048_576));
    assert_eq!(fake.holds("tank/pg@b1"), ["stillframe"]);
}

#[test]
fn the_snapshots_alone_tell_everything_of_the_set() {
    let (_, host) = pools();
    let set = create_of_two(&host, "b1").unwrap();
    let found = by_token(&host, "b1").unwrap();
    assert_eq!(found.labels, set.labels);
    assert_eq!(found.labels.iter().find(|(key, _)| key == "note").unwrap().1, "it's \"100 %\",\tok\n=");
    assert!(found.cut_end_ms >= found.cut_begin_ms);
    assert_eq!(stillframe_sdk::SnapshotSet { cut_end_ms: set.cut_end_ms, ..found }, set);
    assert_eq!(by_handle(&host, &set).unwrap().token, token("b1"));
}

#[test]
fn several_pools_are_cut_one_by_one_with_the_control_file_last_and_told_as_not_atomic() {
    let (_, host) = pools();
    let set = create_of_two(&host, "b1").unwrap();
    assert!(is_ready(&set) && !set.atomic);
    let first: Vec<String> = changes(&host).iter().map(|call| short(call)).collect();
    assert_eq!(
        first,
        ["snapshot fast/ts@b1", "snapshot tank/wal@b1 tank/pg@b1", "hold stillframe fast/ts@b1 tank/wal@b1 tank/pg@b1"]
    );
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
    for (command, answer) in [
        ("snapshot", "cannot create snapshots : out of space"),
        ("tank/wal@b1 tank/pg@b1", "cannot create snapshots : out of space"),
        ("hold stillframe", "cannot hold: out of space"),
        ("list", "cannot open 'tank/pg@b1': out of space"),
    ] {
        let (fake, host) = pools();
        let wanted = request_of_two(&host, "b1");
        fake.fail(command, false, Ok(failure(answer)));
        assert_eq!(ZfsProvider::create_set(&host, &defaults(), wanted), Err(Error::Exhausted(answer.to_owned())), "{command}");
        assert!(fake.snapshots().is_empty(), "{command}: {:?}", fake.snapshots());
    }
}

#[test]
fn a_command_whose_end_is_not_known_is_undone() {
    for (command, later) in [("snapshot", 0), ("snapshot", 1), ("hold", 0)] {
        for takes_hold in [false, true] {
            let (fake, host) = pools();
            let wanted = request_of_two(&host, "b1");
            fake.fail_later(later, command, takes_hold, Err(CommandError::TimedOut));
            let error = ZfsProvider::create_set(&host, &defaults(), wanted).unwrap_err();
            assert!(matches!(&error, Error::Transient(text) if text.contains("deadline")), "{error:?}");
            assert!(fake.snapshots().is_empty(), "{command} {takes_hold}");
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
    assert!(is_ready(&ZfsProvider::create_set(&host, &defaults(), wanted).unwrap()));
    assert_eq!(fake.holds("fast/ts@b1"), ["stillframe"]);
}

#[test]
fn a_failure_is_undone_although_another_configured_pool_is_not_there() {
    let (fake, host) = pools();
    let wanted = request(&host, "b1");
    fake.by_hand("destroy fast/ts");
    fake.fail("hold", false, Ok(failure("cannot hold snapshot 'tank/pg@b1': dataset does not exist")));
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
fn what_was_not_cut_at_once_is_not_told_as_a_set() {
    let (fake, host) = pools();
    let wanted = request(&host, "b1");
    let mut cut = Some(fake.clone());
    let meddling = fake.clone();
    host.on_command(move |invocation| {
        if invocation.args[0] == "hold"
            && let Some(fake) = cut.take()
        {
            fake.state(|state| state.snapshots.get_mut("tank/pg@b1").unwrap().txg += 1);
        }
        let args: Vec<String> = invocation.args.clone();
        Ok(meddling.state(|state| state.run(&args)))
    });
    assert!(matches!(ZfsProvider::create_set(&host, &defaults(), wanted), Err(Error::Internal(text)) if text.contains("together")));
    assert!(fake.snapshots().is_empty());
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
        let Err(Error::Denied(text)) = ZfsProvider::create_set(&host, &defaults(), wanted) else { panic!("{missing}") };
        for dataset in ["tank/wal", "tank/pg"] {
            let command = format!("`zfs allow -u USER destroy,hold,mount,release,snapshot,userprop {dataset}`");
            assert!(text.contains(&command), "{text}");
        }
        assert!(text.contains("permission denied") && text.contains("command_prefix"), "{text}");
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
