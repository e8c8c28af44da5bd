//! What the provider says about itself.

use stillframe_sdk::{CapabilityNeed, Features, ProviderInfo};

/// JSON Schema of [`crate::Config`]; a test compares the two.
const CONFIG_SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["region"],
  "properties": {
    "region": {
      "type": "string",
      "description": "Region of the volumes and their snapshots: `eu-central-1`."
    },
    "endpoint": {
      "type": "string",
      "description": "URL of the service, where it is not Amazon's own."
    },
    "instance_id": {
      "type": "string",
      "description": "The EC2 instance that this host is. Found by the serial numbers of its disks on Nitro instances; needed on Xen instances, and on a host without EBS disks."
    },
    "mount_root": {
      "type": "string",
      "default": "/run/stillframe/mnt",
      "description": "Directory below which restored volumes are mounted."
    },
    "availability_zone": {
      "type": "string",
      "description": "Zone of restored volumes. The instance's own when absent; no other can be attached to it."
    },
    "volume_type": {
      "type": "string",
      "default": "gp3",
      "description": "Type of restored volumes."
    },
    "iops": {
      "type": "integer",
      "minimum": 1,
      "description": "I/O operations per second of restored volumes, where the type has that."
    },
    "throughput": {
      "type": "integer",
      "minimum": 1,
      "description": "Throughput of restored volumes in MiB/s, where the type has that."
    },
    "kms_key_id": {
      "type": "string",
      "description": "Key that restored volumes are encrypted with. The snapshot's own when absent."
    },
    "tags": {
      "type": "object",
      "additionalProperties": { "type": "string" },
      "description": "Further tags for snapshots and restored volumes; at most 20."
    },
    "devices": {
      "type": "object",
      "additionalProperties": { "type": "string" },
      "description": "EC2's names of devices and the kernel's, where disks have no serial numbers and the kernel's names are unusual: `{ \"/dev/sdf\" = \"/dev/xvdj\" }`."
    },
    "attach_devices": {
      "type": "array",
      "items": { "type": "string" },
      "description": "EC2's names of devices that restored volumes may be attached as. By default `/dev/sdf` to `/dev/sdp`, then `/dev/xvdba` to `/dev/xvdbz`."
    },
    "cool_off_hours": {
      "type": "integer",
      "minimum": 1,
      "maximum": 72,
      "description": "Hours in which a new lock in the mode `compliance` can still be lifted. None when absent."
    }
  }
}"#;

pub(crate) fn describe() -> ProviderInfo {
    let need = |capability: &str, reason: &str| CapabilityNeed { capability: capability.to_owned(), reason: reason.to_owned() };
    ProviderInfo {
        name: "ebs".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        summary: "Takes snapshots of Amazon EBS volumes, of several volumes of an instance at one instant.".to_owned(),
        features: Features::ATOMIC_GROUP | Features::ISOLATED | Features::RESTORE | Features::LOCK | Features::INCREMENTAL,
        config_schema: CONFIG_SCHEMA.to_owned(),
        needs: vec![
            need("aws", "Takes, finds, deletes and locks snapshots of the region, and makes and attaches volumes for a restore."),
            need("command", "Finds and mounts the volumes of a restore."),
        ],
    }
}
