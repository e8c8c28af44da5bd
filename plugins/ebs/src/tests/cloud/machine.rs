//! The machine: `lsblk`, and the four programs that mount.

use serde_json::{Value, json};
use stillframe_sdk::command::{CommandError, ExitStatus, Invocation, Output};

use super::{INSTANCE, World};

/// The kernel's device of a volume, on an instance with `NVMe`: named after the end of its id.
pub(super) fn device(volume: &str) -> String {
    format!("/dev/{}", name(volume))
}

fn name(volume: &str) -> String {
    let number = u64::from_str_radix(&volume[volume.len() - 5..], 16).unwrap();
    format!("nvme{number}n1")
}

pub(super) fn run(world: &mut World, invocation: &Invocation) -> Result<Output, CommandError> {
    world.programs.push(format!("{} {}", invocation.program, invocation.args.join(" ")));
    if invocation.program == "mount" && world.nothing_can_be_mounted {
        world.mounts.unreadable.insert(invocation.args[2].clone());
    }
    if let Some(answer) = world.mounts.answer(invocation) {
        return answer;
    }
    assert_eq!(
        (invocation.program.as_str(), invocation.args.join(" ").as_str()),
        ("lsblk", "--json --output=NAME,TYPE,SERIAL,MOUNTPOINT")
    );
    let disks: Vec<Value> = world
        .volumes
        .iter()
        .filter_map(|(id, vol)| {
            let (_, device) = vol.attached.as_ref().filter(|(to, _)| to == INSTANCE)?;
            let (name, serial) = if world.is_xen {
                (device.replace("/dev/sd", "xvd").replace("/dev/", ""), None)
            } else {
                (name(id), Some(id.replace('-', "")))
            };
            let mounted = |device: &str| {
                let source = format!("/dev/{device}");
                world.mounts.mounts.iter().find(|mounted| mounted.source == source).map(|mounted| mounted.point.clone())
            };
            let separator = if world.is_xen { "" } else { "p" };
            let parts = (1..=vol.partitions).map(|number| format!("{name}{separator}{number}"));
            let parts: Vec<Value> =
                parts.map(|part| json!({"name": part, "type": "part", "serial": null, "mountpoint": mounted(&part)})).collect();
            let mut disk = json!({"name": name, "type": "disk", "serial": serial, "mountpoint": mounted(&name)});
            if !parts.is_empty() {
                disk["children"] = Value::Array(parts);
            }
            Some(disk)
        })
        .collect();
    let cd = json!({"name": "sr0", "type": "rom", "serial": "QM00001", "mountpoint": null});
    let all = [disks, vec![cd]].concat();
    let report = json!({ "blockdevices": all });
    Ok(Output { status: ExitStatus::Code(0), stdout: report.to_string(), stderr: String::new(), truncated: false })
}
