//! The rights that a role needs for backups, and no more: found by taking each away (see the tests).

use stillframe_core::postgres::PgVersion;

use crate::fault::quoted;

/// What a superuser must run, in the database that Stillframe connects to, for a role without any other right.
///
/// Rights on functions belong to one database. A superuser needs none of them.
#[must_use]
pub fn required_grants(version: PgVersion, role: &str) -> Vec<String> {
    let role = quoted(role);
    let functions: &[&str] = if version.major() >= 15 {
        &["pg_backup_start(text, boolean)", "pg_backup_stop(boolean)"]
    } else {
        &["pg_start_backup(text, boolean, boolean)", "pg_stop_backup(boolean, boolean)"]
    };
    // `data_directory` is shown to nobody else.
    let settings = format!("GRANT pg_read_all_settings TO {role};");
    let functions = functions.iter().chain(&["pg_create_restore_point(text)", "pg_switch_wal()"]);
    let grants = functions.map(|function| format!("GRANT EXECUTE ON FUNCTION pg_catalog.{function} TO {role};"));
    std::iter::once(settings).chain(grants).collect()
}
