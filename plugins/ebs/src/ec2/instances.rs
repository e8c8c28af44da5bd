//! Instances: where the volumes are attached.

use stillframe_sdk::Host;
use stillframe_sdk::aws::Aws;

use super::{Ec2, Fault, query, xml};

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) zone: String,
    /// EC2's name for the root volume's device: `/dev/xvda`.
    pub(crate) root_device: String,
    /// EC2's names for devices, and the volumes behind them.
    pub(crate) devices: Vec<(String, String)>,
}

impl Instance {
    /// The volume that it starts from; none when that is no volume.
    pub(crate) fn root_volume(&self) -> Option<&str> {
        let root = self.devices.iter().find(|(device, _)| *device == self.root_device);
        root.map(|(_, volume)| volume.as_str())
    }
}

impl<H: Host + Aws> Ec2<'_, H> {
    /// One instance; one that does not exist is a fault of the configuration.
    pub(crate) fn instance(&self, id: &str) -> Result<Instance, Fault> {
        self.send(&query("DescribeInstances").list("InstanceId", [id]), |root| {
            let mut all = xml::items(root, "reservationSet").flat_map(|reservation| xml::items(reservation, "instancesSet"));
            all.find(|node| xml::text(*node, "instanceId").as_deref() == Some(id)).map(|node| instance(id, node))
        })
    }
}

fn instance(id: &str, node: xml::Node<'_, '_>) -> Instance {
    let device = |item| Some((xml::text(item, "deviceName")?, xml::text(xml::child(item, "ebs")?, "volumeId")?));
    Instance {
        id: id.to_owned(),
        zone: xml::child(node, "placement").and_then(|placement| xml::text(placement, "availabilityZone")).unwrap_or_default(),
        root_device: xml::text(node, "rootDeviceName").unwrap_or_default(),
        devices: xml::items(node, "blockDeviceMapping").filter_map(device).collect(),
    }
}
