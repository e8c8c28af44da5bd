//! The scenario that every provider must pass on every storage: under load, to the moment, and without a trace in the end.

use std::path::{Path, PathBuf};

use serde_json::Value;
use stillframe_tests::{Account, Cluster, ClusterBuilder, Site, SiteBuilder, Stillframe, StopMode};

use crate::{History, Load, engine};

/// Rows of the test's own history between two steps.
const ROWS: usize = 25;

/// What gives a provider's programs the rights of root.
const SUDO: [&str; 2] = ["/usr/bin/sudo", "-n"];

/// An installation on real storage, before it is started.
#[must_use]
pub struct Subject {
    provider: String,
    site: SiteBuilder,
    restores: PathBuf,
    volumes: Option<Volumes>,
    sudo_to_restore: bool,
    restores_are_mounted: bool,
    look: Box<dyn Fn(&Value)>,
}

/// The places of a cluster that lies on several volumes.
#[derive(Debug, Clone)]
pub struct Volumes {
    /// Of `pg_wal`.
    pub wal: PathBuf,
    /// Of two tablespaces, over which the load is spread: the tables in the first, their indexes in the second.
    pub tablespaces: [PathBuf; 2],
}

impl Subject {
    /// A cluster with its data at this place, whose backups are made by a provider and restored below another place.
    pub fn new(provider: &str, data: &Path, restores: &Path) -> Self {
        // What a commit says must be true on the volume as well; the harness trades that for speed elsewhere.
        let site = Site::builder(15).cluster(|builder| builder.data_at(data).setting("fsync", "on"));
        let site = site.value("runtime", "engine", engine());
        let restores = restores.to_owned();
        Account::unprivileged().create_directory(&restores);
        Self {
            provider: provider.to_owned(),
            site,
            restores,
            volumes: None,
            sudo_to_restore: false,
            restores_are_mounted: false,
            look: Box::new(|_| {}),
        }
    }

    /// Sets a key of the provider's configuration.
    pub fn key(mut self, key: &str, value: impl Into<toml::Value>) -> Self {
        self.site = self.site.value(&format!("provider.{}", self.provider), key, value);
        self
    }

    /// Lets another provider cut what lies below a directory.
    pub fn also(mut self, provider: &str, below: &Path, key: &str, value: impl Into<toml::Value>) -> Self {
        self.site = self.site.value(&format!("provider.{provider}"), key, value);
        self.site = self.site.value("paths", &below.display().to_string(), provider);
        self
    }

    /// Sets a key of another table of the configuration.
    pub fn value(mut self, table: &str, key: &str, value: impl Into<toml::Value>) -> Self {
        self.site = self.site.value(table, key, value);
        self
    }

    /// Changes the cluster.
    pub fn cluster(mut self, change: impl FnOnce(ClusterBuilder) -> ClusterBuilder) -> Self {
        self.site = self.site.cluster(change);
        self
    }

    /// Changes the rest of the installation.
    pub fn site(mut self, change: impl FnOnce(SiteBuilder) -> SiteBuilder) -> Self {
        self.site = change(self.site);
        self
    }

    /// Puts `pg_wal` and two tablespaces on volumes of their own.
    pub fn volumes(mut self, volumes: Volumes) -> Self {
        let [first, second] = &volumes.tablespaces;
        self.site = self.site.cluster(|builder| builder.wal_at(&volumes.wal).tablespace_at(first).tablespace_at(second));
        self.volumes = Some(volumes);
        self
    }

    /// Runs the provider's programs as root, always.
    pub fn sudo(self) -> Self {
        self.key("command_prefix", SUDO.to_vec())
    }

    /// Runs the provider's programs as root to restore, and only then.
    pub fn sudo_to_restore(mut self) -> Self {
        self.sudo_to_restore = true;
        self
    }

    /// What is restored is mounted, and cannot go while a server runs on it.
    pub fn restores_are_mounted(mut self) -> Self {
        self.restores_are_mounted = true;
        self
    }

