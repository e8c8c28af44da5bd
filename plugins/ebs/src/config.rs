//! The configuration: `[provider.ebs]` without the host's own keys.

use std::collections::BTreeMap;

use serde::Deserialize;
use stillframe_sdk::{Error, invalid};

/// Type of the volumes that a restore makes, unless the operator says otherwise. EC2's own default is the older `gp2`.
pub(crate) const VOLUME_TYPE: &str = "gp3";

/// Tags of the operator's own: EC2 takes 50 on one object, and the record of a set needs its room.
const MAX_TAGS: usize = 20;

/// What the operator configured.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Region of the volumes and of their snapshots.
    pub region: String,
    /// The service's URL, where it is not Amazon's own. The host's policy reads it; it means nothing in here.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The instance that this host is.
    #[serde(default)]
    pub instance_id: Option<String>,
    /// Where restores are mounted.
    #[serde(default = "mount_root")]
    pub mount_root: String,
    /// Zone of restored volumes, in place of the instance's own.
    #[serde(default)]
    pub availability_zone: Option<String>,
    /// Type of restored volumes.
    #[serde(default)]
    pub volume_type: Option<String>,
    /// I/O operations per second of restored volumes.
    #[serde(default)]
    pub iops: Option<u32>,
    /// MiB/s of restored volumes.
    #[serde(default)]
    pub throughput: Option<u32>,
    /// Key of restored volumes, which are then encrypted.
    #[serde(default)]
    pub kms_key_id: Option<String>,
    /// Tags for every snapshot and every restored volume.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// EC2's names for devices, and the kernel's.
    #[serde(default)]
    pub devices: BTreeMap<String, String>,
    /// EC2's names for devices that restored volumes may be attached as, in this order.
    #[serde(default = "attach_devices")]
    pub attach_devices: Vec<String>,
    /// Hours in which a new lock in the mode `compliance` can still be lifted.
    #[serde(default)]
    pub cool_off_hours: Option<u32>,
}

impl Config {
    /// The configuration, if it can be used; what is wrong with it is the error `invalid`.
    pub(crate) fn checked(&self) -> Result<&Self, Error> {
        let legal = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if self.region.is_empty() || self.region.len() > 32 || !legal(&self.region) {
            return Err(invalid("region", format!("`{}` is not the name of a region, as `eu-central-1` is", self.region)));
        }
        if let Some(id) = self.instance_id.as_ref().filter(|id| !id.starts_with("i-") || !legal(id)) {
            return Err(invalid("instance_id", format!("`{id}` is not the id of an instance, as `i-0123456789abcdef0` is")));
        }
        let parts = self.mount_root.strip_prefix('/').map(|rest| rest.split('/'));
        if !parts.is_some_and(|mut parts| parts.all(|part| !matches!(part, "" | "." | ".."))) {
            return Err(invalid("mount_root", format!("`{}` is not an absolute path without `.` and `..`", self.mount_root)));
        }
        if let Some(device) = self.attach_devices.iter().chain(self.devices.keys()).find(|name| !name.starts_with("/dev/")) {
            return Err(invalid("attach_devices", format!("`{device}` is not a device's name, as `/dev/sdf` is")));
        }
        if let Some(device) = self.devices.values().find(|name| !name.starts_with("/dev/") || name.contains("..")) {
            return Err(invalid("devices", format!("`{device}` is not a kernel device, as `/dev/xvdf` is")));
        }
        if self.cool_off_hours.is_some_and(|hours| !(1..=72).contains(&hours)) {
            return Err(invalid("cool_off_hours", "it must be between 1 and 72"));
        }
        self.check_tags()?;
        Ok(self)
    }

    fn check_tags(&self) -> Result<(), Error> {
        if self.tags.len() > MAX_TAGS {
            return Err(invalid("tags", format!("at most {MAX_TAGS} tags have room beside those of the set")));
        }
        let reserved = |key: &str| key.is_empty() || key.starts_with("aws:") || key.starts_with("stillframe");
        match self.tags.iter().find(|(key, value)| reserved(key) || key.chars().count() > 128 || value.chars().count() > 256) {
            Some((key, _)) => Err(invalid(
                "tags",
                format!(
                    "`{key}` must not be empty, begin with `aws:` or `stillframe`, or be longer than 128, nor its value than 256"
                ),
            )),
            None => Ok(()),
        }
    }
}

fn mount_root() -> String {
    "/run/stillframe/mnt".to_owned()
}

/// Those that Amazon recommends for data volumes: eleven short names, then two-letter ones.
fn attach_devices() -> Vec<String> {
    ('f'..='p').map(|letter| format!("/dev/sd{letter}")).chain(('a'..='z').map(|letter| format!("/dev/xvdb{letter}"))).collect()
}
