//! What a cluster holds, as one checksum for each table: for comparing a restored server with the original.

use std::collections::BTreeMap;

use crate::{Cluster, Session};

const DATABASES: &str = "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate";

/// Tables whose content is in the WAL. Sequences run ahead by what a server has taken for itself.
const TABLES: &str = "\
    SELECT format('%I.%I', namespace.nspname, class.relname) FROM pg_class AS class \
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace \
    WHERE class.relkind IN ('r', 'm') AND class.relpersistence = 'p' \
      AND namespace.nspname NOT LIKE 'pg\\_%' AND namespace.nspname <> 'information_schema'";

/// Rows and checksum of every table that is not the server's own, by database and name.
#[track_caller]
pub fn table_checksums(cluster: &Cluster) -> BTreeMap<String, String> {
    let mut checksums = BTreeMap::new();
    for database in names(&cluster.session(), DATABASES) {
        let conninfo = cluster.conninfo().replace("dbname=postgres", &format!("dbname='{database}'"));
        let session = Session::open(&conninfo).unwrap_or_else(|error| panic!("cannot connect to {database}: {error}"));
        for table in names(&session, TABLES) {
            let rows = session.sql(&format!(
                "SELECT count(*) || ' rows ' || md5(coalesce(string_agg(line, E'\\n' ORDER BY line COLLATE \"C\"), '')) \
                 FROM (SELECT entry::text AS line FROM ONLY {table} AS entry) AS lines"
            ));
            let checksum = rows[0][0].clone().expect("an aggregate has a value");
            checksums.insert(format!("{database}: {table}"), checksum);
        }
    }
    assert!(!checksums.is_empty(), "there is nothing to compare");
    checksums
}

#[track_caller]
fn names(session: &Session, statement: &str) -> Vec<String> {
    session.sql(statement).into_iter().map(|row| row[0].clone().expect("a name")).collect()
}
