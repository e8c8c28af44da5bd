//! Where the demo plays: its directory, its configuration file and the way commands are shown and run.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::account::Account;
use crate::failure::Failure;
use crate::run::{line, quoted};
use crate::server::Server;

/// The directory of a demo, ready to play in.
#[derive(Debug)]
pub(super) struct Stage {
    /// The directory around everything.
    pub(super) directory: PathBuf,
    /// The data directory of the first server.
    pub(super) data: PathBuf,
    /// The user that everything runs as.
    pub(super) account: Account,
    binary: PathBuf,
    steps: Cell<u32>,
}

impl Stage {
    /// Puts the binary where the user of the servers can run it: a work tree may lie in root's home.
    pub(super) fn set(directory: &Path, built: &Path, account: &Account) -> Result<Self, Failure> {
        let binary = directory.join("stillframe");
        let copied = fs::copy(built, &binary).and_then(|_| fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)));
        copied.map_err(Failure::io(format!("copy `{}`", built.display())))?;
        let snapshots = directory.join("snapshots");
        fs::create_dir(&snapshots).map_err(Failure::io(format!("create `{}`", snapshots.display())))?;
        account.own(&snapshots)?;
        Ok(Self {
            directory: directory.to_owned(),
            data: directory.join("data"),
            account: account.clone(),
            binary,
            steps: Cell::new(0),
        })
    }

    /// Writes the smallest configuration that works.
    pub(super) fn write_configuration(&self, server: &Server) -> Result<(), Failure> {
        let directory = self.directory.display();
        let text = format!(
            "[cluster]\nname = \"demo\"\npgdata = \"{}\"\nconninfo = \"{}\"\n\n[store]\nurl = \"file://{directory}/store\"\n\n\
             [provider.hardlink]\nroot = \"{directory}/snapshots\"\n",
            self.data.display(),
            server.conninfo(),
        );
        let path = self.configuration_path();
        fs::write(&path, text).map_err(Failure::io(format!("write `{}`", path.display())))?;
        self.account.own(&path)
    }

    /// The text of the configuration file.
    pub(super) fn configuration(&self) -> Result<String, Failure> {
        let path = self.configuration_path();
        fs::read_to_string(&path).map_err(Failure::io(format!("read `{}`", path.display())))
    }

    /// The path of the configuration file, as text.
    pub(super) fn configuration_name(&self) -> String {
        self.configuration_path().display().to_string()
    }

    /// Begins a step of the story.
    pub(super) fn step(&self, title: &str, explanation: &str) {
        self.steps.set(self.steps.get() + 1);
        println!("\n{}. {title}\n   {explanation}", self.steps.get());
    }

    /// Shows and runs a command of Stillframe, and shows what it says.
    pub(super) fn stillframe(&self, arguments: &[&str]) -> Result<(), Failure> {
        let mut command = self.command(arguments);
        println!("   $ {}", line(&command));
        let output = command.stdin(Stdio::null()).output().map_err(Failure::io("run stillframe"))?;
        show(&String::from_utf8_lossy(&output.stderr));
        show(&String::from_utf8_lossy(&output.stdout));
        if output.status.success() {
            return Ok(());
        }
        Err(Failure::of_program(format!("stillframe ended with {}", output.status), output.status.code()))
    }

    /// A command of Stillframe as the server's shell runs it.
    pub(super) fn command_line(&self, arguments: &[&str]) -> String {
        let words = [self.binary.display().to_string(), "--config".to_owned(), self.configuration_name()];
        words.iter().map(String::as_str).chain(arguments.iter().copied()).map(quoted).collect::<Vec<_>>().join(" ")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.account.command(&self.binary, &self.directory);
        command.arg("--config").arg(self.configuration_path()).args(arguments);
        command
    }

    fn configuration_path(&self) -> PathBuf {
        self.directory.join("stillframe.toml")
    }
}

/// Shows text as what a program said or a file holds.
pub(super) fn show(text: &str) {
    for line in text.trim_end().lines() {
        println!("     {line}");
    }
}

/// Shows and runs SQL.
pub(super) fn run_sql(server: &Server, sql: &str) -> Result<(), Failure> {
    for statement in sql.lines() {
        println!("   postgres=# {statement}");
    }
    server.query(sql).map(drop)
}
