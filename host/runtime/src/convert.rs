//! Between the interface's types and the domain's: the only place where both are named.
//!
//! What goes to a provider is ours and converts as it is. What comes from one is input: every part is bounded here. Whether the
//! whole answers the question is checked in [`crate::answer`].

use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;
use stillframe_core::provider::{
    CapabilityNeed, CreateRequest, DataPath, DataPathName, DataRole, Deletion, Features, Labels, LockMode, Member, MemberState,
    ProviderDescription, ProviderFault, ProviderName, RestoreRequest, Restored, SetReference, SnapshotSet, Token, Volume,
};
use stillframe_core::text::is_dangerous;

use crate::bindings::exports::stillframe::provider::{lock, provider as wit_provider, restore as wit_restore};
use crate::bindings::stillframe::provider::types as wit;
use crate::bounds::{self, at_most, bad, identifier, moment, quoted, words};
use crate::roots;
use crate::settings::TreeGrant;

/// The longest wait that a provider can ask for: an hour. What is longer would stall a backup without a word.
const MAX_RETRY_AFTER_MS: u64 = 3_600_000;

/// One page of a listing.
pub(crate) struct Page {
    pub(crate) sets: Vec<SnapshotSet>,
    pub(crate) next: Option<String>,
}

/// A volume as the provider gave it; its paths are only names until they are found among those that it was asked about.
pub(crate) struct ResolvedVolume {
    pub(crate) id: String,
    pub(crate) paths: Vec<String>,
    pub(crate) attributes: Labels,
}

// To a provider.

/// A data path, with the root that the grant gives it.
pub(crate) fn data_path(path: &DataPath, grant: Option<&TreeGrant>) -> Result<wit::DataPath, ProviderFault> {
    let device = |device: &stillframe_core::provider::BlockDevice| wit::BlockDevice {
        name: device.name.clone(),
        kind: device.kind.clone(),
        serial: device.serial.clone(),
        model: device.model.clone(),
    };
    Ok(wit::DataPath {
        role: role(path.role),
        name: path.name.to_string(),
        path: path_text(&path.path)?,
        mount_point: path_text(&path.mount_point)?,
        fs_type: path.fs_type.clone(),
        mount_source: path.mount_source.clone(),
        devices: path.devices.iter().map(device).collect(),
        root: roots::source(grant, &path.name),
        skip: path.skip.clone(),
        last: path.last.clone(),
    })
}

/// A request to cut.
pub(crate) fn create_request(
    request: &CreateRequest,
    grant: Option<&TreeGrant>,
) -> Result<wit_provider::CreateRequest, ProviderFault> {
    let volume = |volume: &Volume| {
        let paths = volume.paths.iter().map(|path| data_path(path, grant)).collect::<Result<_, _>>()?;
        Ok(wit::Volume { id: volume.id.clone(), paths, attributes: pairs(&volume.attributes) })
    };
    Ok(wit_provider::CreateRequest {
        token: request.token.0.clone(),
        name: request.name.to_string(),
        volumes: request.volumes.iter().map(volume).collect::<Result<_, ProviderFault>>()?,
        labels: pairs(&request.labels),
        previous: request.previous.clone(),
    })
}

/// A lock's mode for the guest.
pub(crate) fn lock_mode(mode: LockMode) -> lock::LockMode {
    match mode {
        LockMode::Governance => lock::LockMode::Governance,
        LockMode::Compliance => lock::LockMode::Compliance,
    }
}

/// A moment for the guest; one before 1970 is 0.
pub(crate) fn milliseconds(moment: Timestamp) -> u64 {
    u64::try_from(moment.as_millisecond()).unwrap_or(0)
}

/// A reference to a set.
pub(crate) fn set_reference(reference: &SetReference) -> wit::SetReference {
    match reference {
        SetReference::Token(token) => wit::SetReference::Token(token.0.clone()),
        SetReference::Handle(handle) => wit::SetReference::Handle(handle.clone()),
    }
}

/// A request to restore.
pub(crate) fn restore_request(
    request: &RestoreRequest,
    grant: Option<&TreeGrant>,
) -> Result<wit_restore::RestoreRequest, ProviderFault> {
    let mut directories = Vec::with_capacity(request.directories.len());
    for directory in &request.directories {
        directories.push(wit_restore::RestoreDirectory {
            name: directory.name.to_string(),
            role: role(directory.role),
            path: path_text(&directory.path)?,
            root: roots::target(grant, &directory.name),
            last: directory.last.clone(),
        });
    }
    Ok(wit_restore::RestoreRequest { handle: request.handle.clone(), token: request.token.0.clone(), directories })
}

fn role(role: DataRole) -> wit::DataRole {
    match role {
        DataRole::Data => wit::DataRole::Data,
        DataRole::Wal => wit::DataRole::Wal,
        DataRole::Tablespace => wit::DataRole::Tablespace,
    }
}

