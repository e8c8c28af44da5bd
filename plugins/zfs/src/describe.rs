//! What the provider says about itself.

use stillframe_sdk::{CapabilityNeed, Features, ProviderInfo};

/// JSON Schema of [`crate::Config`]; a test compares the two.
const CONFIG_SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["datasets"],
  "properties": {
    "datasets": {
      "type": "array",
      "items": { "type": "string" },
      "minItems": 1,
      "description": "Datasets that hold the cluster: they and what is below them may be snapshotted, and only their snapshots may be destroyed. Best the narrowest that cover PGDATA, pg_wal and the tablespaces."
    },
    "clones": {
      "type": "array",
      "items": { "type": "string" },
      "default": [],
      "description": "For each pool one existing dataset of its own, such as tank/stillframe, below which a restore makes its clones. Needed to restore, and not to back up."
    },
    "mount_root": {
      "type": "string",
      "default": "/run/stillframe/mnt",
      "description": "Directory below which the clones of a restore are mounted."
    }
  }
}"#;

pub(crate) fn describe() -> ProviderInfo {
    ProviderInfo {
        name: "zfs".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        summary: "Takes atomic snapshots of OpenZFS datasets, and restores them as writable clones.".to_owned(),
        features: Features::ATOMIC_GROUP | Features::ISOLATED | Features::RESTORE | Features::LOCK | Features::INCREMENTAL,
        config_schema: CONFIG_SCHEMA.to_owned(),
        needs: vec![CapabilityNeed {
            capability: "command".to_owned(),
            reason: "Runs `zfs` to snapshot, hold and destroy snapshots of `datasets`, and to clone them below `clones`."
                .to_owned(),
        }],
    }
}
