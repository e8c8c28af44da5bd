//! Sessions that end otherwise than by `end`: what was copied in them is no backup, and everybody is told so.

use serde_json::Value;
use stillframe_tests::StopMode;

use crate::{assert_void, begin, end, kill_owner, owners, site, state, wait_until};

#[test]
fn a_session_that_times_out_is_void_for_ever_and_says_so() {
    let site = site();
    let id = begin(&site, &["--timeout", "1"]);
    site.wait_until_no_session_is_left();
    wait_until("the owner has ended", || owners(&site).is_empty());
    assert_void(&site, &id, "timed-out");
    let none = site.stillframe.succeed(["--json", "session", "begin", "--timeout", "0"]).json();
    assert_eq!(none["timeout_secs"], Value::Null, "0 is none");
    site.stillframe.succeed(["session", "abort", none["session_id"].as_str().unwrap()]);
}

#[test]
fn an_aborted_session_is_void_and_may_be_aborted_again() {
    let site = site();
    let id = begin(&site, &[]);
    for _ in 0..2 {
        site.stillframe.succeed(["session", "abort", &id]);
        site.wait_until_no_session_is_left();
    }
    assert_void(&site, &id, "aborted");
}

#[test]
fn a_session_whose_server_was_restarted_is_void_and_its_end_prints_no_label() {
    let mut site = site();
    let id = begin(&site, &[]);
    site.cluster.stop(StopMode::Fast);
    site.cluster.start();
    let ended = end(&site, &id, &[]);
    assert_eq!((ended.code(), ended.stdout.as_str()), (Some(4), ""), "{ended}");
    assert_void(&site, &id, "lost");
}

#[test]
fn a_lost_connection_is_noticed_without_anybody_asking() {
    let site = site();
    let id = begin(&site, &[]);
    // This test may; the product never does.
    site.cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'stillframe'");
    wait_until("the owner has ended", || owners(&site).is_empty());
    assert_void(&site, &id, "lost");
}

#[test]
fn a_killed_owner_leaves_a_void_session() {
    let site = site();
    let id = begin(&site, &[]);
    kill_owner(&site);
    site.wait_until_no_session_is_left();
    assert_eq!(state(&site, &id), "killed", "the dead cannot write it");
    assert_eq!(end(&site, &id, &[]).code(), Some(4));
    assert_void(&site, &id, "killed");
}

#[test]
fn the_next_begin_settles_a_session_whose_owner_was_killed() {
    let site = site();
    let killed = begin(&site, &[]);
    kill_owner(&site);
    let next = begin(&site, &[]);
    assert_eq!(site.intents().len(), 1, "that of the next one");
    assert_eq!(state(&site, &killed), "killed");
    assert!(end(&site, &next, &[]).is_success());
    assert_eq!(end(&site, &killed, &[]).code(), Some(4), "a backup that is there is not its backup");
}
