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
      "description": "Directory that holds the snapshots. Best on another disk; on XFS or btrfs, on the same file system as the cluster, so that extents can be shared. Mount it before the first backup, which leaves the file stillframe-snapshots.json in it: without that file the directory counts as not mounted, and nothing is done."
    },
    "method": {
      "enum": ["auto", "reflink", "copy", "cp-al"],
      "default": "auto",
      "description": "How file contents get into a snapshot: share extents or else copy, only share, only copy. `cp-al` links to the live files and makes no real snapshot."
    },
    "allow_not_isolated": {
      "type": "boolean",
      "default": false,
      "description": "Allows `cp-al`."
    },
    "link_unchanged": {
      "type": "boolean",
      "default": true,
      "description": "Hard-links files that have provably not changed from the previous snapshot, which saves time and room."
    }
  }
}"#;

pub(crate) fn describe() -> ProviderInfo {
    ProviderInfo {
        name: "hardlink".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        summary: "Keeps snapshots as plain directory trees on any file system, sharing what it safely can.".to_owned(),
        features: Features::ISOLATED | Features::RESTORE | Features::IMMEDIATE | Features::INCREMENTAL,
        config_schema: CONFIG_SCHEMA.to_owned(),
        needs: vec![CapabilityNeed {
            capability: "tree".to_owned(),
            reason: "Clones the cluster's directories into `root`, and into the target of a restore.".to_owned(),
        }],
    }
}
