//! LVM in a guest: groups, pools and volumes, as its own tools show them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::succeed;

/// A guest has no udev that makes the nodes of devices, and no daemon that watches pools.
const CONFIGURATION: &str =
    "devices { obtain_device_list_from_udev = 0 external_device_info_source = \"none\" use_devicesfile = 0 }
activation { udev_sync = 0 udev_rules = 0 verify_udev_operations = 0 monitoring = 0 }
global { use_lvmpolld = 0 }
backup { backup = 0 archive = 0 }
";

const MODULES: [&str; 3] = ["dm-mod", "dm-snapshot", "dm-thin-pool"];

/// A volume group of a guest.
#[derive(Debug)]
pub struct VolumeGroup {
    name: String,
}

/// A logical volume.
#[derive(Debug, Clone)]
pub struct LogicalVolume {
    group: String,
    name: String,
}

impl VolumeGroup {
    /// Makes a group of disks, and a pool in it when its volumes shall be thin.
    #[track_caller]
    pub fn create(name: &str, disks: &[PathBuf]) -> Self {
        prepare();
        let disks: Vec<String> = disks.iter().map(|disk| disk.display().to_string()).collect();
        let disks: Vec<&str> = disks.iter().map(String::as_str).collect();
        succeed("vgcreate", &[&["--quiet", "--yes", name], disks.as_slice()].concat());
        Self { name: name.to_owned() }
    }

    /// Finds a group that an earlier guest made, and activates what is activated when a machine starts.
    #[track_caller]
    pub fn find(name: &str) -> Self {
        prepare();
        succeed("vgchange", &["--quiet", "--activate", "ay", name]);
        Self { name: name.to_owned() }
    }

    /// Makes a pool for thin volumes that refuses writes when it is full.
    #[track_caller]
    pub fn thin_pool(&self, pool: &str, size_mib: u64) {
        let size = format!("{size_mib}m");
        succeed("lvcreate", &["-qy", "--errorwhenfull", "y", "-L", &size, "--thinpool", pool, &self.name]);
    }

    /// Makes a volume with room of its own.
    #[track_caller]
    pub fn classic_volume(&self, name: &str, size_mib: u64) -> LogicalVolume {
        succeed("lvcreate", &["-qy", "-W", "y", "-L", &format!("{size_mib}m"), "-n", name, &self.name]);
        LogicalVolume { group: self.name.clone(), name: name.to_owned() }
    }

    /// Makes a volume that takes its room from a pool.
    #[track_caller]
    pub fn thin_volume(&self, pool: &str, name: &str, size_mib: u64) -> LogicalVolume {
        let pool = format!("{}/{pool}", self.name);
        succeed("lvcreate", &["-qy", "-V", &format!("{size_mib}m"), "-T", &pool, "-n", name]);
        LogicalVolume { group: self.name.clone(), name: name.to_owned() }
    }

    /// Names of all volumes and snapshots.
    #[track_caller]
    pub fn volumes(&self) -> Vec<String> {
        let mut names: Vec<String> = self.report("lv_name").iter().map(|volume| text(volume, "lv_name")).collect();
        names.sort();
        names
    }

    /// Names of the snapshots of a volume.
    #[track_caller]
    pub fn snapshots_of(&self, volume: &str) -> Vec<String> {
        let all = self.report("lv_name,origin");
        let snapshots = all.iter().filter(|found| text(found, "origin") == volume);
        snapshots.map(|found| text(found, "lv_name")).collect()
    }

    /// One column of the report about a volume.
    #[track_caller]
    pub fn column(&self, volume: &str, column: &str) -> String {
        let all = self.report(&format!("lv_name,{column}"));
        let found = all.iter().find(|found| text(found, "lv_name") == volume);
        text(found.unwrap_or_else(|| panic!("there is no volume `{volume}`: {all:?}")), column)
    }

    /// Makes a volume or pool larger.
    #[track_caller]
    pub fn extend(&self, volume: &str, by_mib: u64) {
        succeed("lvextend", &["-qy", "-L", &format!("+{by_mib}m"), &format!("{}/{volume}", self.name)]);
    }

    /// Path of the device of a volume.
    pub fn device(&self, volume: &str) -> PathBuf {
        Path::new("/dev").join(&self.name).join(volume)
    }

    #[track_caller]
    fn report(&self, columns: &str) -> Vec<Value> {
        let report = succeed("lvs", &["--reportformat", "json", "-o", columns, &self.name]);
        let report: Value = serde_json::from_str(&report).expect("LVM reports in JSON");
        report["report"][0]["lv"].as_array().expect("a list of volumes").clone()
    }
}

impl LogicalVolume {
    /// Its device.
    pub fn device(&self) -> PathBuf {
        Path::new("/dev").join(&self.group).join(&self.name)
    }
}

fn prepare() {
    for module in MODULES {
        succeed("modprobe", &[module]);
    }
    fs::create_dir_all("/etc/lvm").and_then(|()| fs::write("/etc/lvm/lvm.conf", CONFIGURATION)).unwrap();
    fs::create_dir_all("/run/lock/lvm").unwrap();
}

fn text(volume: &Value, column: &str) -> String {
    volume[column].as_str().expect("LVM reports texts").to_owned()
}
