//! The layout of the store: the only place that spells object keys.
//!
//! No key of ours holds 24 hexadecimal digits or lies in `basebackups_005/`: WAL-G, which may share the bucket, would take the
//! one for a segment and the other for a backup. WAL lies where WAL-G puts it.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{BackupName, RestorePointName, WalGName};
use crate::postgres::{TimelineId, WalFileName};
use crate::provider::Token;
use crate::store::Key;

/// Where our own records lie.
const RECORDS: &str = "snapshots_001";

/// Where archived WAL lies, as WAL-G has it.
const WAL: &str = "wal_005";

/// Where it is recorded who archives each timeline.
const GUARD: &str = "guard_001";

/// Where the leases of one cluster lie.
const LEASES: &str = "lease_001";

/// Where it is recorded what is restored, and where.
const RESTORES: &str = "restores_001";
const RECOVERIES: &str = "recoveries_001";

/// Where the increments are recorded.
const RESTORE_POINTS: &str = "restore_points_001";

/// So many hexadecimal digits of a name stand in a row: WAL-G would take 24 for a segment.
const MAX_HEX_RUN: usize = 16;

/// Where WAL files lie whose names are taken by other content.
const PARKED: &str = "parked_001";

/// Where WAL-G keeps base backups.
const WALG_BACKUPS: &str = "basebackups_005";

/// What follows the name of a base backup in the key of WAL-G's sentinel.
const WALG_SENTINEL: &str = "_backup_stop_sentinel.json";

/// Name of a cluster, the prefix of its objects: `[A-Za-z0-9_-]`, 1 to 63 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterName(String);

impl ClusterName {
    /// A name that is known to be legal.
    pub(super) fn fixed(name: &'static str) -> Self {
        Self(name.to_owned())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that cannot name a cluster.
#[derive(Debug, Error)]
#[error("`{0}` is not a cluster name: use letters, digits, `_` and `-`, at most 63, and no 24 hexadecimal digits in a row")]
pub struct InvalidClusterName(pub String);

impl TryFrom<String> for ClusterName {
    type Error = InvalidClusterName;

    fn try_from(text: String) -> Result<Self, InvalidClusterName> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let looks_like_a_segment = text.split(|letter: char| !letter.is_ascii_hexdigit()).any(|run| run.len() >= 24);
        if (1..=63).contains(&text.len()) && text.bytes().all(legal) && !looks_like_a_segment {
            Ok(Self(text))
        } else {
            Err(InvalidClusterName(text))
        }
    }
}

impl From<ClusterName> for String {
    fn from(name: ClusterName) -> Self {
        name.0
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// One kind of record about a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record {
    Intent,
    Sentinel,
    Mark,
    State,
    Lock,
    Drill,
    Standalone,
    ShutdownWal,
    Condemned,
}

impl Record {
    pub(super) const ALL: [Self; 9] = [
        Self::Intent,
        Self::Sentinel,
        Self::Mark,
        Self::State,
        Self::Lock,
        Self::Drill,
        Self::Standalone,
        Self::ShutdownWal,
        Self::Condemned,
    ];

