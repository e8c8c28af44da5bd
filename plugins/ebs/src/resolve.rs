//! Mapping data paths to volumes.
//!
//! A path belongs to the disks at the bottom of its stack. On Nitro instances a disk's serial number is the volume's id; elsewhere
//! the instance's own list of device names says it. A disk that is not a volume, as an instance store, is refused: a set without
//! it would look complete.

use std::collections::BTreeMap;

use stillframe_sdk::aws::Aws;
use stillframe_sdk::{BlockDevice, DataPath, Error, Host, Volume};

use crate::Config;
use crate::ec2::{self, Ec2};
use crate::machine::volume_of_serial;
use crate::placement::is_disk;

pub(crate) fn resolve<H: Host + Aws>(host: &H, config: &Config, paths: Vec<DataPath>) -> Result<Vec<Volume>, Error> {
    let ec2 = Ec2::new(host, config);
    let mut names = Names::new(&ec2);
    let mut placed: Vec<(Vec<String>, Vec<DataPath>)> = Vec::new();
    for path in paths {
        let disks = names.disks_of(&path)?;
        match placed.iter_mut().find(|(others, _)| *others == disks) {
            Some((_, same)) => same.push(path),
            None => placed.push((disks, vec![path])),
        }
    }
    refuse_overlaps(&placed)?;
    let ids: Vec<&str> = placed.iter().flat_map(|(disks, _)| disks).map(String::as_str).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let known = ec2.visible_volumes(&ids)?;
    placed.into_iter().map(|(disks, paths)| volume(&known, &disks, paths)).collect()
}

/// A disk that two stacks share in part would have to be cut twice.
fn refuse_overlaps(placed: &[(Vec<String>, Vec<DataPath>)]) -> Result<(), Error> {
    for (index, (disks, paths)) in placed.iter().enumerate() {
        let shared = disks.iter().find(|disk| placed[..index].iter().any(|(others, _)| others.contains(disk)));
        if let (Some(disk), Some(path)) = (shared, paths.first()) {
            return Err(Error::UnmanagedPath(format!(
                "{} (on `{disk}` and other volumes, of which another path has only a part)",
                path.path
            )));
        }
    }
    Ok(())
}

fn volume(known: &[ec2::Volume], disks: &[String], paths: Vec<DataPath>) -> Result<Volume, Error> {
    let mut attributes = Vec::new();
    for (number, disk) in disks.iter().enumerate() {
        // A volume of another account or region has a serial number as well.
        let Some(found) = known.iter().find(|volume| volume.id == *disk) else {
            let path = paths.first().map(|path| path.path.as_str()).unwrap_or_default();
            return Err(Error::UnmanagedPath(format!("{path} (`{disk}` is not a volume of this account and region)")));
        };
        let key = |name: &str| if disks.len() == 1 { name.to_owned() } else { format!("{name}-{number}") };
        attributes.push((key("type"), found.kind.clone()));
        attributes.push((key("zone"), found.zone.clone()));
        attributes.push((key("encrypted"), found.encrypted.to_string()));
        attributes.extend(found.gib.map(|gib| (key("gib"), gib.to_string())));
        attributes.extend(found.attachments.first().map(|attachment| (key("instance"), attachment.instance.clone())));
    }
    // For people; the interface has room for 40.
    attributes.truncate(40);
    Ok(Volume { id: disks.join("+"), paths, attributes })
}

/// From the kernel's names to volumes. EC2 is asked for the instance's own list only when a disk has no serial number.
struct Names<'a, H> {
    ec2: &'a Ec2<'a, H>,
    by_device: Option<BTreeMap<String, String>>,
}

impl<'a, H: Host + Aws> Names<'a, H> {
    fn new(ec2: &'a Ec2<'a, H>) -> Self {
        Self { ec2, by_device: None }
    }

    /// The volumes below a path, in the order of their ids.
    fn disks_of(&mut self, path: &DataPath) -> Result<Vec<String>, Error> {
        let disks: Vec<&BlockDevice> = path.devices.iter().filter(|device| is_disk(&device.kind)).collect();
        if disks.is_empty() {
            return Err(Error::UnmanagedPath(format!("{} (no disk is below `{}`)", path.path, path.mount_source)));
        }
        let mut volumes = disks.into_iter().map(|disk| self.volume_of(path, disk)).collect::<Result<Vec<_>, _>>()?;
        volumes.sort_unstable();
        volumes.dedup();
        Ok(volumes)
    }

    fn volume_of(&mut self, path: &DataPath, disk: &BlockDevice) -> Result<String, Error> {
        let unmanaged = |why: &str| Error::UnmanagedPath(format!("{} (the disk `{}` {why})", path.path, disk.name));
        let model = disk.model.as_deref().unwrap_or_default();
        if model.contains("Instance Storage") {
            return Err(unmanaged("is an instance store, which cannot be cut"));
        }
        match disk.serial.as_deref().and_then(volume_of_serial) {
            Some(volume) => return Ok(volume),
            // An NVMe disk of another kind; names of devices mean nothing where there is NVMe.
            None if disk.name.starts_with("nvme") => return Err(unmanaged("is not an EBS volume")),
            None => {}
        }
        if self.ec2.config.instance_id.is_none() {
            return Err(unmanaged("has no serial number: its volume can only be found when `instance_id` is configured"));
        }
        let kernel = format!("/dev/{}", disk.name);
        self.by_device()?.get(&kernel).cloned().ok_or_else(|| unmanaged("is not among the volumes of the instance"))
    }

    fn by_device(&mut self) -> Result<&BTreeMap<String, String>, Error> {
        if self.by_device.is_none() {
            let instance = self.ec2.config.instance_id.as_deref().unwrap_or_default();
            let volumes = self.ec2.volumes_attached_to(instance)?;
            let mut by_device = BTreeMap::new();
            for volume in &volumes {
                for attachment in volume.attachments.iter().filter(|attachment| attachment.instance == instance) {
                    for kernel in kernel_names(self.ec2.config, &attachment.device) {
                        by_device.insert(kernel, volume.id.clone());
                    }
                }
            }
            self.by_device = Some(by_device);
        }
        self.by_device.as_ref().ok_or_else(|| Error::Internal("there is no list of devices".to_owned()))
    }
}

/// The names that the kernel may have for one of EC2's: the configured one, or those of Xen. `/dev/sda1` is a whole disk there.
pub(crate) fn kernel_names(config: &Config, device: &str) -> Vec<String> {
    if let Some(kernel) = config.devices.get(device) {
        return vec![kernel.clone()];
    }
    let mut names = vec![device.to_owned()];
    if let Some(rest) = device.strip_prefix("/dev/sd") {
        names.push(format!("/dev/xvd{rest}"));
        names.extend(rest.strip_suffix('1').map(|letters| format!("/dev/xvd{letters}")));
    }
    names
}