    /// Looks at all that is recorded of the backup.
    pub fn look(mut self, look: impl Fn(&Value) + 'static) -> Self {
        self.look = Box::new(look);
        self
    }

    /// Starts it, for a scenario of its own.
    #[track_caller]
    pub fn start(self) -> Site {
        self.site.start()
    }
}

/// Backs a server up under load, restores it to a moment between two commits and deletes everything; `kept` lists all that the
/// storage keeps, in its own words.
#[track_caller]
pub fn recovers_to_the_moment_and_leaves_nothing(subject: Subject, kept: impl Fn() -> Vec<String>) {
    let Subject { provider, site, restores, volumes, sudo_to_restore, restores_are_mounted, look } = subject;
    let site = site.start();
    let before = kept();
    Load::prepare(&site.cluster, volumes.is_some().then_some(("ts1", "ts2")));
    let mut history = History::begin(&site.cluster);
    let load = Load::begin(&site.cluster);
    history.write(&site.cluster, ROWS);

    let name = site.backup_by(&provider, &[]);
    assert!(kept().iter().any(|kept| kept.contains(&name)), "the storage names `{name}`: {:?}", kept());
    look(&site.show(&name));
    history.write(&site.cluster, ROWS);
    load.goes_on(&site.cluster);
    let (moment, rows) = history.moment(&site.cluster);
    history.write(&site.cluster, ROWS);
    drop(load);
    site.switch_wal();

    let prefix = SUDO.to_vec();
    let section = format!("provider.{provider}");
    let restoring = if sudo_to_restore {
        site.configured(|config| config.value(&section, "command_prefix", prefix))
    } else {
        site.stillframe.clone()
    };
    let restored = restores.join("main");
    fetch(&restoring, &restored, &name, &moment, volumes.as_ref().map(|volumes| (volumes, restores.as_path())));
    let cluster = site.recover(&restored.display().to_string());
    History::assert_rows(&cluster, rows);
    assert!(Load::is_consistent(&cluster), "the restored tables agree with each other");
    cluster.sql("DELETE FROM history");
    release(&restoring, cluster, &restored, restores_are_mounted);

    History::assert_rows(&site.cluster, 3 * ROWS);
    assert!(Load::is_consistent(&site.cluster), "the living server has not noticed");
    let deleted = site.stillframe.run(["delete", "everything", "--confirm"]);
    assert!(deleted.is_success(), "{deleted}");
    assert!(site.backups().is_empty() && site.intents().is_empty(), "nothing is listed");
    assert_eq!(kept(), before, "the storage keeps nothing");
}

#[track_caller]
fn fetch(restoring: &Stillframe, restored: &Path, name: &str, moment: &str, volumes: Option<(&Volumes, &Path)>) {
    let restored = restored.display().to_string();
    let mut arguments = vec!["snapshot-fetch".to_owned(), restored, name.to_owned()];
    arguments.extend(["--target-time", moment, "--target-action", "promote", "--archiving", "off"].map(str::to_owned));
    if let Some((volumes, restores)) = volumes {
        for (number, location) in volumes.tablespaces.iter().enumerate() {
            let new = restores.join(format!("ts{}", number + 1));
            arguments.extend(["--tablespace-mapping".to_owned(), format!("{}={}", location.display(), new.display())]);
        }
        arguments.extend(["--wal-directory".to_owned(), restores.join("wal").display().to_string()]);
    }
    restoring.succeed(arguments);
}

#[track_caller]
fn release(restoring: &Stillframe, mut cluster: Cluster, restored: &Path, is_mounted: bool) {
    if is_mounted {
        let refused = restoring.run(["snapshot-release".as_ref(), restored.as_os_str()]);
        assert!(!refused.is_success(), "a server runs there: {refused}");
        assert_eq!(cluster.value("SELECT count(*) FROM history"), "0", "it runs on");
    }
    cluster.stop(StopMode::Fast);
    for _ in 0..2 {
        restoring.succeed(["snapshot-release".as_ref(), restored.as_os_str()]);
    }
}