    fn file_name(self) -> &'static str {
        match self {
            Self::Intent => "intent.json",
            Self::Sentinel => "sentinel.json",
            Self::Mark => "mark.json",
            Self::State => "state.json",
            Self::Lock => "lock.json",
            Self::Drill => "drill.json",
            Self::Standalone => "standalone.json",
            Self::ShutdownWal => "shutdown-wal",
            Self::Condemned => "condemned.json",
        }
    }
}

/// What an object among WAL-G's base backups is, with the name of the backup that it claims to be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WalGObject<'a> {
    /// Its sentinel.
    Sentinel(&'a str),
    /// Something in its directory.
    Content(&'a str),
}

/// How one cluster's objects are named.
#[derive(Debug, Clone)]
pub struct Layout {
    cluster: ClusterName,
}

impl Layout {
    /// Describes the objects of this cluster.
    #[must_use]
    pub fn new(cluster: ClusterName) -> Self {
        Self { cluster }
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    /// Prefix of everything that belongs to the cluster.
    pub(super) fn all(&self) -> String {
        format!("{}/", self.cluster)
    }

    /// Key of the mark that says that the store is this cluster's.
    pub(super) fn cluster_mark(&self) -> Key {
        legal(&format!("{}/cluster.json", self.cluster))
    }

    /// Key of the name that the cluster's records bear on snapshots.
    pub(super) fn identity(&self) -> Key {
        legal(&format!("{}/identity.json", self.cluster))
    }

    /// Prefix of all records of backups.
    pub(super) fn records(&self) -> String {
        format!("{}/{RECORDS}/", self.cluster)
    }

    /// Prefix of WAL-G's base backups.
    pub(super) fn walg_backups(&self) -> String {
        format!("{}/{WALG_BACKUPS}/", self.cluster)
    }

    /// Key of the sentinel of one of WAL-G's base backups.
    pub(super) fn walg_sentinel(&self, name: &WalGName) -> Key {
        legal(&format!("{}{name}{WALG_SENTINEL}", self.walg_backups()))
    }

    /// Key of the metadata of one of WAL-G's base backups.
    pub(super) fn walg_metadata(&self, name: &WalGName) -> Key {
        legal(&format!("{}{name}/metadata.json", self.walg_backups()))
    }

    /// What an object among WAL-G's base backups is about, of the name that it claims.
    pub(super) fn parse_walg<'a>(&self, key: &'a Key) -> WalGObject<'a> {
        let place = key.as_str().strip_prefix(&self.walg_backups()).unwrap_or_default();
        match place.split_once('/') {
            Some((name, _)) => WalGObject::Content(name),
            None => WalGObject::Sentinel(place.strip_suffix(WALG_SENTINEL).unwrap_or(place)),
        }
    }

    /// A key behind most of what a base backup of WAL-G consists of.
    pub(super) fn walg_content_end(&self, name: &str) -> Option<Key> {
        Key::parse(&format!("{}{name}/zzzz", self.walg_backups())).ok()
    }

    /// Key of one record.
    pub(super) fn record(&self, name: &BackupName, record: Record) -> Key {
        legal(&format!("{}{name}/{}", self.records(), record.file_name()))
    }

    /// Tells which record a key is; none for a foreign object.
    pub(super) fn parse_record(&self, key: &Key) -> Option<(BackupName, Record)> {
        let (name, file_name) = key.as_str().strip_prefix(&self.records())?.split_once('/')?;
        let record = Record::ALL.into_iter().find(|record| record.file_name() == file_name)?;
        Some((name.parse().ok()?, record))
    }

    /// Prefix of all archived WAL.
    pub(crate) fn wal(&self) -> String {
        format!("{}/{WAL}/", self.cluster)
    }

    /// Prefix of the records of who archives which timeline.
    pub(super) fn claims(&self) -> String {
        format!("{}/{GUARD}/timeline-", self.cluster)
    }

    /// Key of the record of who archives this timeline.
    pub(super) fn claim(&self, timeline: TimelineId) -> Key {
        legal(&format!("{}{:08X}.json", self.claims(), timeline.get()))
    }

    /// The timeline of such a record; none for a foreign object.
    pub(super) fn parse_claim(&self, key: &Key) -> Option<TimelineId> {
        let number = key.as_str().strip_prefix(&self.claims())?.strip_suffix(".json")?;
        let timeline = TimelineId::new(u32::from_str_radix(number, 16).ok()?).ok()?;
        (self.claim(timeline) == *key).then_some(timeline)
    }

    /// Prefix of all archived segments of one timeline, of which the first digits of their place are given.
    pub(super) fn wal_of(&self, timeline: TimelineId, place: &str) -> Key {
        legal(&format!("{}{:08X}{place}", self.wal(), timeline.get()))
    }

    /// Prefix of all leases.
    pub(super) fn leases(&self) -> String {
        format!("{}/{LEASES}/", self.cluster)
    }

    /// Key of the lease with this fencing token. All digits are there, so that keys are in the order of tokens.
    pub(super) fn lease(&self, token: u64) -> Key {
        legal(&format!("{}{token:020}.json", self.leases()))
    }

    /// The fencing token of a lease; none for a foreign object.
    pub(super) fn parse_lease(&self, key: &Key) -> Option<u64> {
        let token = key.as_str().strip_prefix(&self.leases())?.strip_suffix(".json")?.parse().ok()?;
        (self.lease(token) == *key).then_some(token)
    }

    /// Prefix of the records of restores.
    pub(super) fn restores(&self) -> String {
        format!("{}/{RESTORES}/", self.cluster)
    }

    /// Prefix of the records of copies that may still recover.
    pub(super) fn recoveries(&self) -> String {
        format!("{}/{RECOVERIES}/", self.cluster)
    }

    /// Key of the record of a restore.
    pub(super) fn restore(&self, token: &Token) -> Key {
        legal(&format!("{}{}.json", self.restores(), divided(token)))
    }

    /// Key of the record of a copy that may still recover.
    pub(super) fn recovery(&self, token: &Token) -> Key {
        legal(&format!("{}{}.json", self.recoveries(), divided(token)))
    }

    /// Prefix of the records of increments.
    pub(super) fn restore_points(&self) -> String {
        format!("{}/{RESTORE_POINTS}/", self.cluster)
    }

    /// Key of the record of an increment.
    pub(super) fn restore_point(&self, name: &RestorePointName) -> Key {
        legal(&format!("{}{}.json", self.restore_points(), spelled(name)))
    }

    /// Key of one archived file; the extension names the compression and is empty for none.
    pub(crate) fn wal_file(&self, name: WalFileName, extension: &str) -> Key {
        legal(&format!("{}{name}{extension}", self.wal()))
    }

    /// Key of a file whose name is taken by other content; `content` tells it from those.
    ///
    /// The name is divided, so that WAL-G's deletions do not know it for one.
    pub(super) fn parked(&self, name: WalFileName, content: &str, extension: &str) -> Key {
        let name = name.to_string();
        let (timeline, rest) = name.split_at(8.min(name.len()));
        legal(&format!("{}/{PARKED}/{timeline}-{rest}-{content}{extension}", self.cluster))
    }
}

/// A token as a part of a key, in groups: WAL-G would take 24 hexadecimal digits in a row for a segment.
fn divided(token: &Token) -> String {
    let legal_letter = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '_' };
    let letters: Vec<char> = token.0.chars().take(128).map(legal_letter).collect();
    let groups: Vec<String> = letters.chunks(8).map(|group| group.iter().collect()).collect();
    groups.join("-")
}

