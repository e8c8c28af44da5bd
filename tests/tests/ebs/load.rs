//! Load on a database: pgbench, and a ledger of what was acknowledged.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use stillframe_tests::{Account, Cluster, Session, bound_command, spawn};

const DEADLINE: Duration = Duration::from_mins(1);

/// Load that lasts while the value lives.
pub(crate) struct Load {
    pgbench: Child,
    acknowledged: Arc<AtomicU64>,
    end: Arc<AtomicBool>,
    writer: Option<JoinHandle<()>>,
}

impl Load {
    /// Puts load on a cluster; all its tables lie in the first tablespace, and their indexes in the second.
    pub(crate) fn on(cluster: &Cluster) -> Self {
        let program = cluster.postgres().client("pgbench");
        let server =
            ["-h", cluster.socket_directory().to_str().unwrap(), "-p", &cluster.port().to_string(), "-U", "postgres", "postgres"]
                .map(str::to_owned);
        let mut initialise = Command::new(&program);
        initialise.args(["-i", "-q", "-s", "2", "--tablespace=ts1", "--index-tablespace=ts2"]).args(&server);
        let output = Account::unprivileged().run_as(&mut initialise).output();
        let output = output.unwrap_or_else(|error| panic!("cannot run pgbench: {error}; it comes with the package postgresql-15"));
        assert!(output.status.success(), "{output:?}");
        cluster.sql("CREATE TABLE ledger (entry bigint PRIMARY KEY USING INDEX TABLESPACE ts2) TABLESPACE ts1");
        let mut command = bound_command(&program, "KILL");
        command.args(["-c", "2", "-T", "600"]).args(&server).stdout(Stdio::null()).stderr(Stdio::null());
        Account::unprivileged().run_as(&mut command);
        let (acknowledged, end) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (counter, ended) = (Arc::clone(&acknowledged), Arc::clone(&end));
        let session = Session::open(&cluster.conninfo()).unwrap();
        let writer = thread::spawn(move || {
            for entry in 1.. {
                if ended.load(Ordering::SeqCst) || session.try_sql(&format!("INSERT INTO ledger VALUES ({entry})")).is_err() {
                    return;
                }
                counter.store(entry, Ordering::SeqCst);
            }
        });
        let load = Self { pgbench: spawn(command), acknowledged, end, writer: Some(writer) };
        load.wait_for_more();
        load
    }

    /// The last entry that was acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Waits for twenty more entries.
    #[track_caller]
    pub(crate) fn wait_for_more(&self) {
        let (wanted, deadline) = (self.acknowledged() + 20, Instant::now() + DEADLINE);
        while self.acknowledged() < wanted {
            assert!(Instant::now() < deadline, "nothing is committed any more");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        if let Some(writer) = self.writer.take() {
            let _panicked = writer.join();
        }
        let _ended = self.pgbench.kill();
        let _status = self.pgbench.wait();
    }
}

/// Every entry is there from the first to one of these, and pgbench's books balance.
#[track_caller]
pub(crate) fn assert_complete(cluster: &Cluster, last: std::ops::RangeInclusive<u64>) {
    let entries = cluster.value("SELECT count(*) || ' ' || max(entry) FROM ledger");
    let (count, newest) = entries.split_once(' ').unwrap();
    assert_eq!(count, newest, "entries are missing");
    assert!(last.contains(&newest.parse().unwrap()), "the last entry is {newest}, not within {last:?}");
    let balances = ["accounts.abalance", "tellers.tbalance", "branches.bbalance"].map(|column| {
        let (table, column) = column.split_once('.').unwrap();
        cluster.value(&format!("SELECT sum({column}) FROM pgbench_{table}"))
    });
    let booked = cluster.value("SELECT coalesce(sum(delta), 0) FROM pgbench_history");
    assert_eq!(balances, [booked.clone(), booked.clone(), booked]);
}
