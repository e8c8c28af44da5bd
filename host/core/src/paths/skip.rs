//! What a copy of a data directory need not contain, as `pg_basebackup` decides it.
//!
//! Patterns name contents, never the directories themselves: the server does not start without them.

use crate::provider::DataRole;

/// Left out of PGDATA.
const OF_DATA: [&str; 19] = [
    // The archive has the WAL, which may be large and is overwritten during the copy.
    "pg_wal/*",
    // A slot of a copy would hold WAL for a consumer that follows the original.
    "pg_replslot/*",
    // Shared memory, notifications, serializable transactions, exported snapshots and subtransactions of the running server.
    "pg_dynshmem/*",
    "pg_notify/*",
    "pg_serial/*",
    "pg_snapshots/*",
    "pg_subtrans/*",
    // Statistics of the running server, up to 14; rebuilt at the next shutdown.
    "pg_stat_tmp/*",
    // Files of running queries.
    "**/pgsql_tmp*",
    // Caches that the server removes at every start of a recovery.
    "**/pg_internal.init*",
    // They say that a server runs here, and how it was started.
    "postmaster.pid",
    "postmaster.opts",
    // An exclusive backup's label would redirect recovery; ours is in the catalog.
    "backup_label",
    "backup_label.old",
    "tablespace_map",
    "tablespace_map.old",
    // Describes an earlier backup that this directory was restored from.
    "backup_manifest",
    // Half-written.
    "postgresql.auto.conf.tmp",
    "current_logfiles.tmp",
];

/// Left out of a `pg_wal` on a volume of its own.
const OF_WAL: [&str; 1] = ["*"];

/// Left out of a tablespace.
const OF_TABLESPACE: [&str; 2] = ["**/pgsql_tmp*", "**/pg_internal.init*"];

/// The patterns for a directory of this role.
pub(super) fn patterns(role: DataRole) -> Vec<String> {
    let patterns: &[&str] = match role {
        DataRole::Data => &OF_DATA,
        DataRole::Wal => &OF_WAL,
        DataRole::Tablespace => &OF_TABLESPACE,
    };
    patterns.iter().map(|pattern| (*pattern).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pattern_can_leave_out_a_directory_that_the_server_needs() {
        let needed = [
            "pg_wal",
            "pg_replslot",
            "pg_dynshmem",
            "pg_notify",
            "pg_serial",
            "pg_snapshots",
            "pg_subtrans",
            "pg_stat_tmp",
            "base",
            "global",
            "pg_tblspc",
        ];
        for pattern in [patterns(DataRole::Data), patterns(DataRole::Tablespace)].concat() {
            assert!(!needed.contains(&pattern.as_str()), "{pattern}");
            assert!(!["*", "**", "**/*", "pg_*"].contains(&pattern.as_str()), "{pattern}");
        }
    }
}
