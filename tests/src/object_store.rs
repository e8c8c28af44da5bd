//! Object stores for tests: real servers from pip and npm, one of our own that lies as told, and a proxy that loses what it is told.
//!
//! All of them listen on the loopback interface and end with the value, or with the test process in whatever way that ends.

mod fault_proxy;
mod installed;
mod own_server;

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

pub use fault_proxy::{FaultProxy, Loss};
pub use installed::python_with_moto;
pub use own_server::{Dialect, OwnServer, Precondition};

use crate::children::{bound_command, spawn};
use crate::cluster::{DEADLINE, POLL_INTERVAL, free_port};
use crate::{ScratchDirectory, http};

/// Every server has one bucket, or container, of this name.
pub const BUCKET: &str = "stillframe-tests";

/// Starts moto without threads: with them it looks before it writes, and of concurrent conditional writers two may win.
const ONE_REQUEST_AFTER_THE_OTHER: &str = "\
import sys, moto.server as server
serve = server.run_simple
server.run_simple = lambda *arguments, **options: serve(*arguments, **{**options, 'threaded': False})
server.main(sys.argv[1:])";

/// A server of objects that runs while the value lives.
#[derive(Debug)]
pub struct ObjectStoreServer {
    // Declared first, so that the server is gone before its files are.
    child: Running,
    endpoint: String,
    access_key: String,
    secret_key: String,
    scratch: ScratchDirectory,
}

impl ObjectStoreServer {
    /// Moto, the reference for S3; it takes any credentials and serves one request after the other.
    pub fn moto() -> Self {
        let server = Self::start_moto(&[], "AKIDEXAMPLE", "a-secret-that-moto-does-not-check");
        server.make_bucket();
        server
    }

    /// Moto whose acknowledged objects outlive [`Self::kill9`].
    pub fn moto_that_keeps() -> Self {
        let scratch = ScratchDirectory::create();
        let (child, endpoint) = start(|port| keeping_moto(&scratch, port), &scratch);
        let server = Self { child, endpoint, access_key: "AKIDEXAMPLE".to_owned(), secret_key: "unchecked".to_owned(), scratch };
        server.make_bucket();
        server
    }

    /// Kills one that keeps, without any warning.
    #[track_caller]
    pub fn kill9(&mut self) {
        self.child.0.kill().expect("it runs");
        let _status = self.child.0.wait();
    }

    /// Starts one that keeps again, after a kill, at the same place.
    #[track_caller]
    pub fn start_again(&mut self) {
        let port = self.endpoint.rsplit(':').next().and_then(|port| port.parse().ok()).expect("it ends with a port");
        let deadline = Instant::now() + DEADLINE;
        loop {
            let (child, has_started) = attempt(keeping_moto(&self.scratch, port), port, &self.scratch.join("server.log"));
            self.child = child;
            if has_started {
                return;
            }
            // The port may be in use for an outgoing connection at the moment.
            assert!(Instant::now() < deadline, "somebody else has the port {port}");
        }
    }

    /// Moto that checks signatures: only the credentials of this value are accepted.
    pub fn moto_that_checks_signatures() -> Self {
        Self::moto_that_allows(&["s3:*"])
    }

