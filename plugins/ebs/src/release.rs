//! Undoing a restore: unmount, detach, delete, whatever of it is there.
//!
//! What belongs to a restore is known by its token: the mounts below a directory of that name, and the volumes with the tag. So a
//! restore whose answer was lost is undone by its token alone, and only volumes that carry it are ever deleted.

use stillframe_sdk::aws::Aws;
use stillframe_sdk::command::Command;
use stillframe_sdk::{Error, Host, invalid, mount};

use crate::Config;
use crate::ec2::{Class, Ec2, Fault};
use crate::find;
use crate::machine;
use crate::restore::{MEMBER, RESTORE};

/// First pause, and longest time, until a volume is detached and deleted.
const REMOVING_MS: (u32, u32) = (1_000, 300_000);

/// The same, in which volumes are looked for that may not be visible yet.
const LOOKS_MS: (u32, u32) = (1_000, 7_000);

/// Pause after which a volume that is still being detached is worth another try.
const DETACHING_MS: u64 = 30_000;

/// Bytes of a token: EC2 takes 64 for its own, of which the number of the member needs some.
const MAX_TOKEN_BYTES: usize = 40;

pub(crate) fn release<H: Host + Aws + Command>(host: &H, config: &Config, handle: &str) -> Result<(), Error> {
    let (region, account, token) = match handle.split(':').collect::<Vec<_>>()[..] {
        [token] => (config.region.as_str(), "", token),
        [region, account, token] => (region, account, token),
        _ => return Ok(()),
    };
    // No restore of ours has such a handle.
    if !is_token(token) {
        return Ok(());
    }
    if region != config.region {
        return Err(invalid("region", format!("the restore lies in `{region}`, and the configuration says `{}`", config.region)));
    }
    let ec2 = Ec2::new(host, config);
    if undo(&ec2, token, &[])? {
        return Ok(());
    }
    find::prove_account(&ec2, account)
}

/// A restore's handle: its token, and where the volumes are. Elsewhere nothing would be found, and they would be forgotten.
pub(crate) fn handle(config: &Config, account: &str, token: &str) -> String {
    format!("{}:{account}:{token}", config.region)
}

/// Whether this can be the token of a restore: it becomes a directory's name, and part of EC2's client tokens.
pub(crate) fn is_token(token: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !token.is_empty() && token.len() <= MAX_TOKEN_BYTES && token.bytes().all(legal)
}

/// Where a member is mounted.
pub(crate) fn point(config: &Config, token: &str, member: usize) -> String {
    format!("{}/{token}/{member}", config.mount_root)
}

/// Takes everything of a restore back; whether there were volumes. `made` are some that may not be visible yet.
pub(crate) fn undo<H: Host + Aws + Command>(ec2: &Ec2<'_, H>, token: &str, made: &[String]) -> Result<bool, Error> {
    let directory = format!("{}/{token}", ec2.config.mount_root);
    for mounted in mount::below(ec2.host, &directory)?.iter().rev() {
        let number = mounted.point.strip_prefix(&directory).map(|rest| rest.trim_start_matches('/'));
        if !number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit())) {
            return Err(Error::InUse(format!("`{}`, where something else is mounted", mounted.point)));
        }
        mount::detach(ec2.host, &mounted.point)?;
    }
    let (first, total) = LOOKS_MS;
    let mut volumes = Vec::new();
    ec2.wait(first, if made.is_empty() { total } else { 0 }, || {
        volumes = ec2.volumes_tagged(RESTORE, token)?;
        Ok((!volumes.is_empty()).then_some(()))
    })?;
    for member in volumes.iter().filter_map(|volume| volume.tags.get(MEMBER)?.parse().ok()) {
        // A kill may have left the directory of a mount that was not made.
        mount::detach(ec2.host, &point(ec2.config, token, member))?;
    }
    mount::remove_directory(ec2.host, &directory)?;
    for volume in &volumes {
        remove(ec2, &volume.id)?;
    }
    for id in made.iter().filter(|id| !volumes.iter().any(|volume| volume.id == **id)) {
        ec2.delete_volume(id)?;
    }
    Ok(!volumes.is_empty() || !made.is_empty())
}

/// Detaches and deletes one volume, which carries the token. One that another instance works with is not ours to take.
fn remove<H: Host + Aws + Command>(ec2: &Ec2<'_, H>, id: &str) -> Result<(), Error> {
    let (first, total) = REMOVING_MS;
    let mut here: Option<String> = None;
    let removed = ec2.wait(first, total, || {
        let volumes = ec2.visible_volumes(&[id])?;
        let Some(volume) = volumes.first().filter(|volume| !matches!(volume.status.as_str(), "deleting" | "deleted")) else {
            return Ok(Some(()));
        };
        if let Some(attachment) = volume.attachments.iter().find(|attachment| attachment.status != "detached") {
            if here.is_none() {
                here = Some(machine::instance(ec2)?.id);
            }
            if here.as_ref() != Some(&attachment.instance) {
                return Err(Error::InUse(format!("{id}, which is attached to the other instance `{}`", attachment.instance)));
            }
            if attachment.status != "detaching" {
                refuse_mounted(ec2.host, id)?;
                ec2.detach_volume(id, &attachment.instance)?;
            }
            return Ok(None);
        }
        match ec2.delete_volume(id) {
            Ok(()) => Ok(Some(())),
            // Not detached, or not made, quite yet.
            Err(fault) if matches!(fault.class, Class::InUse | Class::Busy) => Ok(None),
            Err(fault) => Err(Fault::into(fault)),
        }
    })?;
    removed.ok_or(Error::Busy(Some(DETACHING_MS)))
}

/// Our own mounts are gone by now. To detach what is still mounted would tear it from a file system that somebody works with.
fn refuse_mounted<H: Host + Command>(host: &H, id: &str) -> Result<(), Error> {
    let disks = machine::disks(host)?;
    match disks.iter().filter(|disk| disk.volume().as_deref() == Some(id)).find_map(|disk| disk.mountpoint()) {
        Some(point) => Err(Error::InUse(format!("{id}, which is mounted at `{point}` as well"))),
        None => Ok(()),
    }
}
