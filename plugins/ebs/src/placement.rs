//! Which path lies where: the part of a set's record that a restore needs.

use stillframe_sdk::{CreateRequest, DataPath, Error, Located, Volume, invalid};

use crate::tags::{IN_FIELD, decode, encode};

/// Where the paths of a set lie.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Placement {
    /// The volumes of the interface, each with the EBS volumes that it consists of.
    pub(crate) volumes: Vec<Vec<String>>,
    pub(crate) paths: Vec<PlacedPath>,
}

/// Where one path lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlacedPath {
    pub(crate) name: String,
    /// Which of the volumes.
    pub(crate) volume: usize,
    pub(crate) fs_type: String,
    pub(crate) layer: Layer,
    /// The directory from the root of its file system.
    pub(crate) within: String,
}

/// What lies between the volume and the file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Layer {
    /// Nothing.
    Disk,
    /// A partition.
    Partition(u32),
    /// Something that cannot be undone here: `lvm`, `raid0`, `crypt`.
    Other(String),
}

impl Placement {
    pub(crate) fn of(request: &CreateRequest) -> Result<Self, Error> {
        if request.volumes.is_empty() {
            return Err(invalid("volumes", "there is nothing to cut"));
        }
        let volumes: Vec<Vec<String>> = request.volumes.iter().map(disks).collect::<Result<_, _>>()?;
        let all: Vec<&String> = volumes.iter().flatten().collect();
        if let Some(twice) = all.iter().enumerate().find(|(index, disk)| all[..*index].contains(disk)) {
            return Err(invalid("volumes", format!("`{}` is named twice", twice.1)));
        }
        let mut paths = Vec::new();
        for (volume, resolved) in request.volumes.iter().enumerate() {
            for path in &resolved.paths {
                let within = Located::of(path)?.within;
                paths.push(PlacedPath {
                    name: path.name.clone(),
                    volume,
                    fs_type: path.fs_type.clone(),
                    layer: layer(path),
                    within,
                });
            }
        }
        Ok(Self { volumes, paths })
    }

    /// All EBS volumes, in cutting order.
    pub(crate) fn disks(&self) -> Vec<&str> {
        self.volumes.iter().flatten().map(String::as_str).collect()
    }

    /// The volumes as text: `vol-a vol-b+vol-c`.
    pub(crate) fn volumes_text(&self) -> String {
        self.volumes.iter().map(|disks| disks.join("+")).collect::<Vec<_>>().join(" ")
    }

    /// The paths as text: `data:0:xfs:disk:/15/main wal:1:ext4:part1:/`.
    pub(crate) fn paths_text(&self) -> String {
        let field = |text: &str| encode(text, IN_FIELD);
        let path = |path: &PlacedPath| {
            let layer = match &path.layer {
                Layer::Disk => "disk".to_owned(),
                Layer::Partition(number) => format!("part{number}"),
                Layer::Other(kind) => field(kind),
            };
            format!("{}:{}:{}:{layer}:{}", field(&path.name), path.volume, field(&path.fs_type), field(&path.within))
        };
        self.paths.iter().map(path).collect::<Vec<_>>().join(" ")
    }

    /// Reads both texts; none when somebody has changed them.
    pub(crate) fn parse(volumes: &str, paths: &str) -> Option<Self> {
        let volumes: Vec<Vec<String>> = volumes.split(' ').map(|volume| volume.split('+').map(str::to_owned).collect()).collect();
        // The host would refuse a set with two snapshots of one volume, and with it every listing.
        let disks: Vec<&String> = volumes.iter().flatten().collect();
        let known = disks.iter().enumerate().all(|(place, disk)| is_volume(disk) && !disks[..place].contains(disk));
        let paths: Vec<PlacedPath> = paths.split(' ').map(placed).collect::<Option<_>>()?;
        (known && paths.iter().all(|path| path.volume < volumes.len())).then_some(Self { volumes, paths })
    }
}

fn placed(text: &str) -> Option<PlacedPath> {
    let mut fields = text.split(':');
    let mut next = || fields.next();
    let (name, volume, fs_type, layer, within) = (next()?, next()?, next()?, next()?, next()?);
    let within = decode(within)?;
    // It will be joined to a mount point: tags are what anybody with the right to tag has written.
    let is_path = within == "/" || within.strip_prefix('/')?.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !is_path || within.contains('\0') || next().is_some() {
        return None;
    }
    let layer = match (layer, layer.strip_prefix("part").map(str::parse)) {
        ("disk", _) => Layer::Disk,
        (_, Some(Ok(number))) => Layer::Partition(number),
        _ => Layer::Other(decode(layer)?),
    };
    Some(PlacedPath { name: decode(name)?, volume: volume.parse().ok()?, fs_type: decode(fs_type)?, layer, within })
}

/// Whether this can be the id of an EBS volume.
fn is_volume(id: &str) -> bool {
    id.starts_with("vol-") && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The EBS volumes of a volume of the interface: `vol-a` or `vol-a+vol-b`.
fn disks(volume: &Volume) -> Result<Vec<String>, Error> {
    let disks: Vec<String> = volume.id.split('+').map(str::to_owned).collect();
    if disks.iter().all(|id| is_volume(id)) && !volume.paths.is_empty() {
        return Ok(disks);
    }
    Err(invalid("volumes", format!("`{}` is not a volume that this provider has resolved", volume.id)))
}

fn layer(path: &DataPath) -> Layer {
    let disk = path.devices.iter().rfind(|device| is_disk(&device.kind));
    let above = path.devices.iter().find(|device| !is_disk(&device.kind));
    match (above, disk) {
        (None, _) => Layer::Disk,
        (Some(above), Some(disk)) if above.kind == "part" => {
            let number = above.name.strip_prefix(&disk.name).map(|rest| rest.trim_start_matches('p').parse());
            number.and_then(Result::ok).map_or_else(|| Layer::Other("part".to_owned()), Layer::Partition)
        }
        (Some(above), _) => Layer::Other(above.kind.clone()),
    }
}

/// Whether a device of this kind is the lowest of its stack.
pub(crate) fn is_disk(kind: &str) -> bool {
    matches!(kind, "disk" | "loop")
}