fn path_text(path: &Path) -> Result<String, ProviderFault> {
    let invalid =
        || ProviderFault::Invalid { field: path.display().to_string(), message: "a provider needs a path in UTF-8".to_owned() };
    path.to_str().map(ToOwned::to_owned).ok_or_else(invalid)
}

fn pairs(labels: &Labels) -> wit::Labels {
    labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

// From a provider.

/// What it says about itself.
pub(crate) fn description(info: wit_provider::ProviderInfo) -> Result<ProviderDescription, ProviderFault> {
    let name = ProviderName::try_from(info.name).map_err(|reason| bad(words(&reason)))?;
    if info.config_schema.len() > bounds::MAX_SCHEMA_BYTES {
        return Err(bad(format!(
            "its schema has {} bytes, and {} are allowed",
            info.config_schema.len(),
            bounds::MAX_SCHEMA_BYTES
        )));
    }
    check_schema(&info.config_schema)?;
    let need = |need: wit_provider::CapabilityNeed| {
        let capability = identifier("the name of a capability", need.capability, bounds::MAX_ID_BYTES)?;
        Ok(CapabilityNeed { capability, reason: words(&need.reason) })
    };
    let has = |feature| info.features.contains(feature);
    Ok(ProviderDescription {
        name: name.into(),
        version: identifier("its version", info.version, bounds::MAX_ID_BYTES)?,
        summary: words(&info.summary),
        features: Features {
            atomic_group: has(wit_provider::Features::ATOMIC_GROUP),
            isolated: has(wit_provider::Features::ISOLATED),
            restore: has(wit_provider::Features::RESTORE),
            lock: has(wit_provider::Features::LOCK),
            immediate: has(wit_provider::Features::IMMEDIATE),
            incremental: has(wit_provider::Features::INCREMENTAL),
        },
        config_schema: info.config_schema,
        needs: at_most("needs", info.needs, bounds::MAX_NEEDS)?.into_iter().map(need).collect::<Result<_, ProviderFault>>()?,
    })
}

/// It is an object of JSON, and nothing in it can mislead a reader: it is shown as it is, and so are the names of its keys.
fn check_schema(schema: &str) -> Result<(), ProviderFault> {
    let is_layout = |character: char| matches!(character, '\n' | '\r' | '\t');
    if schema.chars().any(|character| is_dangerous(character) && !is_layout(character)) {
        return Err(bad("its schema contains control characters"));
    }
    let parsed: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(schema).map_err(|reason| bad(format!("its schema is not a JSON object: {reason}")))?;
    let properties = parsed.get("properties").and_then(serde_json::Value::as_object);
    match properties.into_iter().flat_map(serde_json::Map::keys).find(|key| key.chars().any(is_dangerous)) {
        None => Ok(()),
        Some(key) => Err(bad(format!("the key {} of its schema contains control characters", quoted(key)))),
    }
}

/// What a check warns of.
pub(crate) fn warnings(warnings: Vec<String>) -> Result<Vec<String>, ProviderFault> {
    Ok(at_most("warnings", warnings, bounds::MAX_WARNINGS)?.iter().map(|warning| words(warning)).collect())
}

/// The volumes that paths were mapped to.
pub(crate) fn resolved(volumes: Vec<wit::Volume>) -> Result<Vec<ResolvedVolume>, ProviderFault> {
    let volume = |volume: wit::Volume| {
        Ok(ResolvedVolume {
            id: identifier("the id of a volume", volume.id, bounds::MAX_ID_BYTES)?,
            paths: volume.paths.into_iter().map(|path| path.name).collect(),
            attributes: bounds::labels("attributes", volume.attributes)?,
        })
    };
    at_most("volumes", volumes, bounds::MAX_MEMBERS)?.into_iter().map(volume).collect()
}

/// A snapshot set.
pub(crate) fn snapshot_set(set: wit::SnapshotSet) -> Result<SnapshotSet, ProviderFault> {
    Ok(SnapshotSet {
        handle: identifier("the handle", set.handle, bounds::MAX_HANDLE_BYTES)?,
        token: Token(identifier("the token", set.token, bounds::MAX_ID_BYTES)?),
        name: identifier("the name of the set", set.name, bounds::MAX_ID_BYTES)?,
        atomic: set.atomic,
        isolated: set.isolated,
        cut_begin: moment("the begin of the cut", set.cut_begin_ms)?,
        cut_end: moment("the end of the cut", set.cut_end_ms)?,
        members: at_most("members", set.members, bounds::MAX_MEMBERS)?.into_iter().map(member).collect::<Result<_, _>>()?,
        labels: bounds::labels("labels", set.labels)?,
    })
}

fn member(member: wit::Member) -> Result<Member, ProviderFault> {
    if let Some(percent) = member.percent.filter(|percent| *percent > 100) {
        return Err(bad(format!("a member is {percent} percent complete")));
    }
    let state = match member.state {
        wit::MemberState::Cutting => MemberState::Cutting,
        wit::MemberState::Cut => MemberState::Cut,
        wit::MemberState::Ready => MemberState::Ready,
        wit::MemberState::Failed(reason) => MemberState::Failed(words(&reason)),
        wit::MemberState::Deleting => MemberState::Deleting,
        wit::MemberState::Absent => MemberState::Absent,
    };
    Ok(Member {
        volume: identifier("the volume of a member", member.volume, bounds::MAX_ID_BYTES)?,
        id: identifier("the id of a member", member.id, bounds::MAX_ID_BYTES)?,
        state,
        percent: member.percent,
        size_bytes: member.size_bytes,
        attributes: bounds::labels("attributes", member.attributes)?,
    })
}

/// One page of a listing.
pub(crate) fn page(page: wit_provider::SetPage) -> Result<Page, ProviderFault> {
    let next = page.next.map(|next| identifier("the cursor", next, bounds::MAX_CURSOR_BYTES)).transpose()?;
    let sets = at_most("sets on a page", page.sets, bounds::MAX_PAGE_SETS)?;
    Ok(Page { sets: sets.into_iter().map(snapshot_set).collect::<Result<_, _>>()?, next })
}

/// What became of a deletion.
pub(crate) fn deletion(deletion: wit_provider::Deletion) -> Deletion {
    match deletion {
        wit_provider::Deletion::Deleted => Deletion::Deleted,
        wit_provider::Deletion::Pending => Deletion::Pending,
        wit_provider::Deletion::Absent => Deletion::Absent,
    }
}

/// What a restore made.
pub(crate) fn restored(restored: wit_restore::Restored) -> Result<Restored, ProviderFault> {
    let directory = |directory: wit_restore::RestoredDirectory| {
        let name = DataPathName::try_from(directory.name).map_err(|reason| bad(words(&reason)))?;
        let path = PathBuf::from(identifier("the path of a directory", directory.path, bounds::MAX_PATH_BYTES)?);
        if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
            return Err(bad(format!("the path {} is not absolute, or leads upwards", quoted(&path.to_string_lossy()))));
        }
        Ok((name, path))
    };
    Ok(Restored {
        handle: identifier("the handle", restored.handle, bounds::MAX_HANDLE_BYTES)?,
        directories: at_most("directories", restored.directories, bounds::MAX_MEMBERS)?
            .into_iter()
            .map(directory)
            .collect::<Result<_, ProviderFault>>()?,
    })
}

