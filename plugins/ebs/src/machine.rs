//! This machine: its block devices, and which instance it is.

use serde::Deserialize;
use stillframe_sdk::aws::Aws;
use stillframe_sdk::command::{Command, ExitStatus, Invocation};
use stillframe_sdk::{Error, Host, invalid};

use crate::ec2::{Ec2, Instance};
use crate::placement::is_disk;

/// Columns of `lsblk` that are read.
const COLUMNS: &str = "--output=NAME,TYPE,SERIAL,MOUNTPOINT";

/// One device of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Device {
    /// The kernel's name: `nvme1n1`.
    pub(crate) name: String,
    #[serde(rename = "type")]
    kind: String,
    serial: Option<String>,
    mountpoint: Option<String>,
    #[serde(default)]
    pub(crate) children: Vec<Device>,
}

#[derive(Deserialize)]
struct Report {
    blockdevices: Vec<Device>,
}

impl Device {
    /// The EBS volume behind it, where it says so.
    pub(crate) fn volume(&self) -> Option<String> {
        volume_of_serial(self.serial.as_deref()?)
    }

    /// Where it, or anything on it, is mounted.
    pub(crate) fn mountpoint(&self) -> Option<&str> {
        self.mountpoint.as_deref().or_else(|| self.children.iter().find_map(Device::mountpoint))
    }

    /// Whether it, or anything on it, is mounted at another place.
    pub(crate) fn is_mounted_elsewhere(&self, point: &str) -> bool {
        let here = self.mountpoint.as_deref().is_some_and(|mounted| mounted != point);
        here || self.children.iter().any(|child| child.is_mounted_elsewhere(point))
    }
}

/// The volume that the serial number of an `NVMe` device names: `vol0123…` without the hyphen.
pub(crate) fn volume_of_serial(serial: &str) -> Option<String> {
    let digits = serial.trim().strip_prefix("vol")?;
    let digits = digits.strip_prefix('-').unwrap_or(digits);
    let is_id = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| format!("vol-{}", digits.to_ascii_lowercase()))
}

/// The disks of this machine.
pub(crate) fn disks<H: Command>(host: &H) -> Result<Vec<Device>, Error> {
    let args = vec!["--json".to_owned(), COLUMNS.to_owned()];
    let output = host.run(&Invocation { program: "lsblk".to_owned(), args, stdin: None, timeout_ms: None })?;
    if output.status != ExitStatus::Code(0) || output.truncated {
        return Err(Error::Transient(format!("`lsblk` failed, or its report was cut: {}", output.stderr.trim())));
    }
    let report: Report = serde_json::from_str(&output.stdout)
        .map_err(|error| Error::Internal(format!("the report of `lsblk` cannot be read: {error}")))?;
    Ok(report.blockdevices.into_iter().filter(|device| is_disk(&device.kind)).collect())
}

/// The instance that this machine is: the configured one, or the one that its disks are attached to.
pub(crate) fn instance<H: Host + Aws + Command>(ec2: &Ec2<'_, H>) -> Result<Instance, Error> {
    let id = match &ec2.config.instance_id {
        Some(id) => id.clone(),
        None => discovered(ec2)?,
    };
    ec2.instance(&id).map_err(|fault| fault.about("instance_id"))
}

fn discovered<H: Host + Aws + Command>(ec2: &Ec2<'_, H>) -> Result<String, Error> {
    let ids: Vec<String> = disks(ec2.host)?.iter().filter_map(Device::volume).collect();
    let unknown = |why: &str| invalid("instance_id", format!("it must name the instance that this host is: {why}"));
    if ids.is_empty() {
        return Err(unknown("no disk of it tells by its serial number which EBS volume it is"));
    }
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let volumes = ec2.visible_volumes(&ids)?;
    let attachments = || volumes.iter().flat_map(|volume| &volume.attachments).filter(|attachment| attachment.status == "attached");
    let mut candidates: Vec<&str> = attachments().map(|attachment| attachment.instance.as_str()).collect();
    // A volume that is attached to several instances tells nothing; the others do.
    candidates.retain(|instance| volumes.iter().all(|volume| volume.attachment_to(instance).is_some()));
    candidates.dedup();
    candidates.sort_unstable();
    candidates.dedup();
    match candidates[..] {
        [instance] => Ok(instance.to_owned()),
        _ => Err(unknown("its disks are not all volumes of one instance in this region")),
    }
}
