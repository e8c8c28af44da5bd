//! What is remembered of a set, on each of its snapshots: so one that is left still tells of those that are gone.
//!
//! `stillframe:token`, `name`, `owner`, `begin`, then numbered `label.0` (`key=value`), `volume.0` (the dataset) and `path.0`
//! (`number of the volume,role,name,place within the volume`). Parts are percent-encoded.

use std::collections::BTreeMap;

use stillframe_sdk::{CreateRequest, DataRole, Error, Located, OWNER_LABEL, invalid};

use crate::encode::{decode, encode};
use crate::name::{Handle, PROPERTY_PREFIX};

/// Longest value of a property, in bytes: what a grant lets through. ZFS itself takes 8 KiB.
const MAX_VALUE_BYTES: usize = 4_096;

/// What is remembered of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) handle: Handle,
    /// When its cut began.
    pub(crate) begin_ms: u64,
    /// In the order of the request.
    pub(crate) labels: Vec<(String, String)>,
    /// Datasets, in the order of the request.
    pub(crate) volumes: Vec<String>,
    pub(crate) paths: Vec<RecordedPath>,
}

/// One data path of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordedPath {
    /// Index of its volume.
    pub(crate) volume: usize,
    pub(crate) role: DataRole,
    pub(crate) name: String,
    /// The directory in the file system, beginning with `/`.
    pub(crate) within: String,
}

impl Record {
    pub(crate) fn of(request: &CreateRequest, begin_ms: u64) -> Result<Self, Error> {
        let mut paths = Vec::new();
        for (index, volume) in request.volumes.iter().enumerate() {
            for path in &volume.paths {
                let within = Located::of(path)?.within;
                paths.push(RecordedPath { volume: index, role: path.role, name: path.name.clone(), within });
            }
        }
        Ok(Self {
            handle: Handle::new(&request.name, &request.token)?,
            begin_ms,
            labels: request.labels.clone(),
            volumes: request.volumes.iter().map(|volume| volume.id.clone()).collect(),
            paths,
        })
    }

    /// Whether this is the record of the same request; when it was cut does not matter.
    pub(crate) fn is_same_request(&self, other: &Self) -> bool {
        *self == Self { begin_ms: self.begin_ms, ..other.clone() }
    }

    /// The user properties that say all this.
    pub(crate) fn to_properties(&self) -> Result<Vec<(String, String)>, Error> {
        let mut facts = vec![
            ("token".to_owned(), self.handle.token.clone()),
            ("name".to_owned(), self.handle.name.clone()),
            ("begin".to_owned(), self.begin_ms.to_string()),
        ];
        if let Some(owner) = self.encoded_owner() {
            facts.push(("owner".to_owned(), owner));
        }
        let labels = self.labels.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value)));
        facts.extend(numbered("label", labels));
        facts.extend(numbered("volume", self.volumes.iter().map(|volume| encode(volume))));
        let path = |path: &RecordedPath| {
            format!("{},{},{},{}", path.volume, role_name(path.role), encode(&path.name), encode(&path.within))
        };
        facts.extend(numbered("path", self.paths.iter().map(path)));
        if let Some((fact, value)) = facts.iter().find(|(_, value)| value.len() > MAX_VALUE_BYTES) {
            let field = if fact.starts_with("label") { "labels" } else { "volumes" };
            return Err(invalid(field, format!("`{fact}` has {} bytes, more than a property can keep", value.len())));
        }
        Ok(facts.into_iter().map(|(fact, value)| (format!("{PROPERTY_PREFIX}{fact}"), value)).collect())
    }

    /// Reads what the properties of one snapshot say; none when they are not what was written here.
    pub(crate) fn from_properties(properties: &BTreeMap<String, String>) -> Option<Self> {
        let fact = |name: &str| properties.get(&format!("{PROPERTY_PREFIX}{name}"));
        let handle = Handle::new(fact("name")?, fact("token")?).ok()?;
        let begin_ms = fact("begin")?.parse().ok()?;
        let volumes: Vec<String> = in_order(properties, "volume").map(decode).collect::<Option<_>>()?;
        let label = |text: &str| text.split_once('=').and_then(|(key, value)| Some((decode(key)?, decode(value)?)));
        let labels = in_order(properties, "label").map(label).collect::<Option<_>>()?;
        let paths: Vec<RecordedPath> = in_order(properties, "path").map(read_path).collect::<Option<_>>()?;
        // The host would refuse a set with two snapshots of one volume, and with it every listing.
        let is_twice = |(place, volume): (usize, &String)| volumes[..place].contains(volume);
        let is_whole = !volumes.is_empty()
            && paths.iter().all(|path| path.volume < volumes.len())
            && !volumes.iter().enumerate().any(is_twice);
        let record = Self { handle, begin_ms, labels, volumes, paths };
        // A listing goes by the one, and the host by the other.
        (is_whole && record.encoded_owner().as_ref() == fact("owner")).then_some(record)
    }

    /// The owner, as a listing compares it.
    pub(crate) fn encoded_owner(&self) -> Option<String> {
        self.labels.iter().find(|(key, _)| key == OWNER_LABEL).map(|(_, owner)| encode(owner))
    }
}

/// The owner, as a listing compares it.
pub(crate) fn encoded_owner(owner: &str) -> String {
    encode(owner)
}

fn numbered(name: &str, values: impl Iterator<Item = String>) -> impl Iterator<Item = (String, String)> {
    values.enumerate().map(move |(index, value)| (format!("{name}.{index}"), value))
}

/// The values of `name.0`, `name.1`, ... up to the first that is missing.
fn in_order<'a>(properties: &'a BTreeMap<String, String>, name: &'a str) -> impl Iterator<Item = &'a str> {
    (0..).map_while(move |index: usize| properties.get(&format!("{PROPERTY_PREFIX}{name}.{index}")).map(String::as_str))
}

fn read_path(text: &str) -> Option<RecordedPath> {
    let mut parts = text.split(',');
    let mut part = || parts.next();
    let (volume, role, name, within) = (part()?.parse().ok()?, part()?, decode(part()?)?, decode(part()?)?);
    let role = [DataRole::Data, DataRole::Wal, DataRole::Tablespace].into_iter().find(|known| role_name(*known) == role)?;
    let is_place = within.starts_with('/') && !within.split('/').any(|part| part == "..");
    (is_place && parts.next().is_none()).then_some(RecordedPath { volume, role, name, within })
}

fn role_name(role: DataRole) -> &'static str {
    match role {
        DataRole::Data => "data",
        DataRole::Wal => "wal",
        DataRole::Tablespace => "tablespace",
    }
}