/// A name as a part of a key: letters, digits and `-` are themselves, every other byte is `_` and two digits. So is a hexadecimal
/// digit that follows too many others. No two names are spelled alike.
fn spelled(name: &RestorePointName) -> String {
    let (mut text, mut run) = (String::new(), 0);
    for byte in name.as_str().bytes() {
        let is_plain = (byte.is_ascii_alphanumeric() || byte == b'-') && (run < MAX_HEX_RUN || !byte.is_ascii_hexdigit());
        if is_plain {
            text.push(char::from(byte));
            run = if byte.is_ascii_hexdigit() { run + 1 } else { 0 };
        } else {
            text.extend(format!("_{byte:02X}").chars());
            run = 2;
        }
    }
    text
}

/// Every part of our keys is of a type that allows legal characters only and is short enough, which the tests below prove.
fn legal(text: &str) -> Key {
    #[expect(clippy::expect_used, reason = "cluster names, backup names and WAL names are all legal in keys")]
    Key::parse(text).expect("keys are built of legal parts")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layout() -> Layout {
        Layout::new(ClusterName::try_from("main".to_owned()).unwrap())
    }

    proptest! {
        #[test]
        fn every_record_key_is_legal_and_read_back(seconds in 0i64..4_000_000_000, random: [u8; 5], cluster in "[A-Za-z0-9_-]{1,20}") {
            let layout = Layout::new(ClusterName::try_from(cluster).unwrap());
            let name = BackupName::new(jiff::Timestamp::from_second(seconds).unwrap(), random);
            for record in Record::ALL {
                prop_assert_eq!(layout.parse_record(&layout.record(&name, record)), Some((name.clone(), record)));
            }
        }
    }

    proptest! {
        #[test]
        fn names_of_restore_points_are_legal_keys_that_differ_and_hold_no_segment(one in "[a-f0-9A-F_/. '\"ä-]{0,40}", other in "[a-f0-9_-]{0,63}") {
            let Ok(one) = format!("x{one}").parse::<RestorePointName>() else { return Ok(()) };
            let key = layout().restore_point(&one);
            prop_assert!(key.as_str().split(|letter: char| !letter.is_ascii_hexdigit()).all(|run| run.len() < 24), "{}", key);
            let Ok(other) = other.parse::<RestorePointName>() else { return Ok(()) };
            let key = layout().restore_point(&other);
            prop_assert!(key.as_str().split(|letter: char| !letter.is_ascii_hexdigit()).all(|run| run.len() < 24), "{}", key);
            prop_assert_eq!(layout().restore_point(&one) == key, one == other);
        }
    }

    #[test]
    fn foreign_objects_are_not_taken_for_records() {
        for key in [
            "main/snapshots_001/x/sentinel.json",
            "main/snapshots_001/sf-20261121T083214Z-9k3m2p7x/other.json",
            "main/snapshots_001/a",
        ] {
            assert_eq!(layout().parse_record(&Key::parse(key).unwrap()), None, "{key}");
        }
    }

    #[test]
    fn nothing_beside_the_archive_is_taken_for_a_segment_and_leases_are_read_back() {
        let claim = layout().claim(TimelineId::new(0xABCD_EF01).unwrap());
        assert_eq!(claim.as_str(), "main/guard_001/timeline-ABCDEF01.json");
        assert_eq!(layout().parse_claim(&claim), TimelineId::new(0xABCD_EF01).ok());
        assert_eq!(layout().parse_claim(&Key::parse("main/guard_001/timeline-1.json").unwrap()), None);
        for token in [1, 10, u64::MAX] {
            let lease = layout().lease(token);
            assert_eq!(layout().parse_lease(&lease), Some(token));
            for key in [&claim, &lease] {
                assert!(key.as_str().split(|letter: char| !letter.is_ascii_hexdigit()).all(|run| run.len() < 24), "{key}");
            }
        }
        for name in ["ABCDEF0100000002000000AB.partial", "ABCDEF01.history", "ABCDEF0100000002000000AB.00000028.backup"] {
            let parked = layout().parked(name.parse().unwrap(), "0123456789abcdef", ".zst.age");
            assert!(parked.as_str().split(|letter: char| !letter.is_ascii_hexdigit()).all(|run| run.len() < 24), "{parked}");
        }
        let restore = layout().restore(&Token("0123456789abcdef0123456789abcdef".to_owned()));
        assert_eq!(restore.as_str(), "main/restores_001/01234567-89abcdef-01234567-89abcdef.json");
        assert!(layout().lease(9) < layout().lease(10), "the order of keys is the order of tokens");
        assert_eq!(layout().parse_lease(&Key::parse("main/lease_001/1.json").unwrap()), None);
    }

    #[test]
    fn refuses_cluster_names_that_could_leave_their_prefix() {
        for name in ["", "a/b", "..", "a b", "0123456789ABCDEF01234567"] {
            assert!(ClusterName::try_from(name.to_owned()).is_err(), "{name}");
        }
    }
}