/// Why it failed, in its own words.
pub(crate) fn fault(error: wit::Error) -> ProviderFault {
    let wait = |milliseconds: Option<u64>| milliseconds.map(|milliseconds| milliseconds.min(MAX_RETRY_AFTER_MS));
    match error {
        wit::Error::Invalid(argument) => {
            ProviderFault::Invalid { field: words(&argument.field), message: words(&argument.message) }
        }
        wit::Error::Unsupported(text) => ProviderFault::Unsupported(words(&text)),
        wit::Error::UnmanagedPath(text) => ProviderFault::UnmanagedPath(words(&text)),
        wit::Error::Conflict(text) => ProviderFault::Conflict(words(&text)),
        wit::Error::Denied(text) => ProviderFault::Denied(words(&text)),
        wit::Error::Unauthenticated(text) => ProviderFault::Unauthenticated(words(&text)),
        wit::Error::NotFound(text) => ProviderFault::NotFound(words(&text)),
        wit::Error::Busy(milliseconds) => ProviderFault::Busy { retry_after_ms: wait(milliseconds) },
        wit::Error::Throttled(milliseconds) => ProviderFault::Throttled { retry_after_ms: wait(milliseconds) },
        wit::Error::Exhausted(text) => ProviderFault::Exhausted(words(&text)),
        wit::Error::Locked(until) => {
            moment("the end of the lock", until).map_or_else(|fault| fault, |until| ProviderFault::Locked { until })
        }
        wit::Error::InUse(text) => ProviderFault::InUse(words(&text)),
        wit::Error::Transient(text) => ProviderFault::Transient(words(&text)),
        wit::Error::Indeterminate(text) => ProviderFault::Indeterminate(words(&text)),
        wit::Error::Internal(text) => ProviderFault::Internal(words(&text)),
    }
}

#[cfg(test)]
mod tests {
    use super::check_schema;

    #[test]
    fn no_key_of_a_schema_moves_the_cursor() {
        assert!(check_schema(r#"{ "properties": { "root": {}, "größe": {} } }"#).is_ok());
        assert!(check_schema("{}").is_ok());
        let fault = check_schema(r#"{ "properties": { "root": {}, "a\u001b[2K": {} } }"#).unwrap_err();
        assert!(fault.to_string().contains("the key `a\\u{1b}[2K` of its schema"), "{fault}");
        assert!(check_schema("[]").is_err());
        assert!(check_schema("{\n\t\"title\": \"a\\u009b\"\r\n}").is_ok());
        assert!(check_schema("{ \"title\": \"a\u{9b}31m\" }").is_err());
    }
}
