//! Checking the configuration and the rights, without a trace.

use std::collections::BTreeSet;

use stillframe_sdk::command::Command;
use stillframe_sdk::{Error, Host, Level};

use crate::fault::Fault;
use crate::name;
use crate::rights;
use crate::zfs::{FileSystem, Zfs, missing};

pub(crate) fn check<H: Host + Command>(zfs: &Zfs<'_, H>) -> Result<Vec<String>, Error> {
    let config = zfs.config;
    let datasets = zfs.file_systems(&config.datasets).map_err(|failure| missing("datasets", failure))?;
    if !config.clones.is_empty() {
        zfs.file_systems(&config.clones).map_err(|failure| missing("clones", failure))?;
    }
    // What carries our properties can be listed.
    zfs.marks(&config.datasets)?;
    let mut warnings = Vec::new();
    about_pools(zfs, &mut warnings);
    for dataset in &datasets {
        about_dataset(dataset, &mut warnings);
    }
    about_rights(zfs, &mut warnings)?;
    Ok(warnings)
}

fn about_pools<H>(zfs: &Zfs<'_, H>, warnings: &mut Vec<String>) {
    let config = zfs.config;
    let pools: BTreeSet<&str> = config.datasets.iter().map(|dataset| name::pool(dataset)).collect();
    let names = |pools: &BTreeSet<&str>| pools.iter().map(|pool| format!("`{pool}`")).collect::<Vec<_>>().join(", ");
    if pools.len() > 1 {
        warnings.push(format!(
            "`datasets` lie in the pools {}: a cluster in several pools is not cut at one instant, but pool by pool in backup mode",
            names(&pools)
        ));
    }
    let without: BTreeSet<&str> = pools.into_iter().filter(|pool| config.clones_of(pool).is_err()).collect();
    if !without.is_empty() {
        warnings.push(format!("`clones` names no dataset of {}: a backup cannot be restored by this provider", names(&without)));
    }
}

fn about_dataset(dataset: &FileSystem, warnings: &mut Vec<String>) {
    let name = &dataset.name;
    if dataset.sync == "disabled" {
        warnings.push(format!("`{name}` has `sync=disabled`: a crash of the machine loses commits that PostgreSQL has confirmed"));
    }
    if dataset.key_status == "unavailable" {
        warnings.push(format!("the encryption key of `{name}` is not loaded: its snapshots cannot be restored"));
    }
}

/// Root needs no delegation; whether another user is the right one, the names in the warning let a person judge.
fn about_rights<H: Host + Command>(zfs: &Zfs<'_, H>, warnings: &mut Vec<String>) -> Result<(), Error> {
    let config = zfs.config;
    if zfs.is_root(&config.datasets[0])? {
        return Ok(());
    }
    for dataset in &config.datasets {
        let printed = match zfs.delegated(dataset) {
            Ok(printed) => printed,
            Err(failure) if failure.fault == Fault::Denied => String::new(),
            Err(failure) => return Err(failure.into()),
        };
        let missing = rights::missing(&printed, dataset, rights::BACKUP);
        if !missing.is_empty() {
            let hint = rights::hint(&[dataset], rights::BACKUP);
            warnings.push(format!("zfs does not run as root, and no user has `{}` on `{dataset}`: {hint}", missing.join("`, `")));
        }
    }
    if !config.clones.is_empty() {
        let text = "zfs does not run as root, which alone mounts on Linux: a restore needs `command_prefix`, backups do not";
        zfs.host.log(Level::Info, text);
    }
    Ok(())
}
