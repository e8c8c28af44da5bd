//! Rows whose commits the test knows, beside the load: after a restore exactly those of the target must be there.

use stillframe_tests::Cluster;

/// A table of numbers that the test writes one transaction each.
#[derive(Debug)]
pub struct History {
    written: usize,
}

impl History {
    /// Makes the table.
    #[track_caller]
    pub fn begin(cluster: &Cluster) -> Self {
        cluster.sql("CREATE TABLE history (number int PRIMARY KEY)");
        Self { written: 0 }
    }

    /// Commits some more rows.
    #[track_caller]
    pub fn write(&mut self, cluster: &Cluster, rows: usize) {
        let session = cluster.session();
        for _ in 0..rows {
            self.written += 1;
            session.sql(&format!("INSERT INTO history VALUES ({})", self.written));
        }
    }

    /// The present moment by the server's clock, and how many rows had been committed by then.
    #[track_caller]
    pub fn moment(&self, cluster: &Cluster) -> (String, usize) {
        let moment = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
        (cluster.value(moment), self.written)
    }

    /// Fails unless exactly this many rows are there, without a gap.
    #[track_caller]
    pub fn assert_rows(cluster: &Cluster, rows: usize) {
        let found = cluster.value("SELECT count(*) || ' rows up to ' || coalesce(max(number), 0) FROM history");
        assert_eq!(found, format!("{rows} rows up to {rows}"));
    }
}
