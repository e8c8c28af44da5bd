//! Object stores from pip and npm, exact versions, installed once per target directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::places::{cache_directory, lock};

const MOTO: &str = "moto[server]==5.2.5";
const NPM_PACKAGES: [&str; 2] = ["azurite@3.37.0", "s3rver@3.7.1"];

/// Debian's own; the first on the path may be one that only its owner can run.
const DEBIAN_PYTHON: &str = "/usr/bin/python3";

/// A Python that has moto, and with it Amazon's own client.
pub fn python_with_moto() -> PathBuf {
    let directory = installed("moto", MOTO, |directory| {
        let python = if Path::new(DEBIAN_PYTHON).is_file() { DEBIAN_PYTHON } else { "python3" };
        succeed(Command::new(python).args(["-m", "venv"]).arg(directory), "install the package python3-venv");
        let mut pip = Command::new(directory.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", MOTO]);
        succeed(&mut pip, "look at the package index of pip");
    });
    directory.join("bin/python")
}

/// A program of one of the npm packages.
pub(super) fn npm_program(name: &str) -> PathBuf {
    let directory = installed("object-stores-of-npm", &NPM_PACKAGES.join(" "), |directory| {
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--silent", "--prefix"]).arg(directory).args(NPM_PACKAGES);
        succeed(&mut npm, "install the package npm");
    });
    directory.join("node_modules/.bin").join(name)
}

/// A directory that holds this version, made by `install` where it is missing.
fn installed(name: &str, version: &str, install: impl Fn(&Path)) -> PathBuf {
    let directory = cache_directory().join(name);
    let complete = directory.join("complete");
    let _lock = lock(name);
    if fs::read_to_string(&complete).ok().as_deref() != Some(version) {
        // What a killed installation left is not trusted, nor what another version did.
        let _absent = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap_or_else(|error| panic!("cannot create {}: {error}", directory.display()));
        install(&directory);
        fs::write(&complete, version).expect("the directory was just made");
    }
    directory
}

fn succeed(command: &mut Command, hint: &str) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run {command:?}: {error}; {hint}"));
    assert!(output.status.success(), "{command:?} failed: {}; {hint}", String::from_utf8_lossy(&output.stderr));
}
