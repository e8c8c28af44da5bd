//! What the provider says about itself.

use stillframe_sdk::{CapabilityNeed, Features, ProviderInfo};

/// JSON Schema of [`crate::Config`]; a test compares the two.
const CONFIG_SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["volume_groups"],
  "properties": {
    "volume_groups": {
      "type": "array",
      "items": { "type": "string" },
      "minItems": 1,
      "description": "Volume groups that hold the cluster. No other group is looked at or touched."
    },
    "mode": {
      "enum": ["auto", "thin", "classic"],
      "default": "auto",
      "description": "Kind of snapshot: thin for a thin volume and else classic, only thin, or always classic."
    },
    "classic_size": {
      "type": "string",
      "default": "20%ORIGIN",
      "description": "Room for changes of the origin in a classic snapshot: a share of the origin (`20%ORIGIN`) or a size (`500M`, `10G`, `1T`). A classic snapshot whose room is used up is lost."
    },
    "full_percent": {
      "type": "integer",
      "minimum": 1,
      "maximum": 100,
      "default": 95,
      "description": "A thin pool that is this full takes no new snapshot; a classic snapshot that is this full is warned of."
    },
    "mount_root": {
      "type": "string",
      "default": "/run/stillframe/mnt",
      "description": "Directory below which restored volumes are mounted."
    }
  }
}"#;

pub(crate) fn describe() -> ProviderInfo {
    ProviderInfo {
        name: "lvm".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        summary: "Takes thin or classic snapshots of the logical volumes that hold the cluster.".to_owned(),
        features: Features::ISOLATED | Features::RESTORE | Features::IMMEDIATE,
        config_schema: CONFIG_SCHEMA.to_owned(),
        needs: vec![CapabilityNeed {
            capability: "command".to_owned(),
            reason: "Runs LVM's programs on the volume groups, copies classic snapshots with `dd`, and mounts what it restores."
                .to_owned(),
        }],
    }
}
