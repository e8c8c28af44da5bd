//! What the snapshots say of themselves: whose they are, and what they would be a backup of.
//!
//! The owner and the catalog decide whether `reconcile` may take a snapshot for a leftover; the passport lets it enter the backup
//! in the catalog again when the sentinel is lost.

use super::preflight::{Part, Prepared};
use super::{PushError, PushRequest};
use crate::catalog::{BackupPath, BackupVolume, Passport, PassportPart};
use crate::flows::Ports;
use crate::flows::reconcile::labels::{BACKUP_LABEL, CATALOG_LABEL, TOKEN_LABEL, owner};
use crate::postgres::{TablespaceLink, TablespaceMap};
use crate::provider::{Labels, OWNER_LABEL};

/// Writes the labels into every request.
pub(super) async fn label(ports: &Ports<'_>, request: &PushRequest, prepared: &mut Prepared) -> Result<(), PushError> {
    let catalog = ports.catalog().identify(&request.token).await?;
    let common = Labels::from([
        (OWNER_LABEL.to_owned(), owner(ports.layout, prepared.facts.system_identifier)),
        (BACKUP_LABEL.to_owned(), request.name.to_string()),
        (CATALOG_LABEL.to_owned(), catalog.as_str().to_owned()),
    ]);
    let passport = passport(request, prepared).to_labels();
    for part in &mut prepared.parts {
        let token = (TOKEN_LABEL.to_owned(), part.create.token.0.clone());
        part.create.labels = common.clone().into_iter().chain(passport.clone()).chain([token]).collect();
    }
    Ok(())
}

fn passport(request: &PushRequest, prepared: &Prepared) -> Passport {
    let facts = &prepared.facts;
    let link = |(oid, location)| TablespaceLink { oid, location };
    let links: Vec<TablespaceLink> =
        facts.tablespaces.iter().map(|tablespace| link((tablespace.oid, tablespace.location.clone()))).collect();
    let path = |path: &crate::provider::DataPath| BackupPath { name: path.name.clone(), role: path.role, path: path.path.clone() };
    Passport {
        name: request.name.clone(),
        system_identifier: facts.system_identifier,
        timeline: facts.timeline,
        wal_position: facts.wal_position,
        segment_size: facts.segment_size,
        version: facts.version,
        started_at: facts.now,
        hostname: request.hostname.clone(),
        data_directory: facts.data_directory.clone(),
        permanence: request.permanence,
        user_data: request.user_data.clone(),
        from_standby: facts.in_recovery,
        tablespaces: TablespaceMap::of(&links),
        paths: prepared.paths.iter().map(path).collect(),
        parts: parts(&prepared.parts),
    }
}

fn parts(parts: &[Part]) -> Vec<PassportPart> {
    let mut order = 0;
    let part = |part: &Part| {
        let volumes = part.create.volumes.iter().map(|volume| {
            order += 1;
            let paths = volume.paths.iter().map(|path| path.name.clone()).collect();
            BackupVolume { id: volume.id.clone(), paths, cut_order: order, attributes: Labels::new() }
        });
        PassportPart { provider: part.provider.name().clone(), token: part.create.token.clone(), volumes: volumes.collect() }
    };
    parts.iter().map(part).collect()
}
