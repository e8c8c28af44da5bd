//! A provider that works, but for the one lie that its configuration names: `lie = "keeps"`.
//!
//! Its sets are clones below the root `snapshots`, with records beside them, so that what a lie does to backups can be seen and
//! restored from. A lie belongs to one function, and needs no more than what every provider of trees is granted. What it is
//! about, a handle or a path, is `about`. The lie `trap` is told in the function that `about` names.

#![cfg(target_family = "wasm")]

mod cut;
mod record;
mod restore;
mod tell;

use record::Record;
use serde::Deserialize;
use stillframe_sdk::tree::{Tree, location};
use stillframe_sdk::{
    CreateRequest, DataPath, Deletion, Error, Features, Host, LockMode, Provider, ProviderInfo, RestoreRequest, Restored, SetPage,
    SetReference, SnapshotSet, Volume,
};

/// Clears the screen, writes to the clipboard, and turns the direction of writing.
const ESCAPES: &str = "\u{1b}[2J\u{1b}]52;c;ZXZpbA==\u{7}\u{9b}31m\u{202e}\r\n forged line";

/// Works, and lies.
#[derive(Debug, Clone, Copy)]
pub struct Liar;

stillframe_sdk::export_provider!(Liar, restore, lock);

/// What to lie about.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    #[serde(default)]
    lie: String,
    #[serde(default)]
    about: String,
}

impl Config {
    fn tells(&self, lie: &str) -> bool {
        self.lie == lie
    }

    /// Dies here, when it is told to die in this function.
    fn enter(&self, function: &str) {
        assert!(!(self.tells("trap") && self.about == function), "{ESCAPES}");
    }
}

impl<H: Host + Tree> Provider<H> for Liar {
    type Config = Config;

    fn describe() -> ProviderInfo {
        ProviderInfo {
            name: "liar".to_owned(),
            version: "6.6.6-version".to_owned(),
            summary: "summary-of-the-liar".to_owned(),
            features: Features::RESTORE | Features::LOCK | Features::ISOLATED | Features::IMMEDIATE,
            config_schema: r#"{"properties":{"lie":{"title":"title-of-a-lie"},"about":{}}}"#.to_owned(),
            needs: Vec::new(),
        }
    }

    fn check(_: &H, config: &Config) -> Result<Vec<String>, Error> {
        config.enter("check");
        Ok(if config.tells("warns") { vec![ESCAPES.to_owned()] } else { Vec::new() })
    }

    fn resolve(_: &H, config: &Config, paths: Vec<DataPath>) -> Result<Vec<Volume>, Error> {
        config.enter("resolve");
        let volume = |path: DataPath| Volume { id: path.name.clone(), paths: vec![path], attributes: Vec::new() };
        Ok(paths.into_iter().map(volume).collect())
    }

    fn create_set(host: &H, config: &Config, request: CreateRequest) -> Result<SnapshotSet, Error> {
        config.enter("create");
        cut::create_set(host, config, request)
    }

    fn get_set(host: &H, config: &Config, reference: SetReference) -> Result<Option<SnapshotSet>, Error> {
        config.enter("get");
        tell::get_set(host, config, &reference)
    }

    fn list_sets(host: &H, config: &Config, owner: &str, _: Option<String>) -> Result<SetPage, Error> {
        config.enter("list");
        tell::list_sets(host, config, owner)
    }

    fn delete_set(host: &H, config: &Config, handle: &str) -> Result<Deletion, Error> {
        config.enter("delete");
        delete_set(host, config, handle)
    }

    fn restore_set(host: &H, config: &Config, request: RestoreRequest) -> Result<Restored, Error> {
        config.enter("restore");
        restore::restore_set(host, config, request)
    }

    fn release(host: &H, config: &Config, handle: &str) -> Result<(), Error> {
        config.enter("release");
        restore::release(host, config, handle)
    }

    fn lock_set(_: &H, config: &Config, _: &str, _: LockMode, _: u64) -> Result<(), Error> {
        // It keeps no lock, whatever it says.
        config.enter("lock");
        Ok(())
    }

    fn unlock_set(_: &H, config: &Config, _: &str) -> Result<(), Error> {
        config.enter("unlock");
        Ok(())
    }
}

fn delete_set<H: Host + Tree>(host: &H, config: &Config, handle: &str) -> Result<Deletion, Error> {
    match config.lie.as_str() {
        "keeps" => return Ok(Deletion::Deleted),
        "never-done" => return Ok(Deletion::Pending),
        "locked-for-ever" => return Err(Error::Locked(253_370_764_800_000)),
        "in-use" => return Err(Error::InUse(ESCAPES.to_owned())),
        "takes-another" => {
            if let Some(other) = Record::of_handle(host, &config.about)? {
                host.remove_tree(&location(record::ROOT, &other.token))?;
            }
        }
        _ => {}
    }
    match Record::of_handle(host, handle)? {
        Some(record) => host.remove_tree(&location(record::ROOT, &record.token)).map(|()| Deletion::Deleted).map_err(Error::from),
        None if config.tells("absence-is-an-error") => Err(Error::NotFound(handle.to_owned())),
        None => Ok(Deletion::Absent),
    }
}
