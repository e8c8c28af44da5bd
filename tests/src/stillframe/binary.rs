//! Finds the binary under test, or builds it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, UNIX_EPOCH};

use crate::Account;
use crate::places::{cache_directory, lock};

/// Names the binary to test; `cargo xtask test` sets it.
const VARIABLE: &str = "STILLFRAME_BIN";
/// Longer than any test run.
const COPY_LIFETIME: Duration = Duration::from_hours(3);

/// The binary under test: what `STILLFRAME_BIN` names, else what `cargo build` makes now; the unprivileged user can run it.
pub fn binary_path() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let named = std::env::var_os(VARIABLE).map(PathBuf::from);
        let binary = named.unwrap_or_else(build);
        assert!(binary.is_file(), "{VARIABLE} names {}, which does not exist", binary.display());
        if is_runnable(&binary) { binary } else { copy_within_reach(&binary) }
    })
}

fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--package", "stillframe", "--message-format", "json-render-diagnostics"]);
    // The directory of this run, not the default one: a test executable knows where it lies.
    command.arg("--target-dir").arg(crate::places::target_directory());
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().unwrap_or_else(|error| panic!("cannot run cargo: {error}; or set {VARIABLE}"));
    assert!(output.status.success(), "`cargo build --package stillframe` failed");
    let messages = String::from_utf8_lossy(&output.stdout);
    let executable = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_ours = message["reason"] == "compiler-artifact" && message["target"]["name"] == "stillframe";
        is_ours.then(|| message["executable"].as_str().map(PathBuf::from)).flatten()
    });
    executable.expect("cargo names the executable of the package stillframe")
}

fn is_runnable(binary: &Path) -> bool {
    let mut command = Command::new(binary);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
    // It ran; what it says about `--version` is for the tests.
    Account::unprivileged().run_as(&mut command).status().is_ok()
}

/// The target directory may lie where only root can go.
fn copy_within_reach(binary: &Path) -> PathBuf {
    let metadata = fs::metadata(binary).expect("it exists");
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let name = format!("stillframe-{}-{}-{}", metadata.ino(), metadata.len(), modified.as_nanos());
    let copy = cache_directory().join(&name);
    let _lock = lock("binary");
    if !copy.is_file() {
        remove_old_copies();
        let unfinished = cache_directory().join(format!("{name}.unfinished"));
        fs::copy(binary, &unfinished).and_then(|_| fs::rename(&unfinished, &copy)).expect("the cache is ours");
    }
    assert!(is_runnable(&copy), "{} does not run as the unprivileged user", copy.display());
    copy
}

/// Copies of earlier builds, which no test that runs now still uses.
fn remove_old_copies() {
    for entry in fs::read_dir(cache_directory()).into_iter().flatten().flatten() {
        let is_copy = entry.file_name().to_string_lossy().starts_with("stillframe-");
        let age = entry.metadata().ok().and_then(|metadata| metadata.modified().ok()?.elapsed().ok());
        if is_copy && age.is_some_and(|age| age > COPY_LIFETIME) {
            let _gone_already = fs::remove_file(entry.path());
        }
    }
}
