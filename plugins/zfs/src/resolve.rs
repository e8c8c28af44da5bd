//! Mapping data paths to datasets.

use stillframe_sdk::command::Command;
use stillframe_sdk::{DataPath, Error, Host, Level, Located, Volume};

use crate::fault::Fault;
use crate::name;
use crate::zfs::Zfs;

pub(crate) fn resolve<H: Host + Command>(zfs: &Zfs<'_, H>, paths: Vec<DataPath>) -> Result<Vec<Volume>, Error> {
    let mut volumes: Vec<Volume> = Vec::new();
    for path in paths {
        let dataset = match dataset(zfs, &path) {
            Ok(dataset) => dataset,
            Err(reason) => {
                zfs.host.log(Level::Warn, &format!("`{}` cannot be covered: {reason}", path.path));
                return Err(Error::UnmanagedPath(path.path));
            }
        };
        match volumes.iter_mut().find(|volume| volume.id == dataset) {
            Some(volume) => volume.paths.push(path),
            None => volumes.push(Volume { id: dataset, paths: vec![path], attributes: Vec::new() }),
        }
    }
    if volumes.is_empty() {
        return Ok(volumes);
    }
    let names: Vec<String> = volumes.iter().map(|volume| volume.id.clone()).collect();
    let file_systems = zfs.file_systems(&names).map_err(|failure| match failure.fault {
        // The kernel has it mounted, and `zfs` does not see it: a container, or the wrong `zfs`.
        Fault::NotFound => {
            let is_named = |volume: &&Volume| failure.text.contains(&format!("'{}'", volume.id));
            let path = &volumes.iter().find(is_named).unwrap_or(&volumes[0]).paths[0].path;
            Error::UnmanagedPath(format!("{path} ({})", failure.text))
        }
        _ => failure.into(),
    })?;
    for volume in &mut volumes {
        let Some(known) = file_systems.iter().find(|known| known.name == volume.id) else {
            return Err(Error::UnmanagedPath(volume.paths[0].path.clone()));
        };
        volume.attributes = vec![
            ("pool".to_owned(), name::pool(&known.name).to_owned()),
            ("dataset-guid".to_owned(), known.guid.clone()),
            ("recordsize".to_owned(), known.record_size.clone()),
        ];
        // Longer ones are no facts for a person, and more than the interface takes.
        if known.mountpoint.len() <= 256 {
            volume.attributes.push(("mountpoint".to_owned(), known.mountpoint.clone()));
        }
    }
    Ok(volumes)
}

/// The dataset that holds a path, or why none that may be snapshotted does.
fn dataset<H: Command>(zfs: &Zfs<'_, H>, path: &DataPath) -> Result<String, String> {
    if path.fs_type != "zfs" {
        return Err(format!("its file system is `{}` and not ZFS", path.fs_type));
    }
    let located = Located::of(path).map_err(|error| format!("{error:?}"))?;
    if located.source.contains('@') || located.within.split('/').any(|part| part == ".zfs") {
        return Err("it lies in a snapshot, which cannot be snapshotted".to_owned());
    }
    if !name::is_dataset(&located.source) {
        return Err(format!("`{}` is not a dataset's name of letters, digits, `_`, `.`, `:`, `-` and `/`", located.source));
    }
    if !zfs.config.covers(&located.source) {
        return Err(format!("its dataset `{}` is neither in `datasets` nor below one of them", located.source));
    }
    Ok(located.source)
}
