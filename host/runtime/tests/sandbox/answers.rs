//! What a provider answers is checked: each answer here is correct but for the one fault that it is named after.

use std::path::Path;

use stillframe_core::error::Classify;
use stillframe_core::provider::{Deletion, LockMode, MemberState, Provider, ProviderError, ProviderFault, SetReference, Token};
use stillframe_runtime::WasmProvider;

use crate::harness::{OWNER, create_request, data_paths, hostile_that, load, restore_request, settings_until, whole};

/// The fault's own words.
fn cause(behaviour: &str, error: &ProviderError) -> String {
    match &error.fault {
        ProviderFault::BadAnswer(cause) => cause.clone(),
        _ => panic!("{behaviour}: {}", whole(error)),
    }
}

async fn create(provider: &WasmProvider) -> Result<stillframe_core::provider::SnapshotSet, ProviderError> {
    provider.create(&create_request(&data_paths(Path::new("/")))).await
}

#[tokio::test]
async fn correct_answers_pass() {
    let provider = hostile_that("nothing").await;
    let paths = data_paths(Path::new("/"));
    assert_eq!(provider.name().as_str(), "hostile");
    let volumes = provider.resolve(&paths).await.unwrap();
    assert_eq!(volumes.iter().flat_map(|volume| volume.paths.clone()).collect::<Vec<_>>(), paths);
    let set = create(&provider).await.unwrap();
    assert_eq!((set.handle.as_str(), set.members.len()), ("handle-token-1", 2));
    assert_eq!(set.members[0].state, MemberState::Ready);
    assert_eq!(set.cut_begin.as_millisecond(), 1_700_000_000_000);
    let found = provider.get(&SetReference::Token(Token("token-9".to_owned()))).await.unwrap().unwrap();
    assert_eq!(found.token.0, "token-9");
    assert_eq!(provider.get(&SetReference::Handle("h".to_owned())).await.unwrap().unwrap().handle, "h");
    assert_eq!(hostile_that("finds-nothing").await.get(&SetReference::Handle("h".to_owned())).await.unwrap(), None);
    let listed: Vec<String> = provider.list(OWNER).await.unwrap().into_iter().map(|set| set.handle).collect();
    assert_eq!(listed, ["handle-token-0", "handle-token-1"]);
    assert_eq!(provider.delete("h").await.unwrap(), Deletion::Deleted);
    let restored = provider.restore(&restore_request(Path::new("/srv/data"))).await.unwrap();
    assert_eq!(restored.directories[0].1, Path::new("/srv/data"));
    provider.release(&restored.handle).await.unwrap();
}

#[tokio::test]
async fn refuses_volumes_that_do_not_hold_every_path_once() {
    for (behaviour, expected) in [
        ("forgets-a-path", "no volume holds the path `/`"),
        ("doubles-a-path", "the path `data` was not asked about, or occurs twice"),
        ("invents-a-path", "the path `tablespace-666` was not asked about, or occurs twice"),
        ("doubles-a-volume", "the volume `vol-data` occurs twice"),
        ("empty-volume", "the volume `vol-empty` holds no path"),
    ] {
        let error = hostile_that(behaviour).await.resolve(&data_paths(Path::new("/"))).await.unwrap_err();
        assert_eq!(error.to_string(), "provider `hostile` cannot map the data paths to volumes");
        assert_eq!(cause(behaviour, &error), expected);
    }
}

#[tokio::test]
async fn the_facts_about_a_path_stay_the_hosts_own() {
    let paths = data_paths(Path::new("/"));
    let volumes = hostile_that("moves-a-path").await.resolve(&paths).await.unwrap();
    assert_eq!(volumes[0].paths[0], paths[0]);
}

#[tokio::test]
async fn refuses_a_set_that_is_not_the_one_to_be_created() {
    for (behaviour, expected) in [
        ("long-handle", "the handle has 1025 bytes, and 1024 are allowed"),
        ("empty-handle", "the handle is empty"),
        ("control-handle", "the handle `a\\u{1b}b` contains control characters"),
        ("forgets-a-member", "no member is the snapshot of the volume `vol-tablespace-16384`"),
        ("doubles-a-member", "two members are snapshots of the volume `vol-data`"),
        ("invents-a-member", "the set has 3 members for 2 volumes"),
        ("not-cut", "it returned before the point in time of `vol-data` was fixed"),
        ("failed-member", "it returned before the point in time of `vol-data` was fixed"),
        ("much-percent", "a member is 101 percent complete"),
        ("other-token", "it created the set `sf-20261121T083214Z-9k3m2p7x` with the token `other`"),
        ("other-name", "it created the set `other` with the token `token-1`"),
        ("no-date", "the end of the cut is 18446744073709551615 ms after 1970, which is no date"),
        ("backwards", "the cut ends before it begins"),
        ("loses-a-label", "the set does not keep the label `stillframe-owner`"),
        ("many-labels", "it gave 42 labels, and 40 are allowed"),
        ("double-label", "the key `stillframe-owner` occurs twice in its labels"),
        ("long-label", "the value of `key` has 257 bytes, and 256 are allowed"),
    ] {
        let error = create(&hostile_that(behaviour).await).await.unwrap_err();
        assert_eq!(error.to_string(), "provider `hostile` cannot create the snapshot set");
        assert_eq!(cause(behaviour, &error), expected);
        assert!(error.may_have_happened(), "the set may be there nevertheless");
    }
    let text = whole(&create(&hostile_that("huge-handle").await).await.unwrap_err());
    assert!(text.contains("too much data is being copied"), "{text}");
}

