//! What the provider says about itself.

use stillframe_sdk::{CapabilityNeed, Features, ProviderInfo};

/// JSON Schema of [`crate::Config`]; a test compares the two.
const CONFIG_SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["root"],
  "properties": {
    "root": {
      "type": "string",
      "description": "Directory on the btrfs file system of the cluster, outside the cluster's subvolumes. It holds the records of all snapshots, and the snapshots of that file system."
    },
    "other_roots": {
      "type": "array",
      "items": { "type": "string" },
      "default": [],
      "description": "One directory on each further btrfs file system that holds a part of the cluster, for the snapshots of that part."
    }
  }
}"#;

pub(crate) fn describe() -> ProviderInfo {
    ProviderInfo {
        name: "btrfs".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        summary: "Takes read-only snapshots of btrfs subvolumes, and restores writable ones, both within milliseconds.".to_owned(),
        features: Features::ATOMIC_GROUP | Features::ISOLATED | Features::RESTORE | Features::IMMEDIATE | Features::INCREMENTAL,
        config_schema: CONFIG_SCHEMA.to_owned(),
        needs: vec![
            CapabilityNeed {
                capability: "command".to_owned(),
                reason:
                    "Runs `btrfs` to snapshot and delete subvolumes, `findmnt` to tell file systems apart, and `rmdir` for the \
                         empty directory that a snapshot has in place of `pg_wal`."
                        .to_owned(),
            },
            CapabilityNeed { capability: "tree".to_owned(), reason: "Keeps a record of each snapshot set in `root`.".to_owned() },
        ],
    }
}
