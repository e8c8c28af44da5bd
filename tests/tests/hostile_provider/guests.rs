//! The hostile components, and installations whose provider is one of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use stillframe_tests::{Account, ConfigFile, Finished, Site, SiteBuilder, Stillframe, tested_major};

/// What an attack gets that would never end: enough for the calls before it on a busy machine.
const DEADLINE_SECS: i64 = 3;

/// One of the hostile components: one that is built already, or else built now.
pub(crate) fn component(name: &str) -> PathBuf {
    let file = format!("stillframe_guest_{name}.wasm");
    if let Some(built) = std::env::var_os("STILLFRAME_COMPONENTS") {
        return Path::new(&built).join(file);
    }
    // A target directory of its own: the build of this test may hold the lock of the other one.
    let guests = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("guests");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--profile", "plugin", "--target", "wasm32-wasip2", "-p", &format!("stillframe-guest-{name}")])
        .arg("--target-dir")
        .arg(&guests)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(built.success(), "the component `{name}` cannot be built: {built}");
    guests.join("wasm32-wasip2/plugin").join(file)
}

/// A component's file where the unprivileged user can read it.
pub(crate) fn installed(site: &Site, bytes: &[u8]) -> PathBuf {
    let file = site.place("provider.wasm");
    Account::unprivileged().write(&file, bytes);
    file
}

/// The bytes of a component with a text in it replaced by another of the same length, which need not be text.
#[track_caller]
pub(crate) fn patched(name: &str, text: &[u8], replacement: &[u8]) -> Vec<u8> {
    assert_eq!(text.len(), replacement.len());
    let mut bytes = fs::read(component(name)).unwrap();
    let places: Vec<usize> =
        bytes.windows(text.len()).enumerate().filter(|(_, window)| *window == text).map(|(place, _)| place).collect();
    assert!(!places.is_empty(), "`{}` is not in the component", String::from_utf8_lossy(text));
    for place in places {
        bytes[place..place + text.len()].copy_from_slice(replacement);
    }
    bytes
}

