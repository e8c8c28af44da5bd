//! Attaching a volume, and finding the kernel's device for it.
//!
//! Where disks tell by their serial number which volume they are, nothing else is believed. Elsewhere the device is the one that
//! EC2's name stands for, if it was not there before.

use stillframe_sdk::aws::Aws;
use stillframe_sdk::command::Command;
use stillframe_sdk::{Error, Host};

use super::Restore;
use crate::ec2::{Class, Fault, Volume};
use crate::machine::{self, Device};
use crate::placement::Layer;
use crate::release;
use crate::resolve::kernel_names;
use crate::restore::plan::Piece;

/// First pause, and longest time, until a volume is attached.
const ATTACHING_MS: (u32, u32) = (1_000, 300_000);

/// The same, until a new volume can be.
const SETTLING_MS: (u32, u32) = (1_000, 15_000);

/// The same, until the kernel shows it.
const APPEARING_MS: (u32, u32) = (500, 60_000);

impl<H: Host + Aws + Command> Restore<'_, H> {
    /// Attaches a volume to this instance; returns the device that is to be mounted.
    pub(super) fn attach(&self, piece: &Piece, id: &str) -> Result<String, Error> {
        let before = machine::disks(self.ec2.host)?;
        let was_attached = self.begin(id)?;
        let (volume, name) = self.attached(id)?;
        // The last word before anything is mounted: EC2's own, about what is attached now.
        Self::check_origin(&volume, piece)?;
        let point = release::point(self.ec2.config, self.token, piece.member);
        let (first, total) = APPEARING_MS;
        let device = self.ec2.wait(first, total, || {
            let disks = machine::disks(self.ec2.host)?;
            let Some(disk) = self.disk(&disks, &before, was_attached, id, &name) else { return Ok(None) };
            if disk.is_mounted_elsewhere(&point) {
                return Err(Error::Conflict(format!("`/dev/{}`, which is mounted", disk.name)));
            }
            Ok(filesystem_of(disk, &piece.layer))
        })?;
        device.ok_or_else(|| {
            Error::Transient(format!("`{id}` is attached as `{name}`, and no device of this machine is it: see `devices`"))
        })
    }

    /// Begins to attach, at the first free name; true when it was attached before.
    fn begin(&self, id: &str) -> Result<bool, Error> {
        let volume = self.look(id)?;
        if let Some(volume) = &volume {
            if volume.attachment_to(&self.instance.id).is_some() {
                return Ok(true);
            }
            if let Some(other) = volume.attachments.iter().find(|attachment| attachment.status != "detached") {
                return Err(Error::InUse(format!("{id}, which is attached to `{}`", other.instance)));
            }
        }
        let mut used: Vec<String> = self.instance.devices.iter().map(|(name, _)| plain(name)).collect();
        let attached = self.ec2.volumes_attached_to(&self.instance.id)?;
        used.extend(attached.iter().flat_map(|volume| &volume.attachments).map(|attachment| plain(&attachment.device)));
        for name in self.ec2.config.attach_devices.iter().filter(|name| !used.contains(&plain(name))) {
            match self.attach_as(id, name)? {
                Ok(()) => return Ok(false),
                Err(fault) if is_taken(&fault) => {}
                // Our own request, whose answer was lost, may have been first.
                Err(fault) if fault.class == Class::InUse => {
                    let ours = self.look(id)?.is_some_and(|volume| volume.attachment_to(&self.instance.id).is_some());
                    return if ours { Ok(false) } else { Err(fault.into()) };
                }
                Err(fault) if fault.class == Class::NotFound => {
                    return Err(Error::Transient(format!("the volume `{id}` disappeared: {}", fault.text)));
                }
                Err(fault) => return Err(fault.into()),
            }
        }
        Err(Error::Exhausted("none of `attach_devices` is free on this instance".to_owned()))
    }

    /// Attaches under one name. A volume that is only just made may still be refused for its state.
    fn attach_as(&self, id: &str, name: &str) -> Result<Result<(), Fault>, Error> {
        let (first, total) = SETTLING_MS;
        let attach = || self.ec2.attach_volume(id, &self.instance.id, name);
        let answer = self.ec2.wait(first, total, || match attach() {
            Err(fault) if fault.class == Class::Busy => Ok(None),
            other => Ok(Some(other)),
        })?;
        Ok(answer.unwrap_or_else(attach))
    }

    /// Waits until it is attached; returns EC2's name for the device.
    fn attached(&self, id: &str) -> Result<(Volume, String), Error> {
        let (first, total) = ATTACHING_MS;
        let found = self.ec2.wait(first, total, || {
            let volume = self.look(id)?;
            Ok(volume.and_then(|volume| {
                let attachment = volume.attachment_to(&self.instance.id).filter(|attachment| attachment.status == "attached")?;
                let name = attachment.device.clone();
                Some((volume, name))
            }))
        })?;
        found.ok_or_else(|| Error::Transient(format!("`{id}` was not attached in time")))
    }

    fn look(&self, id: &str) -> Result<Option<Volume>, Error> {
        Ok(self.ec2.visible_volumes(&[id])?.into_iter().next())
    }

    fn disk<'d>(&self, disks: &'d [Device], before: &[Device], was_attached: bool, id: &str, name: &str) -> Option<&'d Device> {
        if let Some(disk) = disks.iter().find(|disk| disk.volume().as_deref() == Some(id)) {
            return Some(disk);
        }
        if disks.iter().any(|disk| disk.volume().is_some()) {
            return None;
        }
        let names = kernel_names(self.ec2.config, name);
        let is_named = |disk: &&Device| names.contains(&format!("/dev/{}", disk.name)) && disk.volume().is_none();
        let is_new = |disk: &&Device| was_attached || !before.iter().any(|other| other.name == disk.name);
        disks.iter().filter(is_named).find(is_new)
    }
}

/// The device with the file system; none while the kernel does not show its partition.
fn filesystem_of(disk: &Device, layer: &Layer) -> Option<String> {
    let Layer::Partition(number) = layer else { return Some(format!("/dev/{}", disk.name)) };
    let separator = if disk.name.ends_with(|last: char| last.is_ascii_digit()) { "p" } else { "" };
    let name = format!("{}{separator}{number}", disk.name);
    disk.children.iter().find(|child| child.name == name).map(|child| format!("/dev/{}", child.name))
}

/// `/dev/sdf` and `/dev/xvdf` are one place.
fn plain(name: &str) -> String {
    let name = name.trim_start_matches("/dev/");
    name.strip_prefix("xvd").map_or_else(|| name.to_owned(), |rest| format!("sd{rest}"))
}

/// EC2 has no code of its own for a name that is taken.
fn is_taken(fault: &Fault) -> bool {
    fault.code == "InvalidDevice.InUse" || fault.code == "InvalidParameterValue" && fault.text.contains("already in use")
}
