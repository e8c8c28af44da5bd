//! A provider can be looked at before anything is granted to it.

use std::fs;

use stillframe_core::provider::Provider;
use stillframe_runtime::{ComponentSource, Grants, ProviderSettings, Sha256};

use crate::harness::{hostile, hostile_that, pinned, runtime, settings, whole};

#[tokio::test]
async fn a_provider_describes_itself_with_every_capability_off() {
    let description = hostile_that("panic").await.describe().await.unwrap();
    assert_eq!(description.summary, r#"TreeError::Denied("every capability is switched off while a provider describes itself")"#);
    assert_eq!((description.name.as_str(), description.version.as_str()), ("hostile", "6.6.6"));
    assert!(description.features.restore && description.features.immediate && !description.features.lock);
}

#[tokio::test]
async fn tells_all_about_a_component_that_is_neither_pinned_nor_granted() {
    let component = ComponentSource::File { path: hostile(), sha256: None };
    let settings = ProviderSettings { component, grants: Grants::default(), ..settings(&[]) };
    let inspection = runtime().inspect(&settings).await.unwrap();
    let bytes = fs::read(hostile()).unwrap();
    assert_eq!(inspection.sha256, Sha256::of(&bytes));
    assert_eq!(inspection.pinned_sha256, None);
    assert_eq!(inspection.size_bytes, bytes.len() as u64);
    assert_eq!(inspection.interface_version.as_deref(), Some("1.0.0"));
    assert!(inspection.imports.iter().any(|name| name == "stillframe:provider/tree@1.0.0"), "{:?}", inspection.imports);
    assert!(inspection.exports.iter().any(|name| name == "stillframe:provider/restore@1.0.0"), "{:?}", inspection.exports);
    assert_eq!(inspection.problems.len(), 2, "{:?}", inspection.problems);
    assert!(inspection.problems[0].contains("pins none"), "{:?}", inspection.problems);
    assert!(inspection.problems[1].contains("the capability `tree`"), "{:?}", inspection.problems);
    let tree = &inspection.capabilities[0];
    assert_eq!((tree.capability.as_str(), tree.imported, tree.reason.as_deref()), ("tree", true, Some("to look around")));
    assert!(tree.granted.is_empty());
    assert_eq!(inspection.description.unwrap().name, "hostile");
    assert_eq!(inspection.description_problem, None);
}

#[tokio::test]
async fn shows_a_grant_in_full() {
    let mut settings = settings(&[]);
    let tree = settings.grants.tree.as_mut().unwrap();
    tree.roots.insert("snapshots".to_owned(), "/srv/snapshots".into());
    (tree.read_data, tree.write_restore) = (true, true);
    let inspection = runtime().inspect(&settings).await.unwrap();
    assert!(inspection.problems.is_empty(), "{:?}", inspection.problems);
    let json = serde_json::to_value(&inspection).unwrap();
    assert_eq!(
        json["capabilities"][0]["granted"],
        serde_json::json!([
            "read and write `/srv/snapshots` as `snapshots`",
            "clone the cluster's directories, without reading a file of them, while a snapshot set is created",
            "fill the directories that a snapshot set is restored to",
        ])
    );
    assert_eq!(json["sha256"], json["pinned_sha256"]);
}

#[tokio::test]
async fn reports_a_component_that_is_no_provider() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("other.wasm");
    let other = r#"(component (import "wasi:http/types@0.2.0" (instance (export "send" (func)))))"#;
    fs::write(&path, wat::parse_str(other).unwrap()).unwrap();
    let inspection = runtime().inspect(&ProviderSettings { component: pinned(path.clone()), ..settings(&[]) }).await.unwrap();
    assert_eq!(inspection.imports, ["wasi:http/types@0.2.0"]);
    assert_eq!(inspection.problems.len(), 2, "{:?}", inspection.problems);
    assert!(inspection.description.is_none() && inspection.description_problem.is_some());

    fs::write(&path, "garbage").unwrap();
    let error = runtime().inspect(&ProviderSettings { component: pinned(path), ..settings(&[]) }).await.unwrap_err();
    assert_eq!(
        whole(&error),
        "provider `hostile` cannot be inspected: it is not a WebAssembly component: it does not begin with `\\0asm`"
    );
}
