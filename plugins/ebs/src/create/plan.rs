//! How to cut: with one request at one instant, wherever EC2 can.

use stillframe_sdk::aws::Aws;
use stillframe_sdk::{Error, Host, Level};

use crate::ec2::{Ec2, Volume};
use crate::placement::Placement;

/// Most volumes that one request can exclude.
const MAX_EXCLUDED: usize = 40;

/// How to cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// There is one volume.
    Single,
    /// All of one instance, at one instant.
    Together { instance: String, exclude_boot: bool, excluded: Vec<String> },
    /// Each by itself: they are not of one instance, or it has too many others.
    OneByOne,
}

pub(super) fn plan<H: Host + Aws>(ec2: &Ec2<'_, H>, placement: &Placement) -> Result<Plan, Error> {
    let disks = placement.disks();
    if disks.len() == 1 {
        return Ok(Plan::Single);
    }
    let volumes = ec2.volumes(&disks).map_err(|fault| fault.about("volumes"))?;
    let Some(instance) = common_instance(ec2, &volumes) else {
        return one_by_one(ec2, placement, "they are not attached to one instance");
    };
    let attached = ec2.volumes_attached_to(&instance)?;
    if let Some(missing) = disks.iter().find(|disk| !attached.iter().any(|volume| volume.id == **disk)) {
        return Err(Error::Transient(format!("`{missing}` is, and is not, attached to `{instance}`")));
    }
    let description = ec2.instance(&instance).map_err(|fault| fault.about("instance_id"))?;
    let root = description.root_volume();
    let is_other = |volume: &&Volume| !disks.contains(&volume.id.as_str()) && Some(volume.id.as_str()) != root;
    let excluded: Vec<String> = attached.iter().filter(is_other).map(|volume| volume.id.clone()).collect();
    if excluded.len() > MAX_EXCLUDED {
        return one_by_one(ec2, placement, "their instance has more other volumes than a request can exclude");
    }
    Ok(Plan::Together { exclude_boot: root.is_some_and(|root| !disks.contains(&root)), instance, excluded })
}

/// The instance that all volumes are attached to: the configured one, if it is one of several.
fn common_instance<H: Host + Aws>(ec2: &Ec2<'_, H>, volumes: &[Volume]) -> Option<String> {
    let (first, others) = volumes.split_first()?;
    let has_all = |instance: &str| others.iter().all(|volume| volume.attachment_to(instance).is_some());
    let mut common: Vec<&str> = first.attachments.iter().map(|attachment| attachment.instance.as_str()).collect();
    common.retain(|instance| first.attachment_to(instance).is_some() && has_all(instance));
    let configured = ec2.config.instance_id.as_deref().filter(|id| common.contains(id));
    configured.or_else(|| common.first().copied()).map(str::to_owned)
}

/// Backup mode makes up for different instants, except below one file system: that would be torn.
fn one_by_one<H: Host + Aws>(ec2: &Ec2<'_, H>, placement: &Placement, why: &str) -> Result<Plan, Error> {
    if let Some(disks) = placement.volumes.iter().find(|disks| disks.len() > 1) {
        return Err(Error::Unsupported(format!(
            "cutting {} at one instant, which one file system needs: {why}",
            disks.join(" and ")
        )));
    }
    ec2.host.log(Level::Warn, &format!("the volumes are cut one by one: {why}"));
    Ok(Plan::OneByOne)
}
