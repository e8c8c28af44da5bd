//! What LVM reports: the logical volumes and the groups of the configuration, read from its JSON.
//!
//! Only the granted groups are named, so that no other is seen. A group that is missing fails the report: without it nobody could
//! say that a snapshot is gone.

use serde::Deserialize;
use stillframe_sdk::Error;
use stillframe_sdk::command::{Command, Output};

use crate::Config;
use crate::program::run;

/// The fields of a volume. `lv_layout` and not `segtype`, which would report each segment by itself.
const VOLUME_FIELDS: &str = "--options=vg_name,lv_name,lv_uuid,lv_layout,lv_role,lv_size,origin,origin_uuid,origin_size,pool_lv,\
                             data_percent,metadata_percent,lv_kernel_minor,lv_active,lv_device_open,lv_snapshot_invalid,\
                             lv_health_status,lv_tags";

const GROUP_FIELDS: &str = "--options=vg_name,vg_free,vg_extent_size";

const MONITOR_FIELDS: &str = "--options=vg_name,lv_name,seg_monitor";

/// A logical volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogicalVolume {
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) uuid: String,
    /// `linear`, `thin,sparse`, `thin,pool`, `raid,raid1`, ...
    pub(crate) layout: String,
    /// `public`, `public,snapshot,thicksnapshot`, ...
    pub(crate) role: String,
    pub(crate) size_bytes: u64,
    pub(crate) origin: Option<String>,
    pub(crate) origin_uuid: Option<String>,
    /// Of a classic snapshot: the size of what it shows. Its own size is the room for changes.
    pub(crate) origin_bytes: Option<u64>,
    pub(crate) pool: Option<String>,
    /// Hundredths of a percent; of a classic snapshot the room that is used up. Unknown while the volume is not active.
    pub(crate) data_hundredths: Option<u32>,
    pub(crate) metadata_hundredths: Option<u32>,
    /// Number of the kernel's device `dm-N`; none while it is not active.
    pub(crate) minor: Option<u32>,
    pub(crate) is_active: bool,
    pub(crate) is_open: bool,
    /// A classic snapshot whose room was used up.
    pub(crate) is_invalid: bool,
    /// `partial`, `out_of_data`, `failed`, ...; empty when all is well.
    pub(crate) health: String,
    pub(crate) tags: Vec<String>,
}

impl LogicalVolume {
    /// `vg/lv`: how LVM names it, and the id of a volume.
    pub(crate) fn id(&self) -> String {
        format!("{}/{}", self.group, self.name)
    }

    pub(crate) fn is_pool(&self) -> bool {
        has_word(&self.layout, "pool")
    }

    pub(crate) fn is_thin(&self) -> bool {
        has_word(&self.layout, "thin") && !self.is_pool()
    }

    pub(crate) fn is_classic_snapshot(&self) -> bool {
        has_word(&self.role, "thicksnapshot")
    }
}

/// A volume group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) free_bytes: u64,
    pub(crate) extent_bytes: u64,
}

/// Every visible volume of the groups.
pub(crate) fn volumes<H: Command>(host: &H, config: &Config) -> Result<Vec<LogicalVolume>, Error> {
    let rows: Vec<VolumeRow> = rows(&run(host, "lvs", &args(config, &["--binary", VOLUME_FIELDS]))?, |report| report.lv)?;
    rows.into_iter().map(VolumeRow::read).collect()
}

/// The groups.
pub(crate) fn groups<H: Command>(host: &H, config: &Config) -> Result<Vec<Group>, Error> {
    let rows: Vec<GroupRow> = rows(&run(host, "vgs", &args(config, &[GROUP_FIELDS]))?, |report| report.vg)?;
    rows.into_iter().map(GroupRow::read).collect()
}

/// `vg/lv` of the volumes that should be watched by `dmeventd` and are not.
pub(crate) fn unmonitored<H: Command>(host: &H, config: &Config) -> Result<Vec<String>, Error> {
    let rows: Vec<MonitorRow> = rows(&run(host, "lvs", &args(config, &[MONITOR_FIELDS]))?, |report| report.lv)?;
    Ok(rows
        .into_iter()
        .filter(|row| matches!(row.seg_monitor.as_str(), "not monitored" | "not enabled"))
        .map(|row| format!("{}/{}", row.vg_name, row.lv_name))
        .collect())
}

fn args(config: &Config, fields: &[&str]) -> Vec<String> {
    let fixed = ["--reportformat=json", "--units=b", "--nosuffix"];
    fixed.iter().chain(fields).map(|&arg| arg.to_owned()).chain(config.volume_groups.names().iter().cloned()).collect()
}

/// `{"report": [{"lv": [...]}]}`, or with `vg` in place of `lv`; one report for each group.
#[derive(Deserialize)]
struct Document<Row> {
    report: Vec<Report<Row>>,
}

