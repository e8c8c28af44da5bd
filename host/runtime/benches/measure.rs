//! Measures the sandbox from within, for `cargo xtask bench`: each line that it prints is one value in nanoseconds.
//!
//! `load COMPONENT CACHE RUNS`: a runtime of its own for each value, with the component compiled before, as a command of the program
//! has it. `call COMPONENT CACHE RUNS`: one call of `describe` on a loaded provider, a fresh instance included. `clone COMPONENT
//! CACHE SOURCE ROOT METHOD NAME [PREVIOUS]`: one snapshot set of a directory by `hardlink`; the last line is its handle.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that fails must fail loudly")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use stillframe_core::catalog::BackupName;
use stillframe_core::provider::{
    CreateRequest, DataPath, DataPathName, DataRole, Labels, OWNER_LABEL, Provider, ProviderName, Token,
};
use stillframe_runtime::{
    ComponentSource, Grants, Limits, ProviderSettings, Runtime, RuntimeSettings, Sha256, TreeGrant, WasmProvider,
};

/// Longest measured call, in seconds.
const DEADLINE_SECS: u64 = 3_600;

#[tokio::main]
async fn main() {
    // Cargo adds a flag of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["load", component, cache, runs] => {
            let component = Path::new(component);
            load(component, cache, None).await;
            for _ in 0..runs.parse().unwrap() {
                let began = Instant::now();
                let provider = load(component, cache, None).await;
                println!("{}", began.elapsed().as_nanos());
                drop(provider);
            }
        }
        ["call", component, cache, runs] => {
            let provider = load(Path::new(component), cache, None).await;
            provider.describe().await.unwrap();
            for _ in 0..runs.parse().unwrap() {
                let began = Instant::now();
                provider.describe().await.unwrap();
                println!("{}", began.elapsed().as_nanos());
            }
        }
        ["clone", component, cache, source, root, method, name] => clone(component, cache, source, root, method, name, None).await,
        ["clone", component, cache, source, root, method, name, previous] => {
            clone(component, cache, source, root, method, name, Some(previous)).await;
        }
        // The test runner starts every target once, without a word.
        _ => println!("usage: see the head of this file"),
    }
}

async fn clone(component: &str, cache: &str, source: &str, root: &str, method: &str, name: &str, previous: Option<&str>) {
    let provider = load(Path::new(component), cache, Some((root, method))).await;
    let path = DataPath {
        role: DataRole::Data,
        name: DataPathName::Data,
        path: source.into(),
        mount_point: "/".into(),
        fs_type: "any".to_owned(),
        mount_source: "any".to_owned(),
        devices: Vec::new(),
        skip: Vec::new(),
        last: Vec::new(),
    };
    let volumes = provider.resolve(&[path]).await.unwrap();
    let request = CreateRequest {
        token: Token(name.to_owned()),
        name: BackupName::try_from(name.to_owned()).unwrap(),
        volumes,
        labels: Labels::from([(OWNER_LABEL.to_owned(), "bench".to_owned())]),
        previous: previous.map(str::to_owned),
    };
    let began = Instant::now();
    let set = provider.create(&request).await.unwrap();
    println!("{}", began.elapsed().as_nanos());
    println!("{}", set.handle);
}

async fn load(component: &Path, cache: &str, root_and_method: Option<(&str, &str)>) -> WasmProvider {
    let runtime = Runtime::new(RuntimeSettings { cache: Some(PathBuf::from(cache)), ..RuntimeSettings::default() });
    let roots =
        root_and_method.map(|(root, _)| ("snapshots".to_owned(), PathBuf::from(root))).into_iter().collect::<BTreeMap<_, _>>();
    let config = root_and_method.map_or_else(serde_json::Map::new, |(root, method)| {
        let pairs = [("root", root), ("method", method)];
        pairs.into_iter().map(|(key, value)| (key.to_owned(), serde_json::Value::from(value))).collect()
    });
    let settings = ProviderSettings {
        name: ProviderName::try_from("bench".to_owned()).unwrap(),
        component: ComponentSource::File {
            path: component.to_owned(),
            sha256: Some(Sha256::of(&std::fs::read(component).unwrap())),
        },
        config,
        grants: Grants { tree: Some(TreeGrant { roots, read_data: true, write_restore: false }), ..Grants::default() },
        limits: Limits { deadline_secs: Some(DEADLINE_SECS), ..Limits::default() },
        command_prefix: Vec::new(),
    };
    runtime.load(settings).await.unwrap()
}
