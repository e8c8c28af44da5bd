//! The capability `tree` reaches what the operator granted to this operation, and nothing else.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use stillframe_core::provider::{Provider, ProviderError, ProviderFault};
use stillframe_runtime::{Grants, ProviderSettings, TreeGrant};
use tempfile::TempDir;

use crate::harness::{create_request, data_paths, load, restore_request, settings, whole};

/// A root for snapshots, a data directory beside it, and a secret beside both.
fn place() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    for directory in ["snapshots", "data", "restore"] {
        fs::create_dir(place.path().join(directory)).unwrap();
    }
    fs::write(place.path().join("data/PG_VERSION"), "15\n").unwrap();
    fs::write(place.path().join("data/pg_hba.conf"), "secret").unwrap();
    fs::write(place.path().join("secret"), "secret").unwrap();
    place
}

fn granted(behaviour: &str, place: &Path, read_data: bool, write_restore: bool) -> ProviderSettings {
    let roots = [("snapshots".to_owned(), place.join("snapshots"))].into();
    let tree = TreeGrant { roots, read_data, write_restore };
    ProviderSettings { grants: Grants { tree: Some(tree), ..Grants::default() }, ..settings(&[("do", behaviour)]) }
}

#[tokio::test]
async fn the_data_has_roots_while_it_is_mapped_and_cloned_if_granted() {
    let place = place();
    let paths = data_paths(&place.path().join("data"));
    for (read_data, field, roots) in [
        (
            true,
            "Some(\"source-data\")",
            r#"roots: ["snapshots writable=true", "source-data writable=false", "source-tablespace-16384 writable=false"]"#,
        ),
        (false, "None", r#"roots: ["snapshots writable=true"]"#),
    ] {
        let provider = load(granted("tells-roots", place.path(), read_data, true)).await;
        let set = provider.create(&create_request(&paths)).await.unwrap();
        assert_eq!(set.members[0].attributes["field"], field);
        assert_eq!(set.members[0].attributes["roots"], roots);
        let volumes = provider.resolve(&paths).await.unwrap();
        assert_eq!(volumes[0].attributes["roots"], roots);
    }
}

#[tokio::test]
async fn the_data_can_be_cloned_while_a_set_is_created_and_not_be_seen() {
    let place = place();
    let error = load(granted("spies", place.path(), true, true))
        .await
        .create(&create_request(&data_paths(&place.path().join("data"))))
        .await
        .unwrap_err();
    let rule = "the root `source-data` is clone-only: it is read-only, and can be named as the source of `clone-tree` alone";
    let clone = "`snapshots:clone` is a clone, which holds the cluster's own files";
    assert_eq!(
        attempts(&error),
        [
            format!("read: denied `source-data:pg_hba.conf` cannot be read: {rule}"),
            format!("list: denied `source-data:` cannot be listed: {rule}"),
            format!("base: denied `source-data:` cannot be used as a base: {rule}"),
            format!("write: denied `source-data:new` cannot be written: {rule}"),
            "clone: done".to_owned(),
            format!("read the clone: denied `snapshots:clone/pg_hba.conf` cannot be read: {clone}"),
            format!("list the clone: denied `snapshots:clone` cannot be read: {clone}"),
        ]
    );
    assert_eq!(fs::read_to_string(place.path().join("snapshots/clone/pg_hba.conf")).unwrap(), "secret");
    assert!(!place.path().join("data/new").exists());
}

#[tokio::test]
async fn the_data_can_be_neither_seen_nor_cloned_while_it_is_mapped_to_volumes() {
    let place = place();
    let paths = data_paths(&place.path().join("data"));
    let error = load(granted("spies", place.path(), true, true)).await.resolve(&paths).await.unwrap_err();
    let attempts = attempts(&error);
    let rule =
        "the root `source-data` is clone-only: `resolve` learns its facts from `roots`, and only `create-set` can clone from it";
    assert!(attempts[..5].iter().all(|attempt| attempt.contains(": denied ") && attempt.ends_with(rule)), "{attempts:?}");
    assert!(!place.path().join("snapshots/clone").exists() && !place.path().join("data/new").exists());
}

#[tokio::test]
async fn a_target_can_be_written_and_not_be_read() {
    let place = place();
    fs::write(place.path().join("restore/pg_hba.conf"), "secret").unwrap();
    let request = restore_request(&place.path().join("restore"));
    let error = load(granted("spies", place.path(), true, true)).await.restore(&request).await.unwrap_err();
    let rule = "the root `target-data` is a target: it can be filled, listed and emptied, but not read or cloned from";
    let attempts = attempts(&error);
    assert_eq!(
        attempts[..5],
        [
            format!("read: denied `target-data:pg_hba.conf` cannot be read: {rule}"),
            "list: done".to_owned(),
            format!("base: denied `target-data:` cannot be used as a base: {rule}"),
            "write: done".to_owned(),
            format!("clone: denied `target-data:` cannot be cloned from: {rule}"),
        ]
    );
    assert_eq!(fs::read_to_string(place.path().join("restore/new")).unwrap(), "x");
    assert!(!place.path().join("snapshots/clone").exists());
}

/// What a spy says of each of its attempts.
fn attempts(error: &ProviderError) -> Vec<String> {
    let ProviderFault::Internal(told) = &error.fault else { panic!("{error:?}") };
    let plain = told.replace("Err(TreeError::Denied(\"", "denied ").replace("\"))", "").replace("Ok(())", "done");
    plain.split("; ").map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn the_target_is_writable_while_it_is_restored_to_if_granted() {
    let place = place();
    let request = restore_request(&place.path().join("restore"));
    for (write_restore, told) in [
        (true, r#"Some("target-data") roots: ["snapshots writable=true", "target-data writable=true"]"#),
        (false, r#"None roots: ["snapshots writable=true"]"#),
    ] {
        let provider = load(granted("tells-roots", place.path(), true, write_restore)).await;
        assert_eq!(provider.restore(&request).await.unwrap().handle, told);
    }
}

#[tokio::test]
async fn other_operations_see_the_configured_roots_alone() {
    let place = place();
    let told = load(granted("tree-roots", place.path(), true, true)).await.check().await.unwrap();
    assert_eq!(told, [r#"roots: ["snapshots writable=true"]"#]);
    let told = load(granted("tree-foreign", place.path(), true, true)).await.check().await.unwrap();
    assert!(told[0].starts_with("Err(TreeError::NotFound("), "{told:?}");
}

#[tokio::test]
async fn nothing_beside_a_root_can_be_read() {
    let place = place();
    let told = load(granted("tree-escape", place.path(), true, true)).await.check().await.unwrap();
    assert!(told[0].starts_with("Err(TreeError::Denied("), "{told:?}");
}

#[tokio::test]
async fn a_clone_passes_through_the_sandbox() {
    let place = place();
    let mut settings = granted("clone", place.path(), true, true);
    settings.grants.tree.as_mut().unwrap().roots =
        [("from".to_owned(), place.path().join("data")), ("to".to_owned(), place.path().join("snapshots"))].into();
    load(settings).await.delete("h").await.unwrap();
    assert_eq!(fs::read_to_string(place.path().join("snapshots/clone/PG_VERSION")).unwrap(), "15\n");
}

#[tokio::test]
async fn a_set_that_shares_the_live_files_is_not_taken_for_isolated() {
    let place = place();
    let paths = data_paths(&place.path().join("data"));
    // The set that this guest returns says that it is isolated.
    let error = load(granted("shares-the-data", place.path(), true, true)).await.create(&create_request(&paths)).await.unwrap_err();
    assert!(matches!(&error.fault, ProviderFault::BadAnswer(text) if text.contains("hard-linked")), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_clone_stops_and_is_gone_before_the_next_operation() {
    let place = place();
    for number in 0..3_000 {
        fs::write(place.path().join(format!("data/{number}")), "x").unwrap();
    }
    let mut settings = granted("clone", place.path(), true, true);
    settings.config.insert("in".to_owned(), "delete".into());
    settings.grants.tree.as_mut().unwrap().roots =
        [("from".to_owned(), place.path().join("data")), ("to".to_owned(), place.path().join("snapshots"))].into();
    let provider = Arc::new(load(settings).await);
    let entries = || fs::read_dir(place.path().join("snapshots")).unwrap().count();
    let operation = tokio::spawn({
        let provider = Arc::clone(&provider);
        async move { provider.delete("h").await }
    });
    while entries() == 0 {
        assert!(!operation.is_finished(), "the clone ended before it began");
        tokio::task::yield_now().await;
    }
    operation.abort();
    assert!(operation.await.unwrap_err().is_cancelled());
    provider.check().await.unwrap();
    assert_eq!(entries(), 0, "neither the clone nor what it was built in");
}

#[tokio::test]
async fn a_root_that_is_not_there_is_the_operators_mistake() {
    let place = place();
    fs::remove_dir(place.path().join("snapshots")).unwrap();
    let error = load(granted("nothing", place.path(), true, true)).await.check().await.unwrap_err();
    assert!(matches!(&error.fault, ProviderFault::Invalid { field, .. } if field == "tree"), "{error:?}");
    assert!(whole(&error).contains(place.path().join("snapshots").to_str().unwrap()), "{}", whole(&error));
}
