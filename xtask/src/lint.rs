//! `cargo xtask lint`: what can be said of the code without running it; `.ci/run` calls it before `cargo xtask test`.

use crate::failure::Failure;
use crate::prerequisites::ensure_component_target;
use crate::run::succeed;
use crate::workspace::{Workspace, cargo, progress};

/// Checks in the order of their price.
pub(crate) fn lint() -> Result<(), Failure> {
    ensure_component_target()?;
    let workspace = Workspace::find()?;
    let step = |what: &str, arguments: &[&str]| {
        progress(what, || succeed(cargo().args(arguments).env("RUSTDOCFLAGS", "-D warnings").current_dir(&workspace.root)))
    };
    step("checking the format", &["fmt", "--all", "--check"])?;
    step("linting", &["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    step("checking the documentation", &["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"])
}
