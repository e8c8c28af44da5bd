//! Checking the configuration, that EC2 answers, and the rights, without a trace.
//!
//! Rights are asked for with `DryRun`. What would destroy something is asked at Amazon only: a service that merely speaks EC2's
//! language may pass over the parameter, and a check must not cost a backup.

use stillframe_sdk::aws::Aws;
use stillframe_sdk::command::Command;
use stillframe_sdk::{Error, Host};

use crate::Config;
use crate::ec2::{Class, Ec2, Fault, Instance, Query, query};
use crate::machine;
use crate::restore::RESTORE;
use crate::set::TOKEN;
use crate::time;

/// How long the lock would hold that is asked for.
const LOCK_MS: u64 = 2 * 86_400_000;

pub(crate) fn check<H: Host + Aws + Command>(host: &H, config: &Config) -> Result<Vec<String>, Error> {
    let ec2 = Ec2::new(host, config);
    let mut warnings = Vec::new();
    let ours = ec2.sample_snapshot(TOKEN)?;
    let instance = instance(&ec2, &mut warnings)?;
    if let Some(instance) = &instance {
        let attached = ec2.volumes_attached_to(&instance.id)?;
        let together = query("CreateSnapshots").with("InstanceSpecification.InstanceId", &instance.id);
        require(&ec2, tagged(config, together))?;
        if let Some(volume) = attached.first() {
            require(&ec2, tagged(config, query("CreateSnapshot").with("VolumeId", &volume.id)))?;
        }
    }
    // Whose rights depend on the tags of an object can only be asked with such an object.
    if let Some(snapshot) = ours.filter(|_| config.endpoint.is_none()) {
        require(&ec2, query("DeleteSnapshot").with("SnapshotId", &snapshot.id))?;
        let lock = query("LockSnapshot")
            .with("SnapshotId", &snapshot.id)
            .with("LockMode", "governance")
            .with("ExpirationDate", time::format(host.now_ms() + LOCK_MS));
        advise(&ec2, lock, "locks are not possible", &mut warnings)?;
        if let Some(instance) = &instance {
            let volume = query("CreateVolume").with("SnapshotId", &snapshot.id).with("AvailabilityZone", &instance.zone);
            advise(
                &ec2,
                volume.tagged("volume", &[(RESTORE.to_owned(), "check".to_owned())]),
                "restores are not possible",
                &mut warnings,
            )?;
        }
    }
    Ok(warnings)
}

/// The instance that this host is. Backups need not know it; restores do, and some other hosts than the database's only look.
fn instance<H: Host + Aws + Command>(ec2: &Ec2<'_, H>, warnings: &mut Vec<String>) -> Result<Option<Instance>, Error> {
    match machine::instance(ec2) {
        Ok(instance) => Ok(Some(instance)),
        Err(Error::Invalid(argument)) if ec2.config.instance_id.is_none() => {
            warnings.push(format!(
                "the instance is not known, so rights cannot be checked and restores are not possible: {}",
                argument.message
            ));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Asks as it will be asked: rights to create often depend on the tags.
fn tagged(config: &Config, request: Query) -> Query {
    let tags = [(TOKEN.to_owned(), "check".to_owned())].into_iter().chain(config.tags.clone()).collect::<Vec<_>>();
    request.tagged("snapshot", &tags)
}

/// Without this right there is no backup.
fn require<H: Host + Aws>(ec2: &Ec2<'_, H>, request: Query) -> Result<(), Error> {
    let action = request.action;
    match ec2.dry_run(request)? {
        Some(false) => Err(Error::Denied(format!("`ec2:{action}`: an IAM policy must allow it"))),
        Some(true) | None => Ok(()),
    }
}

/// Without this right something is missing that not everybody needs.
fn advise<H: Host + Aws>(ec2: &Ec2<'_, H>, request: Query, what: &str, warnings: &mut Vec<String>) -> Result<(), Error> {
    let action = request.action;
    let denied = |text: &str| format!("{what}: {text}");
    match ec2.dry_run(request) {
        Ok(Some(false)) => warnings.push(denied(&format!("no IAM policy allows `ec2:{action}`"))),
        Ok(Some(true) | None) => {}
        Err(Fault { class: Class::Denied, text, .. }) => warnings.push(denied(&text)),
        Err(fault) => return Err(fault.into()),
    }
    Ok(())
}
