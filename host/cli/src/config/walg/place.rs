//! Where WAL-G keeps its archive, as URL and cluster.
//!
//! WAL-G's is `<prefix>/wal_005/…` and ours `<url>/<cluster>/wal_005/…`: so the last part of the prefix is the name of the cluster,
//! and both tools see the same WAL.

use stillframe_core::catalog::ClusterName;
use stillframe_store::StoreUrl;

use super::super::Variables;
use super::table::{self, Treatment};

/// A place in both parts.
pub(super) struct Place {
    pub(super) url: String,
    pub(super) cluster: String,
    /// The settings that name it.
    pub(super) names: Vec<String>,
}

/// The setting of a folder below the prefix.
const FOLDER: &str = "WALG_STORAGE_PREFIX";

/// Whether a setting names a store, be it one that we know or not.
pub(super) fn is_place(name: &str) -> bool {
    table::find(name).is_some_and(|found| found.name.ends_with("_PREFIX") && found.name != FOLDER)
}

/// The one place that the settings name; nothing when they name none that we know.
pub(super) fn read(settings: &Variables) -> Result<Option<Place>, Vec<(String, String)>> {
    let known = |name: &str| match table::find(name).map(|found| &found.setting.treatment) {
        Some(Treatment::Place(scheme)) => Some(*scheme),
        _ => None,
    };
    // The old name of WAL-E counts where the new one is missing.
    let is_shadowed = |name: &str| name.strip_prefix("WALE_").is_some_and(|rest| settings.contains_key(&format!("WALG_{rest}")));
    let all = settings.iter().filter(|(name, _)| !is_shadowed(name));
    let all: Vec<_> = all.filter_map(|(name, prefix)| Some((name, prefix, known(name)?))).collect();
    let (name, prefix, scheme) = match all.as_slice() {
        [] => return Ok(None),
        [one] => *one,
        several => {
            let reason = "several stores are named, and only one can be meant".to_owned();
            return Err(several.iter().map(|(name, ..)| ((*name).clone(), reason.clone())).collect());
        }
    };
    let folder = settings.get(FOLDER).map_or("", String::as_str);
    let mut names = vec![name.clone()];
    names.extend((!folder.is_empty()).then(|| FOLDER.to_owned()));
    match split(scheme, prefix, folder) {
        Ok((url, cluster)) => Ok(Some(Place { url, cluster, names })),
        Err(reason) => Err(vec![(names.join(" and "), reason)]),
    }
}

/// URL and cluster. No reason repeats the prefix: somebody may have written a password into it.
fn split(scheme: &'static str, prefix: &str, folder: &str) -> Result<(String, String), String> {
    const WAY_OUT: &str = "set `url` under `[store]` and `name` under `[cluster]` for an archive of its own, or move WAL-G's first";
    let rest = match scheme {
        "file" => prefix.strip_prefix("file://localhost").or_else(|| prefix.strip_prefix("file://")).unwrap_or(prefix),
        "az" => {
            prefix.strip_prefix("azure://").or_else(|| prefix.strip_prefix("az://")).ok_or("it does not begin with `azure://`")?
        }
        "gs" => prefix.strip_prefix("gs://").ok_or("it does not begin with `gs://`")?,
        _ => prefix.strip_prefix("s3://").ok_or("it does not begin with `s3://`")?,
    };
    let (bucket, path) = match scheme {
        "file" => ("", rest.strip_prefix('/').ok_or("it is not an absolute path")?),
        _ => rest.split_once('/').unwrap_or((rest, "")),
    };
    let both = [path, folder].map(|part| part.trim_matches('/')).join("/");
    let path = both.trim_matches('/');
    if path.split('/').skip(1).any(|part| part.is_empty() || part == "." || part == "..") {
        return Err(format!("it has an empty part, `.` or `..`; {WAY_OUT}"));
    }
    let (above, last) = path.rsplit_once('/').unwrap_or(("", path));
    if last.is_empty() || (scheme == "file" && above.is_empty()) {
        return Err(format!("it has no last part that could name the cluster, as `<store>/<cluster>` needs; {WAY_OUT}"));
    }
    let cluster = ClusterName::try_from(last.to_owned())
        .map_err(|_| format!("its last part is no name of a cluster, which has letters, digits, `_` and `-`; {WAY_OUT}"))?;
    let url = if above.is_empty() { format!("{scheme}://{bucket}") } else { format!("{scheme}://{bucket}/{above}") };
    url.parse::<StoreUrl>().map_err(|_| format!("it has letters that our store does not take; {WAY_OUT}"))?;
    Ok((url, cluster.as_str().to_owned()))
}
