//! Builds the bundled providers for WebAssembly, so that they are part of the program.
//!
//! A build of its own in a target directory of its own: the outer build holds the lock of the other one. Nothing of the outer
//! build's flags may reach it, for they are meant for another target.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Package and name of every bundled provider.
const BUNDLED: [(&str, &str); 1] = [("stillframe-plugin-hardlink", "hardlink")];

const TARGET: &str = "wasm32-wasip2";

fn main() {
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let workspace = manifest.ancestors().nth(2).map_or_else(|| manifest.clone(), Path::to_owned);
    let out = PathBuf::from(variable("OUT_DIR"));
    for source in ["plugins", "sdk", "wit", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace.join(source).display());
    }
    // <target>/<profile>/build/<package>/out: all profiles share one build of the providers.
    let target = out.ancestors().nth(4).map_or_else(|| out.clone(), |target| target.join("plugins"));
    for (package, name) in BUNDLED {
        let mut cargo = Command::new(variable("CARGO"));
        cargo.current_dir(&workspace).args(["build", "--locked", "--profile", "plugin", "--target", TARGET, "--package", package]);
        cargo.env("CARGO_TARGET_DIR", &target);
        for inherited in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_TARGET"]
        {
            cargo.env_remove(inherited);
        }
        let succeeded = cargo.status().is_ok_and(|status| status.success());
        assert!(succeeded, "cannot build the provider `{name}`; if the target is missing, run `rustup target add {TARGET}`");
        let component = target.join(TARGET).join("plugin").join(format!("{}.wasm", package.replace('-', "_")));
        let copied = std::fs::copy(&component, out.join(format!("{name}.wasm")));
        assert!(copied.is_ok(), "cannot copy `{}`: {copied:?}", component.display());
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
