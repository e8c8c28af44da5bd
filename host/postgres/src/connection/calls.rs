//! The statements, for each version, and the reading of their answers.
//!
//! Every name is qualified or safe by the session's `search_path`. Paths, the label and the map are fetched as bytes in the
//! server's own encoding: `convert_to` with the encoding of the database changes none of them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use jiff::Timestamp;
use stillframe_core::postgres::{
    ArchiveMode, ArchiverStatus, Lsn, PgVersion, ServerFacts, StoppedBackup, SystemIdentifier, Tablespace, TimelineId, WalFileName,
    WalSegmentSize,
};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, PgLsn};

/// `CASE` keeps each function from where it fails: `pg_walfile_name` in recovery, the replay position outside of it.
pub(super) const FACTS: &str = "\
    SELECT system.system_identifier, \
           convert_to(current_setting('data_directory'), getdatabaseencoding()) AS data_directory, \
           init.bytes_per_wal_segment, \
           recovery.now AS in_recovery, \
           CASE WHEN NOT recovery.now THEN pg_walfile_name(pg_current_wal_lsn()) END AS wal_file, \
           greatest(point.timeline_id, replay.min_recovery_end_timeline)::int8 AS replay_timeline, \
           CASE WHEN recovery.now THEN point.redo_lsn ELSE pg_current_wal_lsn() END AS wal_position, \
           current_setting('archive_mode') AS archive_mode, \
           current_setting('archive_command') AS archive_command, \
           current_setting('archive_library', true) AS archive_library, \
           (extract(epoch FROM clock_timestamp()) * 1000000)::int8 AS clock, \
           CASE WHEN recovery.now THEN pg_last_wal_replay_lsn() END AS replayed \
    FROM pg_control_system() AS system, pg_control_init() AS init, pg_control_checkpoint() AS point, \
         pg_control_recovery() AS replay, (SELECT pg_is_in_recovery() AS now) AS recovery";

/// The two built-in ones lie in PGDATA.
pub(super) const TABLESPACES: &str = "\
    SELECT oid, convert_to(spcname::text, getdatabaseencoding()), convert_to(pg_tablespace_location(oid), getdatabaseencoding()) \
    FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY oid";

pub(super) const ARCHIVER: &str = "\
    SELECT last_archived_wal, last_failed_wal, \
           coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false) \
    FROM pg_stat_archiver";

pub(super) const PING: &str = "SELECT pg_backend_pid()";
pub(super) const RESTORE_POINT: &str = "SELECT pg_create_restore_point($1)";
pub(super) const SWITCH: &str = "SELECT pg_switch_wal()";

/// What `archive_command` shows while `archive_mode` is off.
const NO_COMMAND: [&str; 2] = ["", "(disabled)"];

pub(super) fn start_backup(version: PgVersion) -> &'static str {
    if version.major() >= 15 { "SELECT pg_backup_start($1, $2)" } else { "SELECT pg_start_backup($1, $2, false)" }
}

/// Without waiting for the archive: with a broken one the server would wait for ever.
pub(super) fn stop_backup(version: PgVersion) -> &'static str {
    if version.major() >= 15 {
        "SELECT lsn, convert_to(labelfile, getdatabaseencoding()), convert_to(spcmapfile, getdatabaseencoding()) \
         FROM pg_backup_stop(false)"
    } else {
        "SELECT lsn, convert_to(labelfile, getdatabaseencoding()), convert_to(spcmapfile, getdatabaseencoding()) \
         FROM pg_stop_backup(false, false)"
    }
}

/// Reads the one position of a row.
pub(super) fn lsn(row: &Row) -> Result<Lsn, String> {
    column::<PgLsn>(row, 0).map(|position| Lsn(position.into()))
}

/// Reads the answer to the stop.
pub(super) fn stopped(row: &Row) -> Result<StoppedBackup, String> {
    let label_file: Option<Vec<u8>> = column(row, 1)?;
    let label_file = label_file.filter(|label| !label.is_empty()).ok_or("the server returned no backup label")?;
    let tablespace_map_file: Option<Vec<u8>> = column(row, 2)?;
    Ok(StoppedBackup { stop_lsn: lsn(row)?, label_file, tablespace_map_file: tablespace_map_file.unwrap_or_default() })
}

/// Reads `pg_stat_archiver`.
pub(super) fn archiver(row: &Row) -> Result<ArchiverStatus, String> {
    Ok(ArchiverStatus { last_archived_wal: column(row, 0)?, last_failed_wal: column(row, 1)?, is_failing: column(row, 2)? })
}

/// Puts the facts together.
pub(super) fn facts(version: PgVersion, row: &Row, tablespaces: &[Row]) -> Result<ServerFacts, String> {
    let segment_bytes: i32 = column(row, 2)?;
    let archive_command: String = column(row, 8)?;
    let archive_library: Option<String> = column(row, 9)?;
    Ok(ServerFacts {
        version,
        system_identifier: SystemIdentifier(column::<i64>(row, 0)?.cast_unsigned()),
        data_directory: path(column(row, 1)?),
        segment_size: WalSegmentSize::try_from(segment_bytes.cast_unsigned()).map_err(|error| error.to_string())?,
        in_recovery: column(row, 3)?,
        timeline: timeline(column(row, 4)?, column(row, 5)?)?,
        wal_position: Lsn(column::<PgLsn>(row, 6)?.into()),
        replayed: column::<Option<PgLsn>>(row, 11)?.map(|position| Lsn(position.into())),
        archive_mode: archive_mode(&column::<String>(row, 7)?)?,
        archiver_is_set: !NO_COMMAND.contains(&archive_command.as_str())
            || archive_library.is_some_and(|library| !library.is_empty()),
        tablespaces: tablespaces.iter().filter_map(|row| tablespace(row).transpose()).collect::<Result<_, _>>()?,
        now: Timestamp::from_microsecond(column(row, 10)?).map_err(|error| error.to_string())?,
    })
}

/// A primary names the file that it writes; a standby may have replayed further than its last restartpoint.
fn timeline(wal_file: Option<String>, replayed: i64) -> Result<TimelineId, String> {
    match wal_file {
        Some(name) => name.parse::<WalFileName>().map(WalFileName::timeline).map_err(|error| error.to_string()),
        None => u32::try_from(replayed)
            .map_err(|error| error.to_string())
            .and_then(|number| TimelineId::new(number).map_err(|error| error.to_string())),
    }
}

fn archive_mode(text: &str) -> Result<ArchiveMode, String> {
    match text {
        "off" => Ok(ArchiveMode::Off),
        "on" => Ok(ArchiveMode::On),
        "always" => Ok(ArchiveMode::Always),
        other => Err(format!("`archive_mode` is `{other}`")),
    }
}

/// A tablespace outside of PGDATA; one with a relative location lies in `pg_tblspc` itself and is cut with PGDATA.
fn tablespace(row: &Row) -> Result<Option<Tablespace>, String> {
    let name: Vec<u8> = column(row, 1)?;
    let location = path(column(row, 2)?);
    let name = String::from_utf8_lossy(&name).into_owned();
    Ok(location.is_absolute().then_some(Tablespace { oid: column(row, 0)?, name, location }))
}

fn path(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}

fn column<'a, Value: FromSql<'a>>(row: &'a Row, index: usize) -> Result<Value, String> {
    row.try_get(index).map_err(|error| crate::fault::explain(&error))
}