#[tokio::test]
async fn refuses_another_set_than_the_one_asked_about() {
    let provider = hostile_that("finds-another").await;
    for reference in [SetReference::Token(Token("t".to_owned())), SetReference::Handle("h".to_owned())] {
        let error = provider.get(&reference).await.unwrap_err();
        assert_eq!(cause("finds-another", &error), "it was asked about another set than `other`");
    }
}

#[tokio::test]
async fn refuses_a_listing_that_is_foreign_or_does_not_end() {
    for (behaviour, expected) in [
        ("foreign-set", "it listed the set `handle-token-0`, which belongs to another owner"),
        ("same-set", "it listed the set `handle-token-0` twice"),
        ("same-cursor", "its listing comes back to an earlier page"),
        ("long-page", "it gave 101 sets on a page, and 100 are allowed"),
    ] {
        let error = hostile_that(behaviour).await.list(OWNER).await.unwrap_err();
        assert_eq!(error.to_string(), "provider `hostile` cannot list its snapshot sets");
        assert_eq!(cause(behaviour, &error), expected);
    }
    let error = load(settings_until(600, &[("do", "endless-pages")])).await.list(OWNER).await.unwrap_err();
    assert_eq!(cause("endless-pages", &error), "its listing has more than 1000 pages");
}

#[tokio::test]
async fn a_listing_without_end_keeps_to_one_deadline() {
    let error = load(settings_until(1, &[("do", "endless-slow-pages")])).await.list(OWNER).await.unwrap_err();
    assert_eq!(error.fault, ProviderFault::Deadline { seconds: 1 });
}

#[tokio::test]
async fn refuses_directories_that_are_not_the_ones_to_be_restored() {
    for (behaviour, expected) in [
        ("forgets-a-directory", "the directories that it restored are not the ones of the request"),
        ("relative-directory", "the path `data` is not absolute, or leads upwards"),
        ("upward-directory", "the path `/srv/../etc` is not absolute, or leads upwards"),
        ("elsewhere", "it restored `data` to `/run/elsewhere/data`, which is not the directory asked for"),
    ] {
        let error = hostile_that(behaviour).await.restore(&restore_request(Path::new("/srv/data"))).await.unwrap_err();
        assert_eq!(error.to_string(), "provider `hostile` cannot restore the snapshot set");
        assert_eq!(cause(behaviour, &error), expected);
    }
}

#[tokio::test]
async fn a_restore_elsewhere_lies_strictly_below_what_is_granted_for_that() {
    for (below, passes) in
        [("/run/elsewhere", true), ("/run", true), ("/run/elsewhere/data", false), ("/run/else", false), ("/x", false)]
    {
        let mut settings = settings_until(60, &[("do", "elsewhere")]);
        settings.grants.restore_below = vec!["/y".into(), below.into()];
        let restored = load(settings).await.restore(&restore_request(Path::new("/srv/data"))).await;
        assert_eq!(restored.is_ok(), passes, "{below}: {restored:?}");
        if let Err(error) = restored {
            let expected = format!("which is not the directory asked for, and does not lie below `/y` or `{below}`");
            assert!(cause(below, &error).ends_with(&expected), "{error:?}");
        }
    }
}

#[tokio::test]
async fn a_lock_of_a_provider_that_has_none_is_unsupported_and_no_success() {
    let provider = hostile_that("nothing").await;
    let until = "2026-12-01T00:00:00Z".parse().unwrap();
    for error in [
        provider.lock("h", LockMode::Compliance, until).await.unwrap_err(),
        provider.lock("h", LockMode::Governance, until).await.unwrap_err(),
        provider.unlock("h").await.unwrap_err(),
    ] {
        assert_eq!(error.fault, ProviderFault::Unsupported("`lock`: it does not export that interface".to_owned()));
    }
}

#[tokio::test]
async fn too_many_warnings_are_refused_and_long_ones_are_cut() {
    let error = hostile_that("many-warnings").await.check().await.unwrap_err();
    assert_eq!(cause("many-warnings", &error), "it gave 101 warnings, and 100 are allowed");
    let warnings = hostile_that("long-warning").await.check().await.unwrap();
    assert!(warnings[0].starts_with("\\u{1b}[31m") && warnings[0].len() < 5 << 10, "{}", warnings[0].len());
}

#[tokio::test]
async fn an_error_of_the_interface_keeps_its_case_and_is_made_fit_to_read() {
    for (behaviour, expected) in [
        ("fail-invalid", ProviderFault::Invalid { field: "key".to_owned(), message: "is wrong".to_owned() }),
        ("fail-busy", ProviderFault::Busy { retry_after_ms: Some(3_600_000) }),
        ("fail-exhausted", ProviderFault::Exhausted("the pool `tank`".to_owned())),
    ] {
        let error = hostile_that(behaviour).await.delete("h").await.unwrap_err();
        assert_eq!(error.fault, expected);
    }
    let error = hostile_that("fail-locked").await.delete("h").await.unwrap_err();
    assert!(cause("fail-locked", &error).starts_with("the end of the lock is"));
    let text = whole(&hostile_that("fail-long").await.delete("h").await.unwrap_err());
    assert!(
        text.starts_with("provider `hostile` cannot delete the snapshot set: internal error of the provider: \\u{1b}]0;x\\u{7}"),
        "{text}"
    );
    assert!(text.len() < 5 << 10);
    assert!(hostile_that("panic").await.delete("h").await.unwrap_err().hint().is_some());
}
