//! What cannot be run is refused before any of it runs, with one clear error that names the provider and the cause.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::provider::{Provider, ProviderError, ProviderFault};
use stillframe_runtime::{ComponentSource, EngineKind, Grants, ProviderSettings, Runtime, RuntimeSettings, Sha256, TreeGrant};

use crate::harness::{Log, hostile, pinned, runtime, settings, whole};

/// The error of loading this text as a component.
async fn refused(component: &str) -> ProviderError {
    refused_bytes(&wat::parse_str(component).unwrap()).await
}

async fn refused_bytes(bytes: &[u8]) -> ProviderError {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("provider.wasm");
    fs::write(&path, bytes).unwrap();
    refused_settings(ProviderSettings { component: pinned(path), ..settings(&[]) }).await
}

async fn refused_settings(settings: ProviderSettings) -> ProviderError {
    let error = runtime().load(settings).await.unwrap_err();
    assert_eq!(error.to_string(), "provider `hostile` cannot be loaded");
    assert_eq!(error.class(), ErrorClass::Config);
    assert!(!error.may_have_happened());
    error
}

#[tokio::test]
async fn a_capability_that_is_not_granted_is_named() {
    let error = refused_settings(ProviderSettings { grants: Grants::default(), ..settings(&[]) }).await;
    assert_eq!(
        whole(&error),
        "provider `hostile` cannot be loaded: it needs the capability `tree`, which the configuration does not grant"
    );
    assert!(error.hint().unwrap().contains("stillframe provider inspect hostile"));
}

#[tokio::test]
async fn each_capability_must_be_granted_by_itself() {
    for capability in ["command", "aws", "http"] {
        let error = refused(&format!(
            r#"(component
                (import "stillframe:provider/{capability}@1.0.0" (instance))
                (instance $provider)
                (export "stillframe:provider/provider@1.0.0" (instance $provider)))"#
        ))
        .await;
        assert_eq!(error.fault, ProviderFault::NotGranted(capability.to_owned()), "`tree` alone is granted");
        assert!(error.hint().unwrap().contains("grant it under `[provider.hostile.grants]`"), "{:?}", error.hint());
    }
}

#[tokio::test]
async fn a_foreign_import_is_named() {
    let error = refused(
        r#"(component
            (import "wasi:http/outgoing-handler@0.2.0" (instance))
            (instance $provider)
            (export "stillframe:provider/provider@1.0.0" (instance $provider)))"#,
    )
    .await;
    assert_eq!(
        whole(&error),
        "provider `hostile` cannot be loaded: it imports `wasi:http/outgoing-handler@0.2.0`, which this host does not provide"
    );
}

