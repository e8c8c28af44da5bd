//! Telling whether two names mean one device.

/// Whether two names mean the same device: the same name, or the two that a logical volume has, `/dev/vg/lv` and
/// `/dev/mapper/vg-lv`.
///
/// Other symbolic links (`/dev/disk/by-id/...`) cannot be followed in here, and are told apart from what they point to.
#[must_use]
pub fn same_device(one: &str, other: &str) -> bool {
    one == other || mapped(one) == mapped(other)
}

/// The name below `/dev/mapper` of a logical volume, which is the one that `findmnt` shows: hyphens are doubled, and one stands
/// between group and volume.
pub(super) fn mapped(device: &str) -> String {
    let parts = device.strip_prefix("/dev/").and_then(|rest| rest.split_once('/'));
    match parts {
        Some((group, volume)) if group != "mapper" && !volume.contains('/') => {
            format!("/dev/mapper/{}-{}", group.replace('-', "--"), volume.replace('-', "--"))
        }
        _ => device.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::same_device;

    #[test]
    fn a_logical_volume_has_two_names() {
        for (one, other, same) in [
            ("/dev/vg0/pg", "/dev/mapper/vg0-pg", true),
            ("/dev/my-vg/my-lv", "/dev/mapper/my--vg-my--lv", true),
            ("/dev/my/vg-my-lv", "/dev/mapper/my--vg-my--lv", false),
            ("/dev/nvme1n1", "/dev/nvme1n1", true),
            ("/dev/nvme1n1", "/dev/nvme1n1p1", false),
            ("/dev/vg0/pg", "/dev/mapper/vg0-pg[/sub]", false),
            ("/dev/disk/by-id/x", "/dev/mapper/disk-by--id-x", false),
        ] {
            assert_eq!(same_device(one, other), same, "{one} {other}");
            assert_eq!(same_device(other, one), same, "{other} {one}");
        }
    }
}
