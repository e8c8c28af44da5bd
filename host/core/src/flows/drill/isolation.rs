//! What keeps the server of a drill on its own.
//!
//! It reads no configuration file of the cluster: those tell it where the living server has its data, its logs, its socket and its
//! archive. Of the file of `ALTER SYSTEM`, only what the preparation wrote is left. Everything that could reach out is set on the command
//! line as well, which overrules every file. Then the server is asked whether it is so.

use std::path::Path;

use super::workplace::Room;
use super::{DrillError, DrillRequest};
use crate::data_directory;
use crate::files::{self, FileError};
use crate::postgres::{QuerySession, ServerLimits};

/// Least limits: sessions of the checks need a place.
const LEAST: ServerLimits =
    ServerLimits { connections: 20, worker_processes: 8, wal_senders: None, prepared_transactions: 0, locks_per_transaction: 64 };

/// Files that the server reads instead of the cluster's.
const CONFIGURATION: &str = "postgresql.conf";
const ACCESS: &str = "pg_hba.conf";
const IDENTITIES: &str = "pg_ident.conf";

/// Port numbers that no server has that was not told so. Nothing listens on it; it is a part of the socket's name.
const FIRST_PORT: u16 = 49_152;
const PORTS: u16 = 16_000;

/// The part of the socket's name.
pub(super) fn port(room: &Room) -> u16 {
    let sum = room.token.0.bytes().fold(0_u16, |sum, byte| sum.wrapping_mul(31).wrapping_add(u16::from(byte)));
    FIRST_PORT + sum % PORTS
}

/// Writes the server's own configuration, and takes away what the cluster's operator has set in the copy.
pub(super) fn furnish(room: &Room) -> Result<(), FileError> {
    let write = |name: &str, text: &str| files::write_atomically(&room.directory.join(name), text.as_bytes(), 0o600);
    write(CONFIGURATION, "# Of a drill: all settings stand on the command line.\n")?;
    // Whoever can reach the socket owns its directory.
    write(ACCESS, "local all all trust\n")?;
    write(IDENTITIES, "")?;
    data_directory::keep_own_settings(&room.data())
}

/// All settings, in order.
pub(super) fn settings(
    room: &Room,
    data: &Path,
    major: u32,
    limits: ServerLimits,
    request: &DrillRequest,
) -> Vec<(String, String)> {
    let path = |path: &Path| path.display().to_string();
    let limits = limits.or_more(LEAST);
    let mut settings = vec![
        ("data_directory", path(data)),
        ("config_file", path(&room.directory.join(CONFIGURATION))),
        ("hba_file", path(&room.directory.join(ACCESS))),
        ("ident_file", path(&room.directory.join(IDENTITIES))),
        // Would be written over the living server's.
        ("external_pid_file", String::new()),
        ("listen_addresses", String::new()),
        ("port", port(room).to_string()),
        ("unix_socket_directories", listed(&room.socket())),
        ("unix_socket_permissions", "0700".to_owned()),
        ("unix_socket_group", String::new()),
        ("bonjour", "off".to_owned()),
        ("ssl", "off".to_owned()),
        // Nothing of it may ever reach the archive.
        ("archive_mode", "off".to_owned()),
        ("archive_command", String::new()),
        // It replays, and serves readers only.
        ("hot_standby", "on".to_owned()),
        ("max_connections", limits.connections.to_string()),
        ("max_worker_processes", limits.worker_processes.to_string()),
        ("max_prepared_transactions", limits.prepared_transactions.to_string()),
        ("max_locks_per_transaction", limits.locks_per_transaction.to_string()),
        // Libraries come with workers and hooks: only those that it cannot be read without.
        ("shared_preload_libraries", request.checks.preload.clone()),
        ("session_preload_libraries", String::new()),
        ("local_preload_libraries", String::new()),
        // Should it ever leave recovery: nothing works by itself, and no subscription takes what is the living cluster's.
        ("max_logical_replication_workers", "0".to_owned()),
        ("synchronous_standby_names", String::new()),
        ("autovacuum", "off".to_owned()),
        ("cron.launch_active_jobs", "off".to_owned()),
        ("logging_collector", "off".to_owned()),
        ("log_destination", "stderr".to_owned()),
        ("lc_messages", "C".to_owned()),
        // In its own directory, so that nothing is left elsewhere.
        ("dynamic_shared_memory_type", "mmap".to_owned()),
        // The memory is the living server's.
        ("shared_buffers", "128MB".to_owned()),
        ("huge_pages", "off".to_owned()),
        // A process that crashes is a finding, and not repaired in silence.
        ("restart_after_crash", "off".to_owned()),
        ("cluster_name", "stillframe drill".to_owned()),
    ];
    if let Some(senders) = limits.wal_senders {
        settings.push(("max_wal_senders", senders.to_string()));
    }
    if major >= 15 {
        settings.push(("archive_library", String::new()));
    } else {
        // Often a directory that the living server writes to.
        settings.push(("stats_temp_directory", "pg_stat_tmp".to_owned()));
    }
    if major >= 12 {
        settings.extend(["primary_conninfo", "primary_slot_name"].map(|name| (name, String::new())));
        settings.extend(["archive_cleanup_command", "recovery_end_command"].map(|name| (name, String::new())));
    }
    if (12..16).contains(&major) {
        settings.push(("promote_trigger_file", String::new()));
    }
    settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A path in a list of directories, where a comma would end it.
fn listed(path: &Path) -> String {
    let text = path.display().to_string();
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// The settings on which it depends that nothing reaches out.
const PROVEN: [&str; 6] = [
    "archive_mode",
    "data_directory",
    "listen_addresses",
    "primary_conninfo",
    "shared_preload_libraries",
    "unix_socket_directories",
];

/// Asks the server whether it is on its own.
pub(super) async fn prove(session: &mut dyn QuerySession, expected: &[(String, String)]) -> Result<(), DrillError> {
    let names = PROVEN.map(|name| format!("'{name}'")).join(", ");
    let statement = format!("SELECT name, setting FROM pg_catalog.pg_settings WHERE name IN ({names})");
    let mut results = session.query(&statement).await?;
    let rows = results.pop().unwrap_or_default();
    let value = |name: &str| {
        let row = rows.iter().find(|row| row.first().is_some_and(|found| found.as_deref() == Some(name)));
        row.map(|row| row.get(1).cloned().flatten().unwrap_or_default())
    };
    for (setting, wanted) in expected.iter().filter(|(name, _)| PROVEN.contains(&name.as_str())) {
        let found = value(setting).unwrap_or_else(|| "not to be seen".to_owned());
        if found != *wanted {
            return Err(DrillError::NotOnItsOwn { setting: setting.clone(), found });
        }
    }
    Ok(())
}
