//! The rights of a provider's programs, as its documentation gives them.

use std::fs;
use std::path::Path;

use crate::{is_guest, succeed};

/// Where the lines go; only a guest's file system may be changed so.
const FILE: &str = "/etc/sudoers.d/stillframe";

/// Takes the lines for sudo from the documentation of a provider, so that these are tested too.
#[track_caller]
pub fn allow_as_documented(provider: &str) {
    allow_as_documented_with(provider, str::to_owned);
}

/// The same, with the operator's own names put in.
#[track_caller]
pub fn allow_as_documented_with(provider: &str, adapt: impl FnOnce(&str) -> String) {
    assert!(is_guest(), "this machine's own rights stay as they are");
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/providers").join(format!("{provider}.md"));
    let text = fs::read_to_string(&document).unwrap_or_else(|error| panic!("{}: {error}", document.display()));
    let block = text.split("```").find(|block| block.contains("ALL=(root) NOPASSWD:"));
    let lines = block.unwrap_or_else(|| panic!("{} has no lines for sudo", document.display()));
    // Behind what the fence says.
    let (_, lines) = lines.split_once('\n').unwrap_or_default();
    fs::write(FILE, adapt(lines)).unwrap();
    succeed("chmod", &["0440", FILE]);
    succeed("visudo", &["--check", "--file", FILE]);
}
