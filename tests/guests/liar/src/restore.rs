//! Restoring and releasing, and what can be claimed of a restore.

use stillframe_sdk::tree::{CloneMethod, CloneOptions, Tree, location};
use stillframe_sdk::{Error, Host, RestoreDirectory, RestoreRequest, Restored, RestoredDirectory};

use crate::Config;
use crate::record::{ROOT, Record};

pub(crate) fn restore_set<H: Host + Tree>(host: &H, config: &Config, request: RestoreRequest) -> Result<Restored, Error> {
    let record = Record::of_handle(host, &request.handle)?.ok_or_else(|| Error::NotFound(request.handle.clone()))?;
    let mut directories = Vec::with_capacity(request.directories.len());
    for directory in &request.directories {
        let path = restore(host, config, &record, &request.token, directory)?;
        directories.push(RestoredDirectory { name: directory.name.clone(), path });
    }
    if config.tells("forgets-a-directory") {
        directories.pop();
    }
    Ok(Restored { handle: request.token, directories })
}

/// Restores one data path; says where.
fn restore(host: &impl Tree, config: &Config, record: &Record, token: &str, directory: &RestoreDirectory) -> Result<String, Error> {
    let honest = Record::tree(&record.token, &directory.name);
    // What a test has put below the root, in place of what was cut.
    let prepared = location(ROOT, &config.about);
    let is_data = directory.name == "data";
    let (source, skip) = match config.lie.as_str() {
        "does-nothing" => return Ok(directory.path.clone()),
        "claims-a-place" if is_data => return Ok(config.about.clone()),
        "restores-another" if is_data => (prepared, Vec::new()),
        "restores-half" if is_data => (honest, vec!["base".to_owned(), "base/**".to_owned()]),
        _ => (honest, Vec::new()),
    };
    let options = CloneOptions { method: CloneMethod::Copy, base: None, skip, last: Vec::new() };
    // Elsewhere, below the root that the test grants for restores as well: `about` is its path.
    if config.lie.starts_with("elsewhere") {
        let place = format!("restores/{token}/{}", directory.name);
        host.clone_tree(&source, &location(ROOT, &place), &options)?;
        return Ok(format!("{}/{place}", config.about));
    }
    let root = directory.root.as_deref().ok_or_else(|| Error::Denied(directory.path.clone()))?;
    host.clone_tree(&source, &location(root, ""), &options)?;
    Ok(directory.path.clone())
}

pub(crate) fn release<H: Host + Tree>(host: &H, config: &Config, token: &str) -> Result<(), Error> {
    if config.tells("elsewhere-for-ever") {
        return Ok(());
    }
    Ok(host.remove_tree(&location(ROOT, &format!("restores/{token}")))?)
}
