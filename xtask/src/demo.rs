//! `cargo xtask demo`: a backup and a point-in-time restore, told to somebody who sees them for the first time.
//!
//! Everything is real: the server, the archive, the sandboxed provider and the restore. It all happens in one directory, which is
//! swept at the end, whatever the end is.

use std::path::PathBuf;
use std::time::Instant;

use crate::account::Account;
use crate::failure::Failure;
use crate::prerequisites::for_a_server;
use crate::run::{quoted, succeed};
use crate::server::Server;
use crate::sweep::Scratch;
use crate::workspace::{Workspace, cargo, progress};

mod stage;
mod table;

use stage::{Stage, run_sql, show};

/// What the reader sees of the table, always the same way.
const ROWS: &str = "SELECT owner, balance FROM account ORDER BY owner";

/// Builds the binary, tells the story and removes what it made.
pub(crate) fn demo() -> Result<(), Failure> {
    for_a_server()?;
    let binary = build()?;
    let account = Account::of_servers()?;
    let began = Instant::now();
    let scratch = Scratch::begin("demo", &account)?;
    println!("\nEverything below happens in {}, as the user {}.", scratch.path.display(), account.name);
    let told = Stage::set(&scratch.path, &binary, &account).and_then(|stage| tell(&stage));
    if told.is_ok() {
        println!("\nThe end, after {:.1} s.", began.elapsed().as_secs_f64());
    }
    let swept = scratch.end();
    told.and(swept)
}

fn build() -> Result<PathBuf, Failure> {
    let workspace = Workspace::find()?;
    progress("compiling stillframe and its bundled provider (some minutes the first time)", || {
        succeed(cargo().args(["build", "--quiet", "--package", "stillframe"]).current_dir(&workspace.root))
    })?;
    Ok(workspace.stillframe("debug"))
}

fn tell(stage: &Stage) -> Result<(), Failure> {
    let server = Server::on(&stage.directory, &stage.data, 5433, &stage.account)?;
    configure(stage, &server)?;
    start(stage, &server)?;
    back_it_up(stage, &server)?;
    let (moment, good_rows) = remember_a_good_moment(stage, &server)?;
    make_a_mistake(stage, &server)?;
    let restored = restore(stage, &moment)?;
    compare(stage, &server, &restored, &good_rows)?;
    stage.step(
        "What retention would do",
        "Every `delete` only prints its plan, with a reason for each item, until you add --confirm.",
    );
    stage.stillframe(&["delete", "everything"])
}

fn configure(stage: &Stage, server: &Server) -> Result<(), Failure> {
    stage.step(
        "A configuration and a store",
        "This is a whole configuration file. The store keeps the catalog of backups and the archived WAL; here it is a directory.",
    );
    stage.write_configuration(server)?;
    println!("   $ cat {}", quoted(&stage.configuration_name()));
    show(&stage.configuration()?);
    stage.stillframe(&["store", "create"])
}

fn start(stage: &Stage, server: &Server) -> Result<(), Failure> {
    stage.step(
        "A PostgreSQL server that archives its WAL",
        "WAL is the server's log of every change. It hands each finished segment of 16 MiB to archive_command.",
    );
    let settings = format!("archive_mode = on\narchive_command = '{} %p'", stage.command_line(&["wal-push"]).replace('\'', "''"));
    server.initialise(&format!("{settings}\n"))?;
    server.start()?;
    println!("   PostgreSQL {} runs, with these lines in its postgresql.conf:", server.query("SHOW server_version")?);
    show(&settings);
    Ok(())
}

fn back_it_up(stage: &Stage, server: &Server) -> Result<(), Failure> {
    stage.step("A table with some rows", "Nothing special: three accounts.");
    let insert = "CREATE TABLE account (owner text PRIMARY KEY, balance int);\nINSERT INTO account VALUES ('Ada', 120), ('Edgar', 80), \
                  ('Grace', 250);";
    run_sql(server, insert)?;
    stage.step(
        "A snapshot backup",
        "Stillframe puts the server into backup mode, lets the provider (a sandboxed WebAssembly component) cut a\n   snapshot of the data \
         directory, ends backup mode, waits for the WAL and only then publishes the backup.",
    );
    stage.stillframe(&["snapshot-push", "--provider", "hardlink"])?;
    stage.stillframe(&["backup-list"])
}

fn remember_a_good_moment(stage: &Stage, server: &Server) -> Result<(String, String), Failure> {
    stage.step("Life goes on after the backup", "This row is not in the snapshot: it exists in the archived WAL only.");
    run_sql(server, "INSERT INTO account VALUES ('Margaret', 40);")?;
    let good_rows = server.query(ROWS)?;
    let moment = server.query("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")?;
    println!("   It is now {moment} by the server's clock, and all is well.");
    Ok((moment, good_rows))
}

fn make_a_mistake(stage: &Stage, server: &Server) -> Result<(), Failure> {
    stage.step("A mistake", "Somebody forgets a WHERE clause, and somebody else deletes the wrong account.");
    run_sql(server, "UPDATE account SET balance = 0;\nDELETE FROM account WHERE owner = 'Ada';")?;
    println!("   The server closes the WAL segment and archives it, as it would have done by itself a little later:");
    let segment = server.query("SELECT pg_walfile_name(pg_current_wal_lsn())")?;
    run_sql(server, "SELECT pg_switch_wal();")?;
    server.wait_until(&format!("SELECT coalesce(last_archived_wal, '') >= '{segment}' FROM pg_stat_archiver"))
}

fn restore(stage: &Stage, moment: &str) -> Result<Server, Failure> {
    stage.step(
        "The restore to the moment before it",
        "The provider brings the snapshot back into a new directory; Stillframe writes backup_label and the recovery settings.",
    );
    let data = stage.directory.join("restored");
    let destination = data.display().to_string();
    stage.stillframe(&[
        "snapshot-fetch",
        &destination,
        "LATEST",
        "--target-time",
        moment,
        "--target-action",
        "promote",
        "--archiving",
        "off",
    ])?;
    println!("   A second server starts on it, fetches WAL with `stillframe wal-fetch`, and stops at the moment.");
    let restored = Server::on(&stage.directory, &data, 5434, &stage.account)?;
    restored.start()?;
    restored.wait_until("SELECT NOT pg_is_in_recovery()")?;
    Ok(restored)
}

/// Shows both tables; a restore that brought back anything else than the rows of that moment is a failure.
fn compare(stage: &Stage, server: &Server, restored: &Server, good_rows: &str) -> Result<(), Failure> {
    stage.step("Both servers, side by side", "Left the one with the mistake, right the restored copy.");
    let left = format!("port {}: after the mistake\n{}", server.port, server.show(ROWS)?);
    let right = format!("port {}: restored\n{}", restored.port, restored.show(ROWS)?);
    show(&table::side_by_side(&left, &right));
    let found = restored.query(ROWS)?;
    if found != good_rows {
        return Err(Failure::new(format!("the restored rows are not those of the moment:\n{found}\ninstead of\n{good_rows}")));
    }
    println!("   The restored rows are those of the moment, row for row; Margaret's came from WAL.");
    Ok(())
}
