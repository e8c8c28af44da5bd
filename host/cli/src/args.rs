//! The command line.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

use crate::commands::{
    backup_mark, backup_show, config_show, delete, provider, snapshot_fetch, snapshot_push, store_create, wal_fetch, wal_push,
};

/// Snapshot backups for `PostgreSQL`: storage snapshots in backup mode, WAL in an archive, restore to any moment.
#[derive(Debug, Parser)]
#[command(name = "stillframe", version, propagate_version = true, disable_help_subcommand = true)]
#[command(after_help = "Exit codes: 0 success, 2 usage, 3 configuration, 4 refused, 5 try again, 6 corrupt, 7 internal.\n\
    wal-fetch: 1 only when the file is certainly not in the archive; errors are 202 to 207.")]
pub struct Args {
    #[command(flatten)]
    pub common: Common,
    /// Print the result as JSON on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Say more on standard error; twice for everything
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, ClapArgs)]
pub struct Common {
    /// Configuration file [default: $STILLFRAME_CONFIG, then /etc/stillframe/stillframe.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// One command each.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take a backup
    SnapshotPush(snapshot_push::Options),
    /// Restore a backup into a new data directory and prepare its recovery
    SnapshotFetch(snapshot_fetch::Options),
    /// Archive a WAL file: archive_command = 'stillframe wal-push %p'
    WalPush(wal_push::Options),
    /// Restore a WAL file: restore_command = 'stillframe wal-fetch %f %p'
    WalFetch(wal_fetch::Options),
    /// List the backups
    BackupList,
    /// Show one backup
    BackupShow(backup_show::Options),
    /// Mark a backup as permanent, or as ordinary again
    BackupMark(backup_mark::Options),
    /// Delete backups and the WAL that nobody needs; a dry run unless --confirm
    Delete(delete::Options),
    /// Show the configuration
    #[command(subcommand)]
    Config(config_show::Command),
    /// Look at providers
    #[command(subcommand)]
    Provider(provider::Command),
    /// Prepare a store
    #[command(subcommand)]
    Store(store_create::Command),
}

/// Types of arguments that several commands share.
pub mod parse {
    use std::path::PathBuf;

    use jiff::Timestamp;
    use jiff::civil::DateTime;
    use jiff::tz::TimeZone;

    /// A moment: RFC 3339, or `2026-11-21 08:32:14` with or without a zone. Without one it is the local time.
    pub fn moment(text: &str) -> Result<Timestamp, String> {
        if let Ok(moment) = text.parse::<Timestamp>() {
            return Ok(moment);
        }
        if let Ok(zoned) = jiff::fmt::strtime::parse("%Y-%m-%d %H:%M:%S%.f%#z", text).and_then(|time| time.to_timestamp()) {
            return Ok(zoned);
        }
        let local: DateTime = text.parse().map_err(|_| {
            format!("`{text}` is not a moment: write `2026-11-21 08:32:14`, or with a zone `2026-11-21T08:32:14+01:00`")
        })?;
        let zoned = local.to_zoned(TimeZone::system()).map_err(|error| error.to_string())?;
        Ok(zoned.timestamp())
    }

    /// A pair of absolute paths: `OLD=NEW`.
    pub fn mapping(text: &str) -> Result<(PathBuf, PathBuf), String> {
        let (old, new) = text.split_once('=').ok_or_else(|| format!("`{text}` is not of the form OLD=NEW"))?;
        let (old, new) = (PathBuf::from(old), PathBuf::from(new));
        if old.is_absolute() && new.is_absolute() { Ok((old, new)) } else { Err("both paths must be absolute".to_owned()) }
    }
}
