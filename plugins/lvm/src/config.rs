//! The configuration: `[provider.lvm]` without the host's own keys.
//!
//! Values are checked where they are read, so that an error names the key.

use serde::Deserialize;

/// What the operator configured.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The volume groups that may be touched.
    pub volume_groups: Groups,
    /// Which kind of snapshot to make.
    #[serde(default)]
    pub mode: Mode,
    /// Room for the changes of the origin in a classic snapshot.
    #[serde(default)]
    pub classic_size: ClassicSize,
    /// Share of a thin pool from which on it takes no new snapshot, and of a classic snapshot from which on a warning is due.
    #[serde(default)]
    pub full_percent: Percent,
    /// The directory below which restored volumes are mounted.
    #[serde(default)]
    pub mount_root: MountRoot,
}

/// Which kind of snapshot to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Thin for a thin volume, else classic.
    #[default]
    Auto,
    /// Thin; a volume that is not is refused.
    Thin,
    /// Classic, of thin volumes as well.
    Classic,
}

/// Names of volume groups; at least one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct Groups(Vec<String>);

/// Room for the changes in a classic snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum ClassicSize {
    /// This share of the origin's size.
    PercentOfOrigin(u64),
    /// So many bytes.
    Bytes(u64),
}

/// A share from 1 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub struct Percent(u32);

/// An absolute directory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct MountRoot(String);

impl Groups {
    /// The names, in the order of the configuration.
    pub(crate) fn names(&self) -> &[String] {
        &self.0
    }
}

impl TryFrom<Vec<String>> for Groups {
    type Error = String;

    fn try_from(names: Vec<String>) -> Result<Self, String> {
        if names.is_empty() {
            return Err("it is empty; name the volume groups that hold the cluster".to_owned());
        }
        match names.iter().find(|name| !is_lvm_name(name)) {
            Some(name) => Err(format!("`{name}` cannot be the name of a volume group")),
            None => Ok(Self(names)),
        }
    }
}

/// Whether LVM takes this for the name of a group or a volume: letters, digits, `+`, `_`, `.` and `-`, no hyphen first.
pub(crate) fn is_lvm_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"+_.-".contains(&byte);
    !name.is_empty() && name.len() <= 127 && !name.starts_with('-') && !matches!(name, "." | "..") && name.bytes().all(legal)
}

impl ClassicSize {
    /// Bytes for the changes of an origin of this size.
    pub(crate) fn bytes(self, origin_bytes: u64) -> u64 {
        match self {
            Self::PercentOfOrigin(percent) => (origin_bytes / 100).saturating_mul(percent),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl Default for ClassicSize {
    fn default() -> Self {
        Self::PercentOfOrigin(20)
    }
}

impl TryFrom<String> for ClassicSize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_size(&text)
            .ok_or_else(|| format!("`{text}` is not a size such as `20%ORIGIN` or `10G` (M, G and T are powers of 1024)"))
    }
}

fn parse_size(text: &str) -> Option<ClassicSize> {
    if let Some(percent) = text.strip_suffix("%ORIGIN") {
        return percent.parse().ok().filter(|percent| (1..=1_000).contains(percent)).map(ClassicSize::PercentOfOrigin);
    }
    let shift = match text.chars().last()? {
        'M' => 20,
        'G' => 30,
        'T' => 40,
        _ => return None,
    };
    let number: u64 = text[..text.len() - 1].parse().ok().filter(|number| *number > 0)?;
    number.checked_mul(1 << shift).map(ClassicSize::Bytes)
}

impl Percent {
    /// In hundredths, as LVM's reports have them.
    pub(crate) fn hundredths(self) -> u32 {
        self.0 * 100
    }
}

impl Default for Percent {
    fn default() -> Self {
        Self(95)
    }
}

impl TryFrom<u32> for Percent {
    type Error = String;

    fn try_from(percent: u32) -> Result<Self, String> {
        if (1..=100).contains(&percent) { Ok(Self(percent)) } else { Err(format!("`{percent}` is not from 1 to 100")) }
    }
}

impl MountRoot {
    /// Without a slash at its end.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for MountRoot {
    fn default() -> Self {
        Self("/run/stillframe/mnt".to_owned())
    }
}

impl TryFrom<String> for MountRoot {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let legal = |part: &str| !part.is_empty() && part != "." && part != "..";
        match text.strip_prefix('/') {
            Some(rest) if rest.split('/').all(legal) => Ok(Self(text)),
            _ => Err(format!("`{text}` is not an absolute directory without `.`, `..` and a slash at its end")),
        }
    }
}
