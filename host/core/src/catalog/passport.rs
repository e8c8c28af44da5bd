//! The passport: what a snapshot carries about its backup, so that the backup can be entered in the catalog again.
//!
//! It lies in labels of every set of the backup, and says all that was known before the cut; what came after (where the backup
//! stopped) stands in the archive. It is compressed and written in pieces, since storage systems take short values of few
//! letters. One that does not fit is left out: the backup is as good without it. What is read comes from a storage system, and is
//! checked.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{BackupName, BackupPath, BackupVolume, Permanence};
use crate::hex::{bytes_of_hex, to_hex};
use crate::postgres::{Lsn, PgVersion, SystemIdentifier, TablespaceMap, TimelineId, WalSegmentSize};
use crate::provider::{DataPathName, Labels, ProviderName, Token};
use crate::text::is_dangerous;

/// What the labels of the pieces begin with; two digits follow.
const LABEL: &str = "stillframe-passport-";

/// Bytes of one piece: EC2 and the interface take 256.
const PIECE_BYTES: usize = 240;

/// Pieces at most: EC2 takes 50 tags, of which a provider needs its own.
const MAX_PIECES: usize = 12;

/// Bytes of a passport that is unpacked.
const MAX_BYTES: usize = 64 << 10;

const COMPRESSION_LEVEL: i32 = 19;

const FORMAT_VERSION: u32 = 1;

/// What was known of a backup before it was cut.
#[derive(Debug, Clone, PartialEq)]
pub struct Passport {
    /// Its name.
    pub name: BackupName,
    /// The cluster.
    pub system_identifier: SystemIdentifier,
    /// Its timeline.
    pub timeline: TimelineId,
    /// Before this position the backup cannot start.
    pub wal_position: Lsn,
    /// Its segment size.
    pub segment_size: WalSegmentSize,
    /// Version of the server.
    pub version: PgVersion,
    /// When it began, by the server's clock.
    pub started_at: Timestamp,
    /// Host that took it.
    pub hostname: String,
    /// The server's `data_directory`.
    pub data_directory: PathBuf,
    /// Permanence as asked for.
    pub permanence: Permanence,
    /// What the operator added; none as well when there was no room for it.
    pub user_data: Option<serde_json::Value>,
    /// Whether the server was a standby.
    pub from_standby: bool,
    /// The tablespaces of the server.
    pub tablespaces: TablespaceMap,
    /// The directories of the cluster.
    pub paths: Vec<BackupPath>,
    /// One for each provider, in cutting order.
    pub parts: Vec<PassportPart>,
}

/// What one provider was asked to cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassportPart {
    /// The provider.
    pub provider: ProviderName,
    /// Token of the request to it.
    pub token: Token,
    /// The volumes, in cutting order, without facts for people.
    pub volumes: Vec<BackupVolume>,
}

/// Why the labels of a snapshot do not tell what it is of.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PassportProblem {
    /// There is none: an older version made it, or there was no room.
    #[error("it carries no record of its backup")]
    Missing,
    /// It is not what was written.
    #[error("the record of its backup that it carries cannot be read: {0}")]
    Damaged(&'static str),
}

/// Short names: every byte is kept with every snapshot.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    v: u32,
    n: BackupName,
    c: SystemIdentifier,
    t: TimelineId,
    w: Lsn,
    s: WalSegmentSize,
    g: PgVersion,
    b: Timestamp,
    h: String,
    d: PathBuf,
    p: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    u: Option<serde_json::Value>,
    r: bool,
    m: TablespaceMap,
    f: Vec<BackupPath>,
    a: Vec<StoredPart>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredPart {
    p: ProviderName,
    t: Token,
    v: Vec<(String, u32, Vec<DataPathName>)>,
}

impl Passport {
    /// The labels that say all this; without what the operator added, when there is no room for it; none when there is no room at
    /// all.
    #[must_use]
    pub fn to_labels(&self) -> Labels {
        let without = || Self { user_data: None, ..self.clone() };
        let labels = self.pieces().or_else(|| without().pieces());
        if labels.is_none() {
            tracing::warn!(
                "the record that the snapshots carry has no room: should the catalog lose the backup, it cannot be adopted"
            );
        }
        labels.unwrap_or_default()
    }

    fn pieces(&self) -> Option<Labels> {
        // A path that is no text cannot be written so.
        let json = serde_json::to_vec(&Stored::from(self)).ok()?;
        let packed = to_hex(&zstd::bulk::compress(&json, COMPRESSION_LEVEL).ok()?);
        let pieces: Vec<String> =
            packed.as_bytes().chunks(PIECE_BYTES).map(|piece| String::from_utf8_lossy(piece).into_owned()).collect();
        let label = |(number, piece)| (format!("{LABEL}{number:02}"), piece);
        (pieces.len() <= MAX_PIECES && json.len() <= MAX_BYTES).then(|| pieces.into_iter().enumerate().map(label).collect())
    }

