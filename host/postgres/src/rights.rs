//! The rights that a role needs for backups, and no more: found by taking each away (see the tests).

use stillframe_core::postgres::PgVersion;

use crate::fault::quoted;

/// One right: how a session asks whether it has it, and how a superuser gives it.
pub(crate) struct Right {
    /// An SQL expression that is true when the session's role has it.
    pub(crate) held: String,
    /// The statement that gives it.
    pub(crate) grant: String,
}

/// What a superuser must run, in the database that Stillframe connects to, for a role without any other right.
///
/// Rights on functions belong to one database. A superuser needs none of them.
#[must_use]
pub fn required_grants(version: PgVersion, role: &str) -> Vec<String> {
    rights(version, role).into_iter().map(|right| right.grant).collect()
}

/// Every right that a role needs.
pub(crate) fn rights(version: PgVersion, role: &str) -> Vec<Right> {
    let role = quoted(role);
    let functions: &[&str] = if version.major() >= 15 {
        &["pg_backup_start(text, boolean)", "pg_backup_stop(boolean)"]
    } else {
        &["pg_start_backup(text, boolean, boolean)", "pg_stop_backup(boolean, boolean)"]
    };
    // `data_directory` is shown to nobody else.
    let settings = Right {
        held: "pg_has_role('pg_read_all_settings', 'USAGE')".to_owned(),
        grant: format!("GRANT pg_read_all_settings TO {role};"),
    };
    let functions = functions.iter().chain(&["pg_create_restore_point(text)", "pg_switch_wal()"]);
    let executions = functions.map(|function| Right {
        held: format!("has_function_privilege('pg_catalog.{function}', 'EXECUTE')"),
        grant: format!("GRANT EXECUTE ON FUNCTION pg_catalog.{function} TO {role};"),
    });
    std::iter::once(settings).chain(executions).collect()
}
