//! A provider that misbehaves in the way that its configuration names: `{"do": "loop"}`.
//!
//! With `{"in": "create"}` it does so only in that function. Otherwise, and where the misbehaviour leaves it alive, it answers
//! correctly, so that a test sees the difference that one fault makes. What it learns about the outside it returns as warnings of
//! `check`.

#![cfg(target_family = "wasm")]

mod answers;
mod attacks;
mod probes;

use bindings::exports::stillframe::provider::{provider, restore};
use bindings::stillframe::provider::types::{DataPath, Error, SetReference, SnapshotSet, Volume};

#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated from the WIT")]
mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "tree-provider", generate_all });

    use super::Hostile;
    export!(Hostile);
}

struct Hostile;

/// One value of the configuration, which the host writes as compact JSON.
fn setting<'a>(config: &'a str, key: &str) -> Option<&'a str> {
    let quoted = format!("\"{key}\":\"");
    let (_, rest) = config.split_once(&quoted)?;
    rest.split_once('"').map(|(value, _)| value)
}

/// What to do in this function.
fn behaviour<'a>(config: &'a str, function: &str) -> &'a str {
    match setting(config, "in") {
        Some(chosen) if chosen != function => "",
        _ => setting(config, "do").unwrap_or(""),
    }
}

/// Tells as its error what it could see.
fn spy(behaviour: &str, root: Option<&str>) -> Result<(), Error> {
    match root {
        Some(root) if behaviour == "spies" => Err(Error::Internal(probes::spy(root))),
        _ => Ok(()),
    }
}

impl provider::Guest for Hostile {
    /// Tries what it must not have here, and tells in its summary how that ended.
    fn describe() -> provider::ProviderInfo {
        provider::ProviderInfo {
            name: "hostile".to_owned(),
            version: "6.6.6".to_owned(),
            summary: probes::tree_roots(),
            features: provider::Features::RESTORE | provider::Features::IMMEDIATE,
            config_schema: "{}".to_owned(),
            needs: vec![provider::CapabilityNeed { capability: "tree".to_owned(), reason: "to look around".to_owned() }],
        }
    }

    fn check(config: String) -> Result<Vec<String>, Error> {
        let behaviour = behaviour(&config, "check");
        if let Some(found) = probes::probe(behaviour, setting(&config, "target").unwrap_or("")) {
            return Ok(vec![found]);
        }
        attacks::attack(behaviour)?;
        Ok(match behaviour {
            "many-warnings" => vec![String::new(); 101],
            "long-warning" => vec!["\u{1b}[31m".repeat(100_000)],
            "many-values" => vec![String::new(); 2_000_000],
            "echo-config" => vec![config],
            _ => Vec::new(),
        })
    }

    fn resolve(config: String, paths: Vec<DataPath>) -> Result<Vec<Volume>, Error> {
        let behaviour = behaviour(&config, "resolve");
        spy(behaviour, paths.first().and_then(|path| path.root.as_deref()))?;
        attacks::attack(behaviour)?;
        Ok(answers::volumes(behaviour, paths))
    }

    fn create_set(config: String, request: provider::CreateRequest) -> Result<SnapshotSet, Error> {
        let behaviour = behaviour(&config, "create");
        spy(behaviour, request.volumes.first().and_then(|volume| volume.paths.first()?.root.as_deref()))?;
        attacks::attack(behaviour)?;
        Ok(answers::created(behaviour, request))
    }

    fn get_set(config: String, reference: SetReference) -> Result<Option<SnapshotSet>, Error> {
        let behaviour = behaviour(&config, "get");
        attacks::attack(behaviour)?;
        Ok(answers::found(behaviour, reference))
    }

    fn list_sets(config: String, owner: String, cursor: Option<String>) -> Result<provider::SetPage, Error> {
        let behaviour = behaviour(&config, "list");
        attacks::attack(behaviour)?;
        Ok(answers::page(behaviour, &owner, cursor.as_deref()))
    }

    fn delete_set(config: String, _handle: String) -> Result<provider::Deletion, Error> {
        attacks::attack(behaviour(&config, "delete"))?;
        Ok(provider::Deletion::Deleted)
    }
}

impl restore::Guest for Hostile {
    fn restore_set(config: String, request: restore::RestoreRequest) -> Result<restore::Restored, Error> {
        let behaviour = behaviour(&config, "restore");
        spy(behaviour, request.directories.first().and_then(|directory| directory.root.as_deref()))?;
        attacks::attack(behaviour)?;
        Ok(answers::restored(behaviour, request))
    }

    fn release(config: String, _handle: String) -> Result<(), Error> {
        attacks::attack(behaviour(&config, "release"))
    }
}