    /// Reads the labels of a snapshot.
    pub fn from_labels(labels: &BTreeMap<String, String>) -> Result<Self, PassportProblem> {
        let damaged = PassportProblem::Damaged;
        let pieces = (0..MAX_PIECES).map_while(|number| labels.get(&format!("{LABEL}{number:02}")));
        let packed: String = pieces.map(String::as_str).collect();
        if packed.is_empty() {
            return Err(PassportProblem::Missing);
        }
        let packed = bytes_of_hex(&packed).ok_or(damaged("it is no pairs of digits"))?;
        let json = zstd::bulk::decompress(&packed, MAX_BYTES).map_err(|_| damaged("it cannot be unpacked"))?;
        let stored: Stored = serde_json::from_slice(&json).map_err(|_| damaged("it has another form"))?;
        if stored.v != FORMAT_VERSION {
            return Err(damaged("it is of another version"));
        }
        let mut passport = Self::from(stored);
        // The backup is as good without it.
        passport.user_data = passport.user_data.filter(|data| !data.to_string().chars().any(is_dangerous));
        passport.check().map(|()| passport).map_err(damaged)
    }

    /// It comes from outside, and will be shown to people and followed to directories.
    fn check(&self) -> Result<(), &'static str> {
        let paths = self.paths.iter().map(|path| &path.path).chain([&self.data_directory]);
        let volumes = self.parts.iter().flat_map(|part| &part.volumes).map(|volume| volume.id.as_str());
        let ids = self.parts.iter().map(|part| part.token.0.as_str()).chain(volumes);
        let texts = paths.map(|path| path.to_str().unwrap_or("\0")).chain(ids).chain([self.hostname.as_str()]);
        let map = String::from_utf8_lossy(self.tablespaces.as_bytes());
        let misled = |character: char| character != '\n' && is_dangerous(character);
        if texts.into_iter().any(|text| text.chars().any(is_dangerous)) || map.chars().any(misled) {
            return Err("it holds control characters");
        }
        if self.parts.is_empty() || self.parts.iter().any(|part| part.token.0.is_empty()) {
            return Err("it names no snapshot");
        }
        Ok(())
    }
}

impl From<&Passport> for Stored {
    fn from(passport: &Passport) -> Self {
        let volume = |volume: &BackupVolume| (volume.id.clone(), volume.cut_order, volume.paths.clone());
        let part = |part: &PassportPart| StoredPart {
            p: part.provider.clone(),
            t: part.token.clone(),
            v: part.volumes.iter().map(volume).collect(),
        };
        Self {
            v: FORMAT_VERSION,
            n: passport.name.clone(),
            c: passport.system_identifier,
            t: passport.timeline,
            w: passport.wal_position,
            s: passport.segment_size,
            g: passport.version,
            b: passport.started_at,
            h: passport.hostname.clone(),
            d: passport.data_directory.clone(),
            p: passport.permanence == Permanence::Permanent,
            u: passport.user_data.clone(),
            r: passport.from_standby,
            m: passport.tablespaces.clone(),
            f: passport.paths.clone(),
            a: passport.parts.iter().map(part).collect(),
        }
    }
}