    /// The same for actions as IAM writes them, of whatever service moto has.
    pub fn moto_that_allows(actions: &[&str]) -> Self {
        // So many calls are free, and they are used up here: a user, its key, its rights and the bucket.
        let mut server = Self::start_moto(&[("INITIAL_NO_AUTH_ACTION_COUNT", "4")], "", "");
        let call = |action: &str| {
            let scope = "AWS4-HMAC-SHA256 Credential=none/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=none";
            let headers = [("Authorization", scope), ("Content-Type", "application/x-www-form-urlencoded")];
            let (status, body) =
                http::request(&server.endpoint, "POST", "/", &headers, format!("Version=2010-05-08&{action}").as_bytes());
            assert_eq!(status, 200, "moto refused {action}: {body}");
            body
        };
        call("Action=CreateUser&UserName=u");
        let keys = call("Action=CreateAccessKey&UserName=u");
        let statement = serde_json::json!({"Effect": "Allow", "Action": actions, "Resource": "*"});
        let policy = serde_json::json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
        call(&format!("Action=PutUserPolicy&UserName=u&PolicyName=p&PolicyDocument={}", http::encoded(&policy)));
        server.make_bucket();
        let element = |name: &str| {
            let (_, rest) = keys.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name} in {keys}"));
            rest.split_once('<').map(|(value, _)| value.to_owned()).unwrap_or_default()
        };
        (server.access_key, server.secret_key) = (element("AccessKeyId"), element("SecretAccessKey"));
        server
    }

    /// A server that speaks S3 and ignores the precondition of a conditional write.
    pub fn s3rver() -> Self {
        let scratch = ScratchDirectory::create();
        let program = installed::npm_program("s3rver");
        let arguments = |port: u16| {
            let mut command = bound_command("node", "KILL");
            command.arg(&program).args([
                "--silent",
                "--address",
                "127.0.0.1",
                "--port",
                &port.to_string(),
                "--configure-bucket",
                BUCKET,
            ]);
            command.arg("--directory").arg(scratch.join("objects"));
            command
        };
        let (child, endpoint) = start(arguments, &scratch);
        Self { child, endpoint, access_key: "S3RVER".to_owned(), secret_key: "S3RVER".to_owned(), scratch }
    }

    /// Azurite, the emulator of Azure's blobs; its endpoint ends with the account, as every client of it expects.
    pub fn azurite() -> Self {
        const ACCOUNT: &str = "devstoreaccount1";
        // The key that every Azurite has, printed in its manual.
        const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
        let scratch = ScratchDirectory::create();
        let program = installed::npm_program("azurite-blob");
        let arguments = |port: u16| {
            let mut command = bound_command("node", "KILL");
            command.arg(&program).args(["--silent", "--disableTelemetry", "--skipApiVersionCheck", "--blobHost", "127.0.0.1"]);
            command.args(["--blobPort", &port.to_string(), "--location"]).arg(scratch.join("objects"));
            command
        };
        let (child, base) = start(arguments, &scratch);
        let mut make_container = Command::new("node");
        make_container.args(["-e", include_str!("object_store/make_container.js"), &base, ACCOUNT, KEY, BUCKET]);
        let output = make_container.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "Azurite made no container: {output:?}");
        let endpoint = format!("{base}/{ACCOUNT}");
        Self { child, endpoint, access_key: ACCOUNT.to_owned(), secret_key: KEY.to_owned(), scratch }
    }

    fn start_moto(variables: &[(&str, &str)], access_key: &str, secret_key: &str) -> Self {
        let scratch = ScratchDirectory::create();
        let program = installed::python_with_moto();
        let arguments = |port: u16| {
            let mut command = bound_command(&program, "KILL");
            command.args(["-c", ONE_REQUEST_AFTER_THE_OTHER, "--host", "127.0.0.1", "--port", &port.to_string()]);
            command.envs(variables.iter().copied());
            command
        };
        let (child, endpoint) = start(arguments, &scratch);
        Self { child, endpoint, access_key: access_key.to_owned(), secret_key: secret_key.to_owned(), scratch }
    }

    fn make_bucket(&self) {
        self.make_bucket_named(BUCKET);
    }

    pub(crate) fn make_bucket_named(&self, name: &str) {
        let (status, body) = http::request(&self.endpoint, "PUT", &format!("/{name}"), &[], b"");
        assert_eq!(status, 200, "moto made no bucket: {body}");
    }

    /// Base URL of the server.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The access key, or the account.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// The secret of the access key or of the account.
    pub fn secret_key(&self) -> &str {
        &self.secret_key
    }

    /// Variables with which a process of its own finds the credentials, of S3 and of Azure, and asks no instance for others.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ACCESS_KEY_ID", self.access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.secret_key.clone()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AZURE_STORAGE_ACCOUNT_NAME", self.access_key.clone()),
            ("AZURE_STORAGE_ACCOUNT_KEY", self.secret_key.clone()),
        ]
    }

    /// A shared credentials file of S3 with these keys, below the server's own directory.
    pub fn credentials_file(&self) -> PathBuf {
        self.credentials_file_with(&self.secret_key)
    }

    /// The same with another secret.
    pub fn credentials_file_with(&self, secret_key: &str) -> PathBuf {
        let path = self.scratch.join(format!("credentials-{}", secret_key.len()));
        let text = format!("[default]\naws_access_key_id = {}\naws_secret_access_key = {secret_key}\n", self.access_key);
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// Starts a server on a free port and waits until it accepts connections.
fn start(command: impl Fn(u16) -> Command, scratch: &ScratchDirectory) -> (Running, String) {
    let log = scratch.join("server.log");
    loop {
        let port = free_port();
        let (child, has_started) = attempt(command(port), port, &log);
        if has_started {
            return (child, format!("http://127.0.0.1:{port}"));
        }
    }
}

/// Starts a server on this port; says whether it got it.
fn attempt(mut command: Command, port: u16, log: &Path) -> (Running, bool) {
    let file = std::fs::File::create(log).unwrap();
    command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
    let mut child = Running(spawn(command));
    let has_started = accepts_connections(&mut child.0, port, log);
    (child, has_started)
}

fn keeping_moto(scratch: &ScratchDirectory, port: u16) -> Command {
    let mut command = bound_command(installed::python_with_moto(), "KILL");
    command.args(["-c", include_str!("object_store/moto_that_keeps.py"), "--host", "127.0.0.1", "--port", &port.to_string()]);
    command.env("STILLFRAME_OBJECTS", scratch.join("objects"));
    command
}

/// Whether it serves; false when the port was taken in between.
fn accepts_connections(child: &mut Child, port: u16, log: &Path) -> bool {
    let deadline = Instant::now() + DEADLINE;
    let read_log = || std::fs::read_to_string(log).unwrap_or_default();
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            let text = read_log();
            let is_taken = ["EADDRINUSE", "in use"].iter().any(|words| text.contains(words));
            assert!(is_taken, "the object store ended with {status}:\n{text}");
            return false;
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    panic!("the object store does not accept connections:\n{}", read_log());
}

/// A process that ends with the value.
#[derive(Debug)]
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nobody to kill.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}