#[derive(Deserialize)]
#[serde(bound = "Row: Deserialize<'de>")]
struct Report<Row> {
    lv: Option<Vec<Row>>,
    vg: Option<Vec<Row>>,
}

fn rows<Row: for<'de> Deserialize<'de>>(
    output: &Output,
    part: impl Fn(Report<Row>) -> Option<Vec<Row>>,
) -> Result<Vec<Row>, Error> {
    if output.truncated {
        return Err(Error::Internal("LVM's report is longer than `max_output_kib` of the policy".to_owned()));
    }
    let unreadable = |reason: String| Error::Internal(format!("LVM's report cannot be read: {reason}"));
    let document: Document<Row> = serde_json::from_str(&output.stdout).map_err(|error| unreadable(error.to_string()))?;
    let parts = document.report.into_iter().map(|report| part(report).ok_or_else(|| unreadable("a part is missing".to_owned())));
    Ok(parts.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// A row as it is printed: every value is a string, and empty where the field does not apply.
///
/// With `report/compact_output` in `lvm.conf`, a field that is empty in every row is left out.
#[derive(Deserialize)]
struct VolumeRow {
    vg_name: String,
    lv_name: String,
    lv_uuid: String,
    lv_layout: String,
    lv_role: String,
    lv_size: String,
    #[serde(default)]
    origin: String,
    #[serde(default)]
    origin_uuid: String,
    #[serde(default)]
    origin_size: String,
    #[serde(default)]
    pool_lv: String,
    #[serde(default)]
    data_percent: String,
    #[serde(default)]
    metadata_percent: String,
    lv_kernel_minor: String,
    #[serde(default)]
    lv_active: String,
    lv_device_open: String,
    lv_snapshot_invalid: String,
    #[serde(default)]
    lv_health_status: String,
    #[serde(default)]
    lv_tags: String,
}

impl VolumeRow {
    fn read(self) -> Result<LogicalVolume, Error> {
        let size_bytes = number(&self.lv_size)?;
        Ok(LogicalVolume {
            group: self.vg_name,
            name: self.lv_name,
            uuid: self.lv_uuid,
            layout: self.lv_layout,
            role: self.lv_role,
            size_bytes,
            origin: present(self.origin),
            origin_uuid: present(self.origin_uuid),
            origin_bytes: self.origin_size.parse().ok(),
            pool: present(self.pool_lv),
            data_hundredths: share(&self.data_percent)?,
            metadata_hundredths: share(&self.metadata_percent)?,
            // -1 while there is no device.
            minor: self.lv_kernel_minor.parse().ok(),
            is_active: self.lv_active.starts_with("active") || self.lv_active == "1",
            is_open: self.lv_device_open == "1",
            is_invalid: self.lv_snapshot_invalid == "1",
            health: self.lv_health_status,
            // The separator of lists is configured; the default, a comma, cannot be part of a tag.
            tags: self.lv_tags.split(|c| !is_in_tag(c)).filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
        })
    }
}

#[derive(Deserialize)]
struct GroupRow {
    #[serde(rename = "vg_name")]
    name: String,
    #[serde(rename = "vg_free")]
    free: String,
    #[serde(rename = "vg_extent_size")]
    extent: String,
}

impl GroupRow {
    fn read(self) -> Result<Group, Error> {
        Ok(Group { free_bytes: number(&self.free)?, extent_bytes: number(&self.extent)?.max(1), name: self.name })
    }
}

#[derive(Deserialize)]
struct MonitorRow {
    vg_name: String,
    lv_name: String,
    #[serde(default)]
    seg_monitor: String,
}

fn has_word(list: &str, word: &str) -> bool {
    list.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| part == word)
}

fn is_in_tag(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_+.-/=!:#&".contains(character)
}

fn present(text: String) -> Option<String> {
    if text.is_empty() { None } else { Some(text) }
}

fn number(text: &str) -> Result<u64, Error> {
    text.parse().map_err(|_| Error::Internal(format!("LVM's report has `{text}` in place of a number of bytes")))
}

/// A share, where there is one. What cannot be read is an error: a full pool must not pass for one of which nothing is known.
fn share(text: &str) -> Result<Option<u32>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    hundredths(text).map(Some).ok_or_else(|| Error::Internal(format!("LVM's report has `{text}` in place of a share")))
}

/// `31.41` as 3141. With a comma where `sudo` has given LVM the machine's locale.
fn hundredths(text: &str) -> Option<u32> {
    let (whole, fraction) = text.split_once(['.', ',']).unwrap_or((text, "0"));
    let fraction = format!("{fraction:0<2}");
    let parse = |digits: &str| digits.parse::<u32>().ok();
    parse(whole)?.checked_mul(100)?.checked_add(parse(fraction.get(..2)?)?)
}

/// 3141 as `31.41`.
pub(crate) fn percent_text(hundredths: u32) -> String {
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}
