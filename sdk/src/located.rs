//! Where a data path lies in its file system.
//!
//! A mount may show a directory of its file system and not the root: a bind mount, or a subvolume. A snapshot of the whole volume
//! then has the data at another place than the mount point suggests.

use crate::{DataPath, Error, invalid};

/// A data path, seen from its file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Source of the mount, without the directory in brackets: `/dev/mapper/vg0-pg`, `tank/pg`.
    pub source: String,
    /// The directory from the root of the file system, beginning with `/`; `/` for the root itself.
    pub within: String,
    /// The directory from its mount point, `15/main`; empty for the mount point itself.
    pub below_mount: String,
}

impl Located {
    /// Reads it from the host's facts; a path that does not lie below its mount point is the error `invalid`.
    pub fn of(path: &DataPath) -> Result<Self, Error> {
        let (source, shown) = match path.mount_source.strip_suffix(']').and_then(|text| text.split_once("[/")) {
            Some((source, shown)) => (source.to_owned(), shown),
            None => (path.mount_source.clone(), ""),
        };
        let point = path.mount_point.trim_end_matches('/');
        let below = path.path.strip_prefix(point).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let below_mount = below
            .ok_or_else(|| invalid("paths", format!("`{}` does not lie below its mount point `{}`", path.path, path.mount_point)))?
            .trim_matches('/')
            .to_owned();
        let parts: Vec<&str> = [shown.trim_matches('/'), &below_mount].into_iter().filter(|part| !part.is_empty()).collect();
        Ok(Self { source, within: format!("/{}", parts.join("/")), below_mount })
    }
}

#[cfg(test)]
mod tests {
    use super::Located;
    use crate::{DataPath, DataRole};

    fn located(path: &str, mount_point: &str, mount_source: &str) -> Located {
        let path = DataPath {
            role: DataRole::Data,
            name: "data".to_owned(),
            path: path.to_owned(),
            mount_point: mount_point.to_owned(),
            fs_type: "ext4".to_owned(),
            mount_source: mount_source.to_owned(),
            devices: Vec::new(),
            root: None,
            skip: Vec::new(),
            last: Vec::new(),
        };
        Located::of(&path).unwrap()
    }

    #[test]
    fn finds_the_directory_within_the_file_system_of_plain_bind_and_subvolume_mounts() {
        for (path, point, source, expected) in [
            ("/srv/pg/15/main", "/srv/pg", "/dev/vg0/pg", ("/dev/vg0/pg", "/15/main", "15/main")),
            ("/srv/pg", "/srv/pg", "tank/pg", ("tank/pg", "/", "")),
            ("/data", "/", "/dev/vda1", ("/dev/vda1", "/data", "data")),
            ("/srv/pg/main", "/srv/pg", "/dev/vda1[/sub/pg]", ("/dev/vda1", "/sub/pg/main", "main")),
            ("/srv/pg", "/srv/pg", "/dev/vda2[/@pg]", ("/dev/vda2", "/@pg", "")),
        ] {
            let found = located(path, point, source);
            assert_eq!((found.source.as_str(), found.within.as_str(), found.below_mount.as_str()), expected);
        }
    }
}
