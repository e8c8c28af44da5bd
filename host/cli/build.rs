//! Builds the bundled providers for WebAssembly, so that they are part of the program, with the policies that grant them what
//! they need. A folder of `plugins` with a `policy.toml` is a bundled provider; nothing here names one.
//!
//! A build of its own in a target directory of its own: the outer build holds the lock of the other one. Nothing of the outer
//! build's flags may reach it, for they are meant for another target.

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-wasip2";

fn main() {
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let workspace = manifest.ancestors().nth(2).map_or_else(|| manifest.clone(), Path::to_owned);
    let out = PathBuf::from(variable("OUT_DIR"));
    for source in ["plugins", "sdk", "wit", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace.join(source).display());
    }
    let names = bundled(&workspace.join("plugins"));
    // <target>/<profile>/build/<package>/out: all profiles share one build of the providers.
    let target = out.ancestors().nth(4).map_or_else(|| out.clone(), |target| target.join("plugins"));
    build(&names, &workspace, &target);
    let mut table = String::from("&[\n");
    for name in &names {
        let component = target.join(TARGET).join("plugin").join(format!("stillframe_plugin_{}.wasm", name.replace('-', "_")));
        copy(&component, &out.join(format!("{name}.wasm")));
        copy(&workspace.join("plugins").join(name).join("policy.toml"), &out.join(format!("{name}.toml")));
        let files = format!("component: include_bytes!(\"{name}.wasm\"), policy: include_str!(\"{name}.toml\")");
        let written = writeln!(table, "    Bundled {{ name: \"{name}\", {files} }},");
        assert!(written.is_ok(), "a text can always be written to");
    }
    table.push_str("]\n");
    let written = fs::write(out.join("bundled.rs"), table);
    assert!(written.is_ok(), "cannot write the table of providers: {written:?}");
}

/// The folders of all bundled providers, in the order of their names.
fn bundled(plugins: &Path) -> Vec<String> {
    let entries = fs::read_dir(plugins).unwrap_or_else(|error| panic!("cannot list `{}`: {error}", plugins.display()));
    let folders = entries.flatten().filter(|entry| entry.path().join("policy.toml").exists());
    let mut names: Vec<String> = folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// All of them at once, so that what they share is built once.
fn build(names: &[String], workspace: &Path, target: &Path) {
    let mut cargo = Command::new(variable("CARGO"));
    cargo.current_dir(workspace).args(["build", "--locked", "--profile", "plugin", "--target", TARGET]);
    cargo.args(names.iter().flat_map(|name| ["--package".to_owned(), format!("stillframe-plugin-{name}")]));
    cargo.env("CARGO_TARGET_DIR", target);
    for inherited in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(inherited);
    }
    let succeeded = cargo.status().is_ok_and(|status| status.success());
    assert!(
        succeeded,
        "cannot build the providers {}; if the target is missing, run `rustup target add {TARGET}`",
        names.join(", ")
    );
}

fn copy(from: &Path, to: &Path) {
    let copied = fs::copy(from, to);
    assert!(copied.is_ok(), "cannot copy `{}`: {copied:?}", from.display());
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