#[tokio::test]
async fn a_missing_export_is_named() {
    let error = refused(r#"(component (instance $run) (export "wasi:cli/run@0.2.0" (instance $run)))"#).await;
    assert_eq!(
        whole(&error),
        "provider `hostile` cannot be loaded: it exports `wasi:cli/run@0.2.0`, but not `stillframe:provider/provider@1`"
    );
    let error =
        refused(r#"(component (instance $provider) (export "stillframe:provider/provider@1.0.0" (instance $provider)))"#).await;
    assert!(whole(&error).contains("it does not fit the interface: "), "{}", whole(&error));
    assert!(whole(&error).contains("describe"), "{}", whole(&error));
}

#[tokio::test]
async fn another_major_version_is_named() {
    for component in [
        r#"(component (instance $provider) (export "stillframe:provider/provider@2.0.0" (instance $provider)))"#,
        r#"(component (import "stillframe:provider/tree@2.0.0" (instance)))"#,
    ] {
        let text = whole(&refused(component).await);
        assert!(text.contains("@2.0.0`, but this host speaks version 1 of `stillframe:provider`"), "{text}");
    }
}

#[tokio::test]
async fn a_function_of_a_later_minor_version_is_named() {
    let error = refused(
        r#"(component
            (import "stillframe:provider/host@1.1.0" (instance (export "which" (func))))
            (instance $provider)
            (export "stillframe:provider/provider@1.1.0" (instance $provider)))"#,
    )
    .await;
    assert!(whole(&error).contains("which"), "{}", whole(&error));
}

#[tokio::test]
async fn what_is_no_component_is_told() {
    let text = whole(&refused("(module)").await);
    assert!(text.contains("it is a core module; build it for `wasm32-wasip2`"), "{text}");
    let component = fs::read(hostile()).unwrap();
    for (bytes, cause) in [
        (&b""[..], "it does not begin with `\\0asm`"),
        (b"#!/bin/sh\nexit 0\n", "it does not begin with `\\0asm`"),
        (b"\x7fELF", "it does not begin with `\\0asm`"),
        (b"\0asm\x07\0\x01\0", "unknown version of the binary format"),
        (&component[..component.len() / 2], "it cannot be compiled"),
    ] {
        let text = whole(&refused_bytes(bytes).await);
        assert!(text.contains(cause), "{text}");
    }
}

#[tokio::test]
async fn a_file_is_refused_unless_its_digest_is_the_pinned_one() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("provider.wasm");
    fs::copy(hostile(), &path).unwrap();
    let component = pinned(path.clone());
    let found = Sha256::of(&fs::read(&path).unwrap()).to_string();
    runtime().load(ProviderSettings { component: component.clone(), ..settings(&[]) }).await.unwrap();

    let text = whole(
        &refused_settings(ProviderSettings {
            component: ComponentSource::File { path: path.clone(), sha256: None },
            ..settings(&[])
        })
        .await,
    );
    assert!(text.contains("pins none"), "{text}");
    assert!(text.contains(&format!("set `sha256 = \"{found}\"` under `[provider.hostile]`")), "{text}");

    // One byte more in a custom section: the same code, another file.
    let mut changed = fs::read(&path).unwrap();
    changed.extend_from_slice(&[0, 2, 1, b'x']);
    fs::write(&path, &changed).unwrap();
    let text = whole(&refused_settings(ProviderSettings { component, ..settings(&[]) }).await);
    assert!(text.contains(&format!("has the SHA-256 `{}`, but the configuration pins `{found}`", Sha256::of(&changed))), "{text}");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_named() {
    let component = ComponentSource::File { path: "/nonexistent/provider.wasm".into(), sha256: None };
    let text = whole(&refused_settings(ProviderSettings { component, ..settings(&[]) }).await);
    assert!(text.contains("`/nonexistent/provider.wasm` cannot be read: No such file"), "{text}");
}

#[tokio::test]
async fn a_component_of_the_program_needs_no_pin() {
    let bytes: &'static [u8] = fs::read(hostile()).unwrap().leak();
    let settings = ProviderSettings { component: ComponentSource::Embedded { bytes }, ..settings(&[]) };
    assert!(runtime().load(settings).await.unwrap().check().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_root_that_looks_like_a_data_path_is_refused() {
    let tree = TreeGrant { roots: [("source-data".to_owned(), "/".into())].into(), ..TreeGrant::default() };
    let error = runtime()
        .load(ProviderSettings { grants: Grants { tree: Some(tree), ..Grants::default() }, ..settings(&[]) })
        .await
        .unwrap_err();
    assert!(whole(&error).contains("`tree.roots.source-data` is invalid"), "{}", whole(&error));
}

#[tokio::test]
async fn compiled_code_is_kept_only_where_nobody_else_can_write() {
    let place = tempfile::tempdir().unwrap();
    let component = place.path().join("provider.wasm");
    fs::write(&component, wat::parse_str("(component (core module (func)))").unwrap()).unwrap();
    for (mode, is_used) in [(0o700, true), (0o777, false), (0o755, false)] {
        let cache = place.path().join(format!("{mode:o}"));
        fs::create_dir(&cache).unwrap();
        fs::set_permissions(&cache, Permissions::from_mode(mode)).unwrap();
        let (log, _guard) = Log::begin();
        let runtime = Runtime::new(RuntimeSettings { engine: EngineKind::Auto, cache: Some(cache.clone()) });
        assert!(files_in(&cache).is_empty(), "nothing is done before a component arrives");
        runtime.inspect(&ProviderSettings { component: pinned(component.clone()), ..settings(&[]) }).await.unwrap();
        assert_eq!(!files_in(&cache).is_empty(), is_used, "{mode:o}");
        let warned = log.lines().iter().any(|line| line.contains(&format!("its mode is 0{mode:o}")));
        assert_eq!(warned, !is_used, "{mode:o}: {:?}", log.lines());
    }
}

fn files_in(directory: &Path) -> Vec<String> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}
