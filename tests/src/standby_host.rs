//! The host of a standby: its server, and the binary with a configuration of its own.

use crate::{Cluster, ConfigFile, Finished, Running, Site, Stillframe};

/// A standby of an installation, which shares its store. The server goes before its directories.
pub struct StandbyHost {
    /// The standby.
    pub cluster: Cluster,
    /// The binary with the configuration of this host.
    pub stillframe: Stillframe,
}

impl StandbyHost {
    /// Makes a standby of a server that runs, and starts it; its configuration names the primary of the installation.
    #[track_caller]
    pub fn start(site: &Site, upstream: &Cluster) -> Self {
        Self::start_with(site, upstream, &[], |config| config)
    }

    /// The same with these settings of the server and another configuration.
    #[track_caller]
    pub fn start_with(
        site: &Site,
        upstream: &Cluster,
        settings: &[(&str, &str)],
        change: impl FnOnce(ConfigFile) -> ConfigFile,
    ) -> Self {
        let mut cluster = Cluster::standby_of(upstream);
        for (name, value) in settings {
            cluster.append_setting(name, value);
        }
        cluster.start();
        let primary = site.cluster.conninfo();
        let of_standby = |config: ConfigFile| config.cluster("main", &cluster).value("cluster", "primary_conninfo", primary);
        let stillframe = site.configured(|config| change(of_standby(config)));
        Self { cluster, stillframe }
    }

    /// Waits until it has replayed all that the primary has written.
    #[track_caller]
    pub fn catch_up(&self, primary: &Cluster) {
        let position = primary.value("SELECT pg_current_wal_lsn()");
        self.cluster.wait_until(&format!("SELECT pg_last_wal_replay_lsn() >= '{position}'"));
    }

    /// Starts a backup of its files.
    #[track_caller]
    pub fn spawn_push(&self, session: &str) -> Running {
        self.stillframe.spawn(["--json", "snapshot-push", "--provider", "hardlink", "--session", session])
    }

    /// Tries to take a backup of its files.
    #[track_caller]
    pub fn push(&self, session: &str) -> Finished {
        self.spawn_push(session).wait()
    }

    /// Takes a backup of its files; gives its name.
    #[track_caller]
    pub fn backup(&self, session: &str) -> String {
        let finished = self.push(session);
        assert!(finished.is_success(), "{finished}");
        finished.json()["backup_name"].as_str().expect("a name").to_owned()
    }
}
