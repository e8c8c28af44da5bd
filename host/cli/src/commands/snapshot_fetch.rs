//! `snapshot-fetch`: restores a backup and prepares its recovery.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;
use stillframe_core::catalog::RestoreRecord;
use stillframe_core::data_directory::{Archiving, InvalidRole, LockOut, RecoverySettings, TargetAction};
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::flows::{
    Announcement, BackupSelector, FetchReport, FetchRequest, Isolation, MissingWal, Ports, Precautions, SEGMENTS_TO_READ,
    SalvagedWal, snapshot_fetch,
};

use super::restored_server::own_user;
use super::target::{TargetOptions, selector_or_increment};
use super::view::{BackupView, RestoreView};
use crate::common::Common;
use crate::config::{Config, host_name};
use crate::exit::Failure;
use crate::output::{count, print};
use crate::parse;
use crate::progress::ProgressOptions;
use crate::wiring::{World, interrupted, new_token, program};

/// What is left when it is interrupted twice.
const LEFT: &str = "the rest for `snapshot-release`";

#[derive(Debug, Args)]
#[command(
    after_help = "The directory comes first, then the backup. Before anything is made, the archived WAL is asked whether it reaches the \
    target, as `can-restore` asks it; what it does not reach is refused."
)]
pub struct Options {
    /// The new data directory: missing or empty, or with this backup's snapshot mounted
    destination: PathBuf,
    /// Name of the backup or of a restore point that continues one, or LATEST [default: the newest from which the target can be reached]
    #[arg(value_parser = backup_behind_directory)]
    backup: Option<BackupSelector>,
    #[command(flatten)]
    target: TargetOptions,
    /// What the server does at the target
    #[arg(long, value_name = "ACTION", value_enum, default_value = "pause")]
    target_action: Action,
    /// Restore the tablespace at OLD to NEW
    #[arg(long, value_name = "OLD=NEW", value_parser = parse::mapping)]
    tablespace_mapping: Vec<(PathBuf, PathBuf)>,
    /// Where `pg_wal` shall point when the original has it elsewhere: an empty directory
    #[arg(long, value_name = "DIRECTORY")]
    wal_directory: Option<PathBuf>,
    /// Replay also what this old cluster, which is stopped, has not archived: its data directory, or its `pg_wal`. It stays as it is
    #[arg(long, value_name = "DIRECTORY")]
    salvage_wal: Option<PathBuf>,
    /// Admit nobody but this role, by the local socket and as the system user of that name, until `recovery accept` [default role:
    /// the name of the user that runs this]
    #[arg(long, value_name = "ROLE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    lock_out: Option<String>,
    /// Whether the restored server archives: `off` for a test beside the living original
    #[arg(long, value_enum, default_value = "keep")]
    archiving: ArchivingChoice,
    /// For tests: accept a snapshot that changed with the live cluster
    #[arg(long)]
    allow_not_isolated: bool,
    /// Restore although WAL up to the target is not in the archive: it will lie in the copy's `pg_wal` before the server starts
    #[arg(long)]
    allow_missing_wal: bool,
    /// The server's `restore_command`, with %f and %p, for WAL that another tool keeps: what it reaches is not checked before
    ///
    /// It must end with a code above 125, or by a signal, when it could not find out whether a file exists: PostgreSQL takes every code
    /// from 1 to 125 for an absence, and ends recovery there.
    #[arg(long, value_name = "COMMAND")]
    restore_command: Option<String>,
    /// Restore from a store that may only be read: the restore is not recorded, and no deletion waits for it. Copies only
    #[arg(long)]
    unannounced: bool,
    /// Segments of WAL that are read at most, to find the target in them
    #[arg(long, value_name = "N", default_value_t = SEGMENTS_TO_READ)]
    scan: u64,
    #[command(flatten)]
    pub progress: ProgressOptions,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Action {
    /// Wait, open for reading
    Pause,
    /// Open for writing, on a new timeline
    Promote,
    /// Stop
    Shutdown,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ArchivingChoice {
    /// As the original
    Keep,
    /// Not at all
    Off,
}

/// PostgreSQL could not read what root restores.
#[derive(Debug, thiserror::Error)]
#[error("root cannot restore a data directory")]
pub(super) struct RunAsRoot {
    command: &'static str,
}

impl RunAsRoot {
    pub(super) fn new(command: &'static str) -> Self {
        Self { command }
    }
}

impl Classify for RunAsRoot {
    fn class(&self) -> ErrorClass {
        ErrorClass::Refused
    }

    fn hint(&self) -> Option<String> {
        Some(format!("run it as the user that runs PostgreSQL: `runuser -u postgres -- stillframe {} …`", self.command))
    }
}

#[derive(Serialize)]
struct FetchView {
    destination: PathBuf,
    restored_by_provider: bool,
    /// What must be released one day; null when the data lies in its place.
    restore: Option<RestoreView>,
    /// Until when the backup is kept for this copy, unless it is released before; null for what must be released.
    kept_until: Option<String>,
    /// What was taken from the old cluster; null when nothing was asked for.
    salvaged: Option<SalvagedView>,
    /// The only role that may connect; null when the server's own rules count.
    locked_out_for: Option<String>,
    #[serde(flatten)]
    backup: BackupView,
}

#[derive(Serialize)]
struct SalvagedView {
    segments: usize,
    histories: usize,
    /// Where the first of the segments begins.
    from_lsn: Option<String>,
    /// Where the last record in them begins.
    last_record_lsn: Option<String>,
    ends_in_partial: bool,
    /// How many of the files are in the archive by now.
    archived: usize,
    files: Vec<String>,
    left: Vec<String>,
}

impl From<&SalvagedWal> for SalvagedView {
    fn from(salvaged: &SalvagedWal) -> Self {
        Self {
            segments: salvaged.segments(),
            histories: salvaged.files.len() - salvaged.segments(),
            from_lsn: salvaged.span.map(|(from, _)| from.to_string()),
            last_record_lsn: salvaged.span.map(|(_, last)| last.to_string()),
            ends_in_partial: salvaged.ends_in_partial,
            archived: salvaged.archived,
            files: salvaged.files.iter().map(|file| file.name.to_string()).collect(),
            left: salvaged.left.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Other tools want them the other way round.
fn backup_behind_directory(text: &str) -> Result<BackupSelector, String> {
    let about_order = if text.contains('/') { "; the directory comes first, then the backup" } else { "" };
    selector_or_increment(text).map_err(|error| format!("{error}{about_order}"))
}

/// Restores.
pub async fn run(common: &Common, options: &Options, json: bool) -> Result<ExitCode, Failure> {
    if rustix::process::geteuid().is_root() {
        return Err(RunAsRoot::new("snapshot-fetch").into());
    }
    let world = World::open(common).await?;
    let request = request(&world.config, options)?;
    // Who only restores need not have the public keys; what is salvaged is archived.
    let archiving = request.precautions.salvage_wal.as_ref().map(|_| world.archiving_now()).transpose()?;
    let ports = world.ports();
    let ports = Ports { archiving: archiving.as_ref().unwrap_or(ports.archiving), ..ports };
    let report = snapshot_fetch(&ports, &request, interrupted(LEFT)).await?;
    let restored = FetchView {
        destination: request.destination.clone(),
        restored_by_provider: report.restored_by_provider,
        restore: report.restore.as_ref().map(RestoreView::from),
        kept_until: report.recovery.as_ref().map(|record| record.recovers_until().to_string()),
        salvaged: report.salvaged.as_ref().map(SalvagedView::from),
        locked_out_for: request.precautions.lock_out.as_ref().map(ToString::to_string),
        backup: BackupView::from(&report.backup),
    };
    print(json, &restored, || describe(&report, &request));
    Ok(ExitCode::SUCCESS)
}

fn request(config: &Config, options: &Options) -> Result<FetchRequest, Failure> {
    let destination = std::path::absolute(&options.destination).unwrap_or_else(|_| options.destination.clone());
    let recovery = RecoverySettings {
        restore_command: options.restore_command.clone().unwrap_or_else(|| restore_command(&program(), &config.path)),
        target: options.target.target(),
        inclusive: options.target.inclusion(),
        timeline: options.target.target_timeline,
        action: match options.target_action {
            Action::Pause => TargetAction::Pause,
            Action::Promote => TargetAction::Promote,
            Action::Shutdown => TargetAction::Shutdown,
        },
        archiving: match options.archiving {
            ArchivingChoice::Keep => Archiving::Keep,
            ArchivingChoice::Off => Archiving::Off,
        },
    };
    let roots = config.providers.values().flat_map(|provider| provider.snapshot_roots().cloned());
    Ok(FetchRequest {
        destination,
        selector: options.backup.clone().unwrap_or(BackupSelector::Automatic),
        recovery,
        tablespace_mapping: options.tablespace_mapping.clone(),
        wal_directory: options.wal_directory.clone(),
        precautions: precautions(options)?,
        isolation: if options.allow_not_isolated { Isolation::NotRequired } else { Isolation::Required },
        missing_wal: match (&options.restore_command, options.allow_missing_wal) {
            (Some(_), _) => MissingWal::Elsewhere,
            (None, true) => MissingWal::Accepted,
            (None, false) => MissingWal::Refused,
        },
        announcement: if options.unannounced { Announcement::Renounced } else { Announcement::Required },
        scan: options.scan,
        token: new_token()?,
        snapshot_roots: roots.collect(),
        hostname: host_name(),
    })
}

fn precautions(options: &Options) -> Result<Precautions, Failure> {
    let role = |named: &String| if named.is_empty() { own_user().ok_or(NoUserName) } else { Ok(named.clone()) };
    let role = options.lock_out.as_ref().map(role).transpose()?;
    let lock_out = role.map(|role| role.parse::<LockOut>().map_err(|source| BadRole { source })).transpose()?;
    let salvage_wal = options.salvage_wal.as_ref().map(|from| std::path::absolute(from).unwrap_or_else(|_| from.clone()));
    Ok(Precautions { salvage_wal, lock_out })
}

/// A role that cannot stand in `pg_hba.conf`.
#[derive(Debug, thiserror::Error)]
#[error("nobody could connect")]
struct BadRole {
    #[source]
    source: InvalidRole,
}

impl Classify for BadRole {
    fn class(&self) -> ErrorClass {
        ErrorClass::Usage
    }

    fn hint(&self) -> Option<String> {
        Some("name one role whose name is that of a user of this system".to_owned())
    }
}

/// A user without a name, as in some containers.
#[derive(Debug, thiserror::Error)]
#[error("the user that runs this has no name in /etc/passwd, by which a server could know it")]
struct NoUserName;

impl Classify for NoUserName {
    fn class(&self) -> ErrorClass {
        ErrorClass::Config
    }

    fn hint(&self) -> Option<String> {
        Some("name the role with --lock-out=ROLE; it can connect as the system user of the same name".to_owned())
    }
}

/// The command by which the restored server gets its WAL. PostgreSQL hands it to a shell after replacing `%f` and `%p`.
pub(super) fn restore_command(program: &Path, config: &Path) -> String {
    format!("{} --config {} wal-fetch \"%f\" \"%p\"", quoted(program.as_os_str()), quoted(config.as_os_str()))
}

/// Quotes a path for a shell, and its `%` for PostgreSQL.
fn quoted(path: &OsStr) -> String {
    let text = String::from_utf8_lossy(path.as_bytes()).replace('%', "%%");
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-%+,".contains(&byte);
    if text.bytes().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn describe(report: &FetchReport, request: &FetchRequest) -> String {
    let how = if report.restored_by_provider { "restored by the provider" } else { "prepared as mounted" };
    let destination = request.destination.display();
    let warning = archiving_warning(request.recovery.archiving, &request.destination).unwrap_or_default();
    let release =
        report.restore.as_ref().map(release_note).or_else(|| report.recovery.as_ref().map(recovery_note)).unwrap_or_default();
    let salvaged = report.salvaged.as_ref().map(salvage_note).unwrap_or_default();
    let locked = request.precautions.lock_out.as_ref().map(|role| lock_note(role, &request.destination)).unwrap_or_default();
    let start = if request.destination.join("postgresql.conf").exists() {
        format!("for instance with `pg_ctl -D {destination} start`")
    } else {
        "with the `postgresql.conf` that it has elsewhere, on Debian by `pg_ctlcluster`".to_owned()
    };
    format!(
        "{} is {how} in {destination}{salvaged}\n\
         next: start the server there, {start}; it recovers by itself, and `stillframe recovery status {destination} --wait 3600` tells \
         when it is done{locked}{warning}{release}",
        report.backup.sentinel.name,
    )
}

/// What was taken from the old cluster.
fn salvage_note(salvaged: &SalvagedWal) -> String {
    let left = match salvaged.left.len() {
        0 => String::new(),
        left => format!("; {} on another timeline, damaged or behind a gap: left there", count(left, "file")),
    };
    let Some((from, last)) = salvaged.span else {
        return format!("\nsalvaged: nothing that this recovery replays is missing in the archive{left}");
    };
    let (archived, files) = (salvaged.archived, salvaged.files.len());
    let is_complete = archived + usize::from(salvaged.ends_in_partial) >= files;
    let later = if is_complete { "" } else { " and `stillframe wal-verify` finds nothing missing" };
    let partial = if salvaged.ends_in_partial { ", still being written at the end" } else { "" };
    let segments = count(salvaged.segments(), "segment");
    format!(
        "\nsalvaged: {segments} from {from} on{partial}; the last record in them begins at {last}{left}\n\
         note: archived as well: {archived} of {}; keep the old directory until the recovery is accepted{later}",
        count(files, "file"),
    )
}

/// Who can connect, and how that ends.
fn lock_note(role: &LockOut, destination: &Path) -> String {
    format!(
        "\nlocked: only the role `{role}` can connect, through the local socket as the system user of that name, until `stillframe \
         recovery accept {}`",
        destination.display()
    )
}

/// What a restore costs that lies elsewhere, and how it ends.
fn release_note(record: &RestoreRecord) -> String {
    let destination = record.destination.display();
    format!(
        "\nnote: {destination} is a link to what the provider made of the snapshot, which is kept as long; when you are done, stop \
         the server and run `stillframe snapshot-release {destination}`"
    )
}

/// What keeps the backup for a copy, and how that ends.
fn recovery_note(record: &RestoreRecord) -> String {
    let (destination, until) = (record.destination.display(), record.recovers_until());
    format!(
        "\nnote: no deletion takes this backup or the WAL behind it until {until:.0}, for this copy has yet to recover; when it has, \
         `stillframe snapshot-release {destination}` says so"
    )
}

/// What somebody who only tests a restore must know: nothing tells a promoted copy from a failover.
fn archiving_warning(archiving: Archiving, destination: &Path) -> Option<String> {
    let settings = destination.join("postgresql.auto.conf");
    (archiving == Archiving::Keep).then(|| {
        format!(
            "\nnote: this copy has the `archive_command` of the original. Once it is promoted, it archives into the same store, as a \
             new timeline: the guard allows that as it allows a failover, refuses it if another server has that timeline, and later \
             restores of the original find it. For a test beside the original, restore with --archiving off, or write \
             `archive_mode = off` into `{}` before the first start",
            settings.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_would_archive_beside_the_original_is_told_of_and_one_that_will_not_is_not() {
        let warning = archiving_warning(Archiving::Keep, Path::new("/copy")).unwrap();
        for word in ["--archiving off", "`archive_mode = off`", "`/copy/postgresql.auto.conf`", "promoted", "timeline", "guard"] {
            assert!(warning.contains(word), "{warning}");
        }
        assert_eq!(archiving_warning(Archiving::Off, Path::new("/copy")), None);
    }

    #[test]
    fn a_directory_in_the_place_of_the_backup_is_told_where_it_belongs() {
        assert!(backup_behind_directory("/restored").unwrap_err().contains("the directory comes first"));
        assert!(!backup_behind_directory("sf-1").unwrap_err().contains("the directory comes first"));
        assert_eq!(backup_behind_directory("LATEST"), Ok(BackupSelector::Latest));
    }

    #[test]
    fn restore_command_survives_spaces_quotes_and_percent_signs() {
        let command = restore_command(Path::new("/opt/still frame/bin"), Path::new("/etc/a'b%c.toml"));
        assert_eq!(command, r#"'/opt/still frame/bin' --config '/etc/a'\''b%%c.toml' wal-fetch "%f" "%p""#);
    }
}
