//! What every measurement needs: the binary, the peer, and clusters that both know.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::account::Account;
use crate::failure::Failure;
use crate::run::line;
use crate::server::Server;

/// The peer, as Debian packages it.
const PEER: &str = "pgbackrest";

/// Where everything lies, and as whom it runs.
pub(super) struct Stage<'bench> {
    pub(super) home: &'bench Path,
    pub(super) binary: &'bench Path,
    pub(super) account: &'bench Account,
}

/// A data directory that both programs are configured for.
pub(super) struct Cluster {
    pub(super) name: String,
    pub(super) data: PathBuf,
}

/// How both programs compress.
#[derive(Debug, Clone, Copy)]
pub(super) enum Codec {
    /// Stillframe's level is 1; the peer's is its own default, 3.
    Zstd,
    Lz4,
    /// What each takes when nobody says anything: zstd, and gzip at level 6.
    Default,
}

impl Codec {
    /// Stillframe's word.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Zstd | Self::Default => "zstd",
            Self::Lz4 => "lz4",
        }
    }

    /// The peer's word.
    fn of_the_peer(self) -> &'static str {
        match self {
            Self::Zstd => "zst",
            Self::Lz4 => "lz4",
            Self::Default => "gz",
        }
    }
}

impl Stage<'_> {
    /// Tells both programs about a cluster, and prepares their archives.
    pub(super) fn cluster(&self, name: &str, data: &Path) -> Result<Cluster, Failure> {
        let home = self.home.display();
        let configuration = format!(
            "[cluster]\nname = \"{name}\"\npgdata = \"{}\"\n\n[store]\nurl = \"file://{home}/store\"\n\n[archive]\nspool = \
             \"{home}/spool-{name}\"\n",
            data.display()
        );
        self.write(&format!("{name}.toml"), &configuration)?;
        let peer = format!(
            "[global]\nrepo1-path={home}/peer/repo\nlock-path={home}/peer/lock\nlog-path={home}/peer/log\n\
             spool-path={home}/peer/spool\nlog-level-console=warn\nlog-level-file=off\nprocess-max=2\n\n[{name}]\npg1-path={}\n",
            data.display()
        );
        self.write(&format!("{name}.pgbackrest"), &peer)?;
        let cluster = Cluster { name: name.to_owned(), data: data.to_owned() };
        quiet(&mut self.stillframe(&cluster, Codec::Zstd, &["store", "create"]))?;
        quiet(&mut self.peer(&cluster, Codec::Zstd, &["--no-online", "stanza-create"]))?;
        Ok(cluster)
    }

    /// Our program, for a cluster, in its data directory as PostgreSQL runs it.
    pub(super) fn stillframe(&self, cluster: &Cluster, codec: Codec, arguments: &[&str]) -> Command {
        let mut command = self.account.command(self.binary, self.home);
        command.arg("--config").arg(self.home.join(format!("{}.toml", cluster.name))).args(arguments);
        command.env("STILLFRAME_ARCHIVE_COMPRESSION", codec.name()).current_dir(&cluster.data);
        command
    }

    /// The peer, for a cluster.
    pub(super) fn peer(&self, cluster: &Cluster, codec: Codec, arguments: &[&str]) -> Command {
        let mut command = self.account.command(Path::new(PEER), self.home);
        command.arg(format!("--config={}", self.home.join(format!("{}.pgbackrest", cluster.name)).display()));
        command.arg(format!("--stanza={}", cluster.name)).args(arguments);
        // A flag is refused by the commands that compress nothing.
        command.env("PGBACKREST_COMPRESS_TYPE", codec.of_the_peer()).current_dir(&cluster.data);
        command
    }

    /// Another program, as the servers' user.
    pub(super) fn program(&self, program: &str) -> Command {
        self.account.command(Path::new(program), self.home)
    }

    /// A server on a data directory that exists or will; one runs at a time.
    pub(super) fn server(&self, data: &Path) -> Result<Server, Failure> {
        Server::on(self.home, data, 5440, self.account)
    }

    /// Empties both archives and what both keep beside them, so that everything is written again.
    pub(super) fn forget(&self, cluster: &Cluster) -> Result<(), Failure> {
        remove(&self.home.join("store").join(&cluster.name))?;
        remove(&self.home.join(format!("spool-{}", cluster.name)))?;
        remove(&self.home.join("peer/spool"))?;
        let archive = self.home.join("peer/repo/archive").join(&cluster.name);
        for entry in fs::read_dir(&archive).map_err(Failure::io(format!("list `{}`", archive.display())))? {
            let entry = entry.map_err(Failure::io("list the peer's archive"))?;
            // `archive.info` beside it says that the cluster is known.
            if entry.path().is_dir() {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Writes a file of the servers' user.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.home.join(name);
        fs::write(&path, text).map_err(Failure::io(format!("write `{}`", path.display())))?;
        self.account.own(&path)
    }
}

/// Runs a program without output; its failure is ours, since a figure of what failed would say nothing.
pub(super) fn quiet(command: &mut Command) -> Result<(), Failure> {
    ends_with(0, command)
}

/// The same of a program that is meant to end with this code.
pub(super) fn ends_with(code: i32, command: &mut Command) -> Result<(), Failure> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status().map_err(Failure::io(format!("run `{}`", line(command))))?;
    if status.code() == Some(code) { Ok(()) } else { Err(Failure::new(format!("`{}` ended with {status}", line(command)))) }
}

/// Removes a directory and all below it; absent is fine.
pub(super) fn remove(directory: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::new(format!("cannot remove `{}`: {error}", directory.display())))
        }
        _ => Ok(()),
    }
}
