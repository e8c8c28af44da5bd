//! The flags that every command takes.

use std::path::PathBuf;

use clap::Args;

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Configuration file [default: `STILLFRAME_CONFIG`, then /etc/stillframe/stillframe.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// For commands that print no result: `--json` is understood, so that it can be refused in plain words, and not listed.
#[derive(Debug, Clone, Args)]
pub struct NoResult {
    #[arg(long, hide = true)]
    json: bool,
}
