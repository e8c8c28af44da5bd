//! `cargo xtask plugins`: the provider components, their sizes and their digests.

use std::fs;
use std::process::Command;

use crate::failure::Failure;
use crate::prerequisites::ensure_component_target;
use crate::run::captured;
use crate::workspace::Workspace;

/// Compiles every component and prints what a configuration pins.
pub(crate) fn plugins() -> Result<(), Failure> {
    ensure_component_target()?;
    let workspace = Workspace::find()?;
    for file in workspace.build_components()? {
        let size_bytes = fs::metadata(&file).map_err(Failure::io(format!("look at `{}`", file.display())))?.len();
        let line = captured(Command::new("sha256sum").arg(&file))?;
        let digest = line.split_whitespace().next().unwrap_or_default().trim_start_matches('\\');
        println!("{size_bytes:>9} bytes  sha256 {digest}  {}", file.display());
    }
    Ok(())
}
