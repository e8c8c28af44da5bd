//! Poolers are refused, whatever they do with the mark of the session.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use stillframe_core::error::Classify;
use stillframe_core::postgres::ConnectionFault;
use stillframe_tests::{Account, Cluster, ScratchDirectory};

use super::connect_to;

/// A `PgBouncer` in front of a cluster.
struct PgBouncer {
    child: Child,
    port: u16,
    _scratch: ScratchDirectory,
}

impl PgBouncer {
    fn in_front_of(cluster: &Cluster, settings: &str) -> Self {
        let scratch = ScratchDirectory::create();
        let account = Account::unprivileged();
        let port = Cluster::adopt(scratch.join("unused"), 15).port();
        let users = scratch.join("users");
        account.write(&users, "\"postgres\" \"\"\n");
        let config = scratch.join("pgbouncer.ini");
        let socket = cluster.socket_directory().display().to_string();
        account.write(
            &config,
            format!(
                "[databases]\npostgres = host={socket} port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
                 unix_socket_dir =\nauth_type = trust\nauth_file = {}\n{settings}\n",
                cluster.port(),
                users.display()
            ),
        );
        let mut command = Command::new(program());
        command.arg("-q").arg(&config).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = account.run_as(&mut command).spawn().expect("pgbouncer starts");
        let mut pooler = Self { child, port, _scratch: scratch };
        let deadline = Instant::now() + Duration::from_mins(1);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(pooler.child.try_wait().unwrap().is_none(), "pgbouncer ended");
            assert!(Instant::now() < deadline, "pgbouncer does not listen");
            std::thread::yield_now();
        }
        pooler
    }

    fn conninfo(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres dbname=postgres", self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn program() -> PathBuf {
    let places = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&places).chain(["/usr/sbin".into()]).map(|place| place.join("pgbouncer")).find(|path| path.is_file());
    found.expect("pgbouncer is missing: install the package pgbouncer, or leave these tests out with `-- --skip pooler::`")
}

async fn assert_refused(settings: &str) {
    let cluster = Cluster::builder(15).start();
    let pooler = PgBouncer::in_front_of(&cluster, settings);
    // The pooler itself works, so what follows is no accident.
    let session = stillframe_tests::Session::open(&pooler.conninfo()).unwrap();
    assert_eq!(session.sql("SELECT 1")[0][0].as_deref(), Some("1"));
    for mode in ["prefer", "disable", "allow"] {
        let error = connect_to(&format!("{} sslmode={mode}", pooler.conninfo())).await.unwrap_err();
        assert!(matches!(error.fault, ConnectionFault::Pooler), "{settings}: {error:?}");
        assert!(error.hint().unwrap().contains("the server itself"));
    }
}

#[tokio::test]
async fn a_pooler_that_refuses_startup_options_is_recognised() {
    assert_refused("pool_mode = transaction").await;
}

#[tokio::test]
async fn a_pooler_that_swallows_startup_options_is_recognised() {
    assert_refused("pool_mode = transaction\nignore_startup_parameters = options").await;
    assert_refused("pool_mode = session\nignore_startup_parameters = options").await;
}
