//! The command line.

use clap::{Parser, Subcommand};

use crate::commands::{
    archive_accept, backup_lock, backup_mark, backup_show, can_restore, check, config_show, delete, drill, provider, reconcile,
    recovery_status, restore_point, session, snapshot_fetch, snapshot_push, snapshot_release, store_create, wal_daemon, wal_fetch,
    wal_push, wal_show, wal_verify, window,
};
use crate::common::Common;
use crate::progress::Choice;

/// Snapshot backups for PostgreSQL: storage snapshots in backup mode, WAL in an archive, restore to any moment.
#[derive(Debug, Parser)]
#[command(name = "stillframe", version, propagate_version = true, disable_help_subcommand = true)]
#[command(after_help = "Exit codes: 0 success, 2 usage, 3 configuration, 4 refused, 5 try again, 6 corrupt, 7 internal.\n\
    wal-fetch: 1 only when the file is certainly not in the archive; errors are 202 to 207.\n\
    check: 0 all well, 1 a warning, 2 critical, 3 could not check.\n\
    wal-verify: 4 WAL is missing, 6 it is damaged, 3 it could not be verified, 5 the store failed.\n\
    drill: 6 the backup failed it.\n\
    session status: 1 the session is void. session end: 4 it is void, another code means that it can be repeated.\n\
    recovery status: 0 the target is reached, 4 it will not be, 5 not yet or not proven.\n\
    can-restore: 1 no, 3 not proven. window: 1 nothing can be recovered.\n\
    130: interrupted twice; `reconcile` or `snapshot-release` removes what is left.")]
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

/// One command each.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take a backup
    SnapshotPush(snapshot_push::Options),
    /// Restore a backup into a new data directory and prepare its recovery
    SnapshotFetch(snapshot_fetch::Options),
    /// Follow the recovery of a restored server, and end its lock-out
    #[command(subcommand)]
    Recovery(recovery_status::Command),
    /// Give back what a provider mounted, cloned or attached for a restore
    SnapshotRelease(snapshot_release::Options),
    /// Archive a WAL file; PostgreSQL calls it as `archive_command`
    WalPush(wal_push::Options),
    /// Restore a WAL file; PostgreSQL calls it as `restore_command`
    WalFetch(wal_fetch::Options),
    /// Archive and restore WAL for clients at a socket; speaks the protocol of WAL-G's daemon
    WalDaemon(wal_daemon::Options),
    /// Fetch WAL ahead of a server that recovers; `wal-fetch` starts it
    #[command(hide = true)]
    WalPrefetch(wal_fetch::prefetch::Options),
    /// Show what the archive holds: timelines, segments, gaps
    WalShow(wal_show::Options),
    /// Prove that the archive holds what restoring needs; the exit code tells
    WalVerify(wal_verify::Options),
    /// Show what can be recovered: intervals of every timeline, gaps, and why
    Window(window::Options),
    /// Answer whether a target can be reached, from which backup and over which WAL; the exit code tells
    CanRestore(can_restore::Options),
    /// List the backups
    BackupList,
    /// Show one backup
    BackupShow(backup_show::Options),
    /// Mark a backup as permanent, or as ordinary again
    BackupMark(backup_mark::Options),
    /// Keep a backup from being deleted before a moment, or lift that lock
    BackupLock(backup_lock::Options),
    /// Name a moment and keep what restoring it needs, as an increment of a backup
    #[command(subcommand)]
    RestorePoint(restore_point::Command),
    /// Prove the set-up: rights, archiving, directories, providers, store, backups; the exit code tells
    Check(check::Options),
    /// Delete backups and the WAL that nobody needs; a dry run unless --confirm
    Delete(delete::Options),
    /// Restore a backup beside the living server, recover and check it, and release everything
    Drill(drill::Options),
    /// Settle what interruptions left: snapshots without a record, and records without a snapshot; a dry run unless --confirm
    Reconcile(reconcile::Options),
    /// Hold backup mode for a tool that cuts or copies by itself: begin, end, status, abort
    #[command(subcommand)]
    Session(session::Command),
    /// Show the configuration, or make one of the settings of WAL-G
    #[command(subcommand)]
    Config(config_show::Command),
    /// Look at providers
    #[command(subcommand)]
    Provider(provider::Command),
    /// Say which server archives
    #[command(subcommand)]
    Archive(archive_accept::Command),
    /// Prepare a store
    #[command(subcommand)]
    Store(store_create::Command),
}

impl Command {
    /// Whether it prints a result. Those without one are run by PostgreSQL or a service manager.
    pub fn has_result(&self) -> bool {
        !matches!(self, Self::WalPush(_) | Self::WalFetch(_) | Self::WalDaemon(_) | Self::WalPrefetch(_))
    }

    /// How it shows its progress, if it can last.
    pub fn progress(&self) -> Option<Choice> {
        match self {
            Self::SnapshotPush(options) => Some(options.progress.progress),
            Self::SnapshotFetch(options) => Some(options.progress.progress),
            Self::Delete(options) => Some(options.progress.progress),
            Self::Drill(options) => Some(options.progress.progress),
            Self::Reconcile(options) => Some(options.progress.progress),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn json_is_listed_where_there_is_a_result_and_understood_everywhere() {
        let mut all = Args::command();
        all.build();
        for command in all.get_subcommands() {
            let json = command.get_arguments().find(|argument| argument.get_long() == Some("json")).unwrap();
            let name = command.get_name();
            let has_none = ["wal-push", "wal-fetch", "wal-daemon", "wal-prefetch"].contains(&name);
            assert_eq!(json.is_hide_set(), has_none, "{name}");
        }
        for line in [&["--json", "wal-push", "x"][..], &["wal-push", "--json", "x"], &["wal-fetch", "x", "y", "--json"]] {
            let args = Args::try_parse_from([&["stillframe"], line].concat()).unwrap();
            assert!(args.json && !args.command.has_result(), "{line:?}");
        }
        let args = Args::try_parse_from(["stillframe", "backup-list", "--json"]).unwrap();
        assert!(args.json && args.command.has_result());
    }
}