impl From<Stored> for Passport {
    fn from(stored: Stored) -> Self {
        let volume = |(id, cut_order, paths)| BackupVolume { id, paths, cut_order, attributes: Labels::new() };
        let part =
            |part: StoredPart| PassportPart { provider: part.p, token: part.t, volumes: part.v.into_iter().map(volume).collect() };
        Self {
            name: stored.n,
            system_identifier: stored.c,
            timeline: stored.t,
            wal_position: stored.w,
            segment_size: stored.s,
            version: stored.g,
            started_at: stored.b,
            hostname: stored.h,
            data_directory: stored.d,
            permanence: if stored.p { Permanence::Permanent } else { Permanence::Ordinary },
            user_data: stored.u,
            from_standby: stored.r,
            tablespaces: stored.m,
            paths: stored.f,
            parts: stored.a.into_iter().map(part).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::provider::DataRole;

    fn passport(tablespaces: u32) -> Passport {
        let data = BackupPath { name: DataPathName::Data, role: DataRole::Data, path: "/var/lib/postgresql/15/main".into() };
        let tablespace = |oid: u32| BackupPath {
            name: DataPathName::Tablespace(oid),
            role: DataRole::Tablespace,
            path: format!("/srv/tablespaces/number-{oid}").into(),
        };
        let paths: Vec<BackupPath> = std::iter::once(data).chain((0..tablespaces).map(tablespace)).collect();
        let volume = |(order, path): (usize, &BackupPath)| BackupVolume {
            id: format!("vol-{order:017x}"),
            paths: vec![path.name.clone()],
            cut_order: u32::try_from(order + 1).unwrap(),
            attributes: Labels::new(),
        };
        let part = PassportPart {
            provider: "ebs".to_owned().try_into().unwrap(),
            token: Token("0123456789abcdef0123456789abcdef".to_owned()),
            volumes: paths.iter().enumerate().map(volume).collect(),
        };
        Passport {
            name: "sf-20261121T083214Z-9k3m2p7x".parse().unwrap(),
            system_identifier: SystemIdentifier(7_000_000_000_000_000_001),
            timeline: TimelineId::FIRST,
            wal_position: Lsn(0x300_0028),
            segment_size: WalSegmentSize::SMALLEST,
            version: PgVersion(150_018),
            started_at: "2026-11-21T08:32:14.123456Z".parse().unwrap(),
            hostname: "db1".to_owned(),
            data_directory: "/var/lib/postgresql/15/main".into(),
            permanence: Permanence::Permanent,
            user_data: Some(serde_json::json!({"ticket": 7})),
            from_standby: false,
            tablespaces: TablespaceMap::new(b"16384 /srv/ts\n".to_vec()),
            paths,
            parts: vec![part],
        }
    }

    #[test]
    fn comes_back_as_it_was_and_fits_where_tags_are_short() {
        for tablespaces in [0, 1, 20] {
            let passport = passport(tablespaces);
            let labels = passport.to_labels();
            assert_eq!(Passport::from_labels(&labels).unwrap(), passport);
            assert!(labels.len() <= 8, "{tablespaces}: {}", labels.len());
            assert!(labels.iter().all(|(key, value)| key.len() <= 128 && value.len() <= 256));
        }
        assert!(passport(0).to_labels().len() <= 4, "{}", passport(0).to_labels().len());
    }

    #[test]
    fn what_the_operator_added_goes_first_when_there_is_no_room() {
        let noise: Vec<u8> = (0u32..4000).flat_map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        let noise = to_hex(&noise);
        let large = Passport { user_data: Some(serde_json::json!(noise)), ..passport(1) };
        assert_eq!(Passport::from_labels(&large.to_labels()).unwrap(), Passport { user_data: None, ..large.clone() });
        let too_large = Passport { hostname: noise, ..large };
        assert!(too_large.to_labels().is_empty());
        assert_eq!(Passport::from_labels(&Labels::new()), Err(PassportProblem::Missing));
    }

    #[test]
    fn refuses_what_a_storage_system_has_changed() {
        let escape = Passport { hostname: "db\u{1b}[2J".to_owned(), ..passport(0) };
        assert!(matches!(Passport::from_labels(&escape.to_labels()), Err(PassportProblem::Damaged(_))));
        let mut escape = passport(0);
        escape.parts[0].token = Token("0123\u{1b}[2J".to_owned());
        assert_eq!(Passport::from_labels(&escape.to_labels()), Err(PassportProblem::Damaged("it holds control characters")));
        for hidden in ['\u{9b}', '\u{202e}', '\u{2066}'] {
            let path = Passport { data_directory: format!("/srv/{hidden}").into(), ..passport(0) };
            assert!(matches!(Passport::from_labels(&path.to_labels()), Err(PassportProblem::Damaged(_))), "{hidden:?}");
            let words = Passport { user_data: Some(serde_json::json!({ "note": hidden })), ..passport(0) };
            assert_eq!(Passport::from_labels(&words.to_labels()).unwrap().user_data, None, "{hidden:?}");
        }
        let mut labels = passport(0).to_labels();
        labels.remove(&format!("{LABEL}01"));
        assert!(matches!(Passport::from_labels(&labels), Err(PassportProblem::Damaged(_))));
    }

    proptest! {
        #[test]
        fn never_panics(pieces: Vec<String>, digits in "[0-9a-f]{0,300}") {
            let label = |(number, piece): (usize, &String)| (format!("{LABEL}{number:02}"), piece.clone());
            let _ = Passport::from_labels(&pieces.iter().enumerate().map(label).collect());
            let _ = Passport::from_labels(&[digits].iter().enumerate().map(label).collect());
        }
    }
}
