//! pgbench: the load that a backup is taken under.

use std::process::{Child, Command, Stdio};

use stillframe_tests::{Account, Cluster, Row, bound_command, spawn};

use crate::guest::is_emulated;

/// Transactions per second. A slow guest shall have time for something else, and segments shall fill up all the same.
const RATE: u32 = 60;

/// The same on an emulated processor, of which that many would take all.
const EMULATED_RATE: u32 = 12;

/// pgbench at work; dropped, it is ended.
#[derive(Debug)]
pub struct Load {
    pgbench: Child,
}

impl Load {
    /// Makes pgbench's tables, in these tablespaces for the data and the indexes when there are any.
    #[track_caller]
    pub fn prepare(cluster: &Cluster, tablespaces: Option<(&str, &str)>) {
        let mut command = Command::new(cluster.postgres().program("pgbench"));
        command.args(["--initialize", "--quiet", "--init-steps=dtGvp"]);
        if let Some((data, index)) = tablespaces {
            command.arg(format!("--tablespace={data}")).arg(format!("--index-tablespace={index}"));
        }
        let output = as_user(&mut command, cluster).output().expect("pgbench can be run");
        assert!(output.status.success(), "pgbench: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Begins to change the tables, from two sessions, and waits for the first change.
    #[track_caller]
    pub fn begin(cluster: &Cluster) -> Self {
        let before = cluster.value("SELECT count(*) FROM pgbench_history");
        let mut command = bound_command(cluster.postgres().program("pgbench"), "KILL");
        let rate = if is_emulated() { EMULATED_RATE } else { RATE };
        command.args(["--no-vacuum", "--client=2", "--time=86400", &format!("--rate={rate}")]);
        as_user(&mut command, cluster).stdout(Stdio::null()).stderr(Stdio::null());
        let load = Self { pgbench: spawn(command) };
        cluster.wait_until(&format!("SELECT count(*) > {before} FROM pgbench_history"));
        load
    }

    /// Waits until another hundred transactions have been committed.
    #[track_caller]
    pub fn goes_on(&self, cluster: &Cluster) {
        let before = cluster.value("SELECT count(*) FROM pgbench_history");
        cluster.wait_until(&format!("SELECT count(*) > {before} + 100 FROM pgbench_history"));
    }

    /// Whether the tables agree with each other, as they do after each transaction; and reads every row of them.
    #[track_caller]
    pub fn is_consistent(cluster: &Cluster) -> bool {
        let sums = "SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(bbalance) FROM pgbench_branches), (SELECT \
                    sum(tbalance) FROM pgbench_tellers), (SELECT sum(delta) FROM pgbench_history)";
        let rows: Vec<Row> = cluster.sql(sums);
        let first = rows[0][0].clone();
        first.is_some() && rows[0].iter().all(|sum| *sum == first)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ended_already = self.pgbench.kill();
        let _exit = self.pgbench.wait();
    }
}

fn as_user<'a>(command: &'a mut Command, cluster: &Cluster) -> &'a mut Command {
    command.env("PGHOST", cluster.socket_directory()).env("PGPORT", cluster.port().to_string());
    command.env("PGUSER", "postgres").env("PGDATABASE", "postgres").stdin(Stdio::null()).current_dir("/");
    Account::unprivileged().run_as(command)
}