pub(crate) fn sha256(file: &Path) -> String {
    let output = Command::new("sha256sum").arg(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
}

/// The section of the provider `hostile` with a component, its digest and the grant that it wants.
pub(crate) fn section(config: ConfigFile, component: &Path) -> ConfigFile {
    config
        .value("provider.hostile", "component", component.display().to_string())
        .value("provider.hostile", "sha256", sha256(component))
        .value("provider.hostile", "deadline_secs", DEADLINE_SECS)
        .value("provider.hostile.grants.tree", "read_data", false)
}

/// The binary with a provider that does this in that function.
pub(crate) fn provider_that(site: &Site, behaviour: &str, function: &str) -> Stillframe {
    let component = installed(site, &fs::read(component("hostile")).unwrap());
    site.configured(|config| {
        section(config, &component).value("provider.hostile", "do", behaviour).value("provider.hostile", "in", function)
    })
}

pub(crate) fn push(stillframe: &Stillframe) -> Finished {
    stillframe.run(["snapshot-push", "--provider", "hostile"])
}

/// Nothing of a provider acts on a terminal, be it shown or piped into one: no control character, nothing that turns the direction.
#[track_caller]
pub(crate) fn assert_printable(finished: &Finished) {
    let turns = |character: char| matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
    for text in [&finished.stdout, &finished.stderr] {
        let found = text.chars().find(|character| (character.is_control() && *character != '\n') || turns(*character));
        assert_eq!(found, None, "{text:?}");
        // What is no text at all would have been replaced.
        assert!(!text.contains('\u{fffd}'), "{text:?}");
        assert!(text.lines().all(|line| !line.starts_with(" forged line")), "{text}");
    }
}

/// A cluster with one tablespace and the provider `liar`, which works unless it is told to lie.
pub(crate) struct Liars {
    pub(crate) site: Site,
}

impl Liars {
    pub(crate) fn start() -> Self {
        Self::start_as(|builder| builder)
    }

    pub(crate) fn start_as(change: impl FnOnce(SiteBuilder) -> SiteBuilder) -> Self {
        let builder = Site::builder(tested_major()).cluster(|cluster| cluster.tablespaces(1).setting("autovacuum", "off"));
        let mut site = change(builder).start();
        let component = installed(&site, &fs::read(component("liar")).unwrap());
        Account::unprivileged().create_directory(&site.place("lies"));
        // The bundled provider is not used here, and answers all the same.
        let marker = site.place("snapshots/stillframe-snapshots.json");
        Account::unprivileged().write(&marker, r#"{"format_version":1}"#);
        site.cluster.sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS i");
        let (root, digest) = (site.place("lies").display().to_string(), sha256(&component));
        site.reconfigure(|config| {
            config
                .value("provider.liar", "component", component.display().to_string())
                .value("provider.liar", "sha256", digest)
                .value("provider.liar", "memory_mib", 512)
                .value("provider.liar.grants", "restore_below", vec![root.clone()])
                .value("provider.liar.grants.tree", "read_data", true)
                .value("provider.liar.grants.tree", "write_restore", true)
                .value("provider.liar.grants.tree.roots", "snapshots", root)
        });
        Self { site }
    }

    /// The binary with a provider that tells this lie, about that.
    pub(crate) fn telling(&self, lie: &str, about: &str) -> Stillframe {
        self.site.configured(|config| config.value("provider.liar", "lie", lie).value("provider.liar", "about", about))
    }

    /// The binary with another component under the same name.
    pub(crate) fn with_component(&self, bytes: &[u8]) -> Stillframe {
        let file = self.site.place("patched.wasm");
        Account::unprivileged().write(&file, bytes);
        self.site.configured(|config| {
            config.value("provider.liar", "component", file.display().to_string()).value("provider.liar", "sha256", sha256(&file))
        })
    }

    /// Takes an honest backup; gives its name.
    #[track_caller]
    pub(crate) fn backup(&self) -> String {
        self.site.backup_by("liar", &[])
    }

    /// Tries to take a backup with this lie.
    pub(crate) fn push(&self, lie: &str, about: &str) -> Finished {
        push_by(&self.telling(lie, about))
    }

    /// The set of a backup as its record has it.
    #[track_caller]
    pub(crate) fn set(&self, name: &str) -> Value {
        self.site.show(name)["sets"][0]["snapshot"].clone()
    }

    #[track_caller]
    pub(crate) fn handle(&self, name: &str) -> String {
        self.set(name)["handle"].as_str().unwrap().to_owned()
    }

    /// The directory of a backup's set.
    #[track_caller]
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        self.lies(self.set(name)["token"].as_str().unwrap())
    }

    /// A path below the root of the provider.
    pub(crate) fn lies(&self, path: &str) -> PathBuf {
        self.site.place("lies").join(path)
    }

    /// Names of the sets that the provider keeps, whatever it says of them.
    pub(crate) fn kept(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.site.place("lies")).unwrap().map(|entry| entry.unwrap().path().join("record.json"));
        let records = entries.filter_map(|record| serde_json::from_slice::<Value>(&fs::read(record).ok()?).ok());
        records.map(|record| record["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Removes everything that the catalog knows of a backup.
    pub(crate) fn forget(&self, name: &str) {
        fs::remove_dir_all(self.site.place("store/main/snapshots_001").join(name)).unwrap();
    }

    /// A failed backup: one clear error with this code, no backup mode, nothing published, and nothing left that nobody knows.
    #[track_caller]
    pub(crate) fn assert_push_fails(&self, lie: &str, about: &str, code: i32, words: &str) {
        let before = self.site.backups();
        let finished = self.push(lie, about);
        assert_error(&finished, code, words);
        self.site.wait_until_no_session_is_left();
        assert_eq!(self.site.backups(), before, "{lie}: nothing is published: {finished}");
        assert!(self.site.intents().is_empty(), "{lie}: nothing is left to be undone: {finished}");
        assert_eq!(self.kept(), before.into_iter().collect(), "{lie}: no snapshot that nobody knows: {finished}");
    }

    /// The backup is whole: it is restored, recovered, and has all rows.
    #[track_caller]
    pub(crate) fn assert_restorable(&self, name: &str) {
        let place = format!("restored-{name}");
        let tablespace = format!("{place}-ts");
        let finished = self.fetch(&self.site.stillframe, name, &place, &tablespace);
        assert!(finished.is_success(), "{finished}");
        let restored = self.site.recover(&place);
        assert_eq!(restored.value("SELECT count(*) FROM t"), "1000");
        drop(restored);
        self.site.release(&place);
        fs::remove_dir_all(self.site.place(&place)).unwrap();
        fs::remove_dir_all(self.site.place(&tablespace)).unwrap();
    }

    /// Restores a backup to this place, and its tablespace to that one.
    pub(crate) fn fetch(&self, stillframe: &Stillframe, name: &str, place: &str, tablespace: &str) -> Finished {
        let original = self.site.cluster.value("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'ts1'");
        let mapping = format!("{original}={}", self.site.place(tablespace).display());
        let place = self.site.place(place).display().to_string();
        stillframe.run(["snapshot-fetch", &place, name, "--tablespace-mapping", &mapping, "--archiving", "off"])
    }
}

/// Replaces a part of the provider's own record of a set, which lies in this directory.
#[track_caller]
pub(crate) fn edit(directory: &Path, edit: impl FnOnce(&mut Value)) {
    let path = directory.join("record.json");
    let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut record);
    Account::unprivileged().write(&path, record.to_string());
}

/// Tries to take a backup with the liar of this configuration.
pub(crate) fn push_by(stillframe: &Stillframe) -> Finished {
    stillframe.run(["snapshot-push", "--provider", "liar"])
}

/// One error on standard error, with this code and these words, that no terminal acts on.
#[track_caller]
pub(crate) fn assert_error(finished: &Finished, code: i32, words: &str) {
    assert_eq!(finished.code(), Some(code), "`{words}`: {finished}");
    let errors: Vec<&str> = finished.stderr.lines().filter(|line| line.starts_with("error:")).collect();
    assert_eq!(errors.len(), 1, "{finished}");
    assert!(errors[0].contains(words), "`{words}` is missing: {finished}");
    assert_printable(finished);
}

#[track_caller]
pub(crate) fn json(stillframe: &Stillframe, arguments: &[&str]) -> (Finished, Value) {
    let finished = stillframe.run(["--json"].iter().chain(arguments));
    assert_printable(&finished);
    let value = finished.json();
    (finished, value)
}
