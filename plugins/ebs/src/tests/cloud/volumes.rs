//! What EC2 does with volumes and instances.

use stillframe_sdk::aws::Response;

use super::wire::{self, Params, error, success};
use super::{INSTANCE, Vol, World, machine};

impl World {
    pub(super) fn describe_instances(&self, params: &Params) -> Response {
        if params["InstanceId.1"] != INSTANCE {
            return error(400, "InvalidInstanceID.NotFound");
        }
        let mapping = self.volumes.iter().filter_map(|(id, vol)| {
            let (_, device) = vol.attached.as_ref().filter(|(to, _)| to == INSTANCE)?;
            let ebs = wire::element("ebs", &wire::element("volumeId", id));
            Some(wire::element("item", &[wire::element("deviceName", device), ebs].concat()))
        });
        let instance = [
            wire::element("instanceId", INSTANCE),
            wire::element("placement", &wire::element("availabilityZone", "eu-central-1a")),
            wire::element("rootDeviceName", "/dev/xvda"),
            wire::element("blockDeviceMapping", &mapping.collect::<String>()),
        ];
        let instances = wire::element("instancesSet", &wire::element("item", &instance.concat()));
        success("DescribeInstances", &wire::element("reservationSet", &wire::element("item", &instances)))
    }

    pub(super) fn describe_volumes(&mut self, params: &Params) -> Response {
        let (filters, ids) = (wire::filters(params), wire::list(params, "VolumeId"));
        if ids.iter().any(|id| !self.volumes.contains_key(id)) {
            return error(400, "InvalidVolume.NotFound");
        }
        let mut items = String::new();
        for (id, vol) in &mut self.volumes {
            if vol.hidden > 0 {
                vol.hidden -= 1;
                continue;
            }
            let instance = vol.attached.as_ref().map(|(to, _)| to.clone()).unwrap_or_default();
            let fits = filters.iter().all(|(name, values)| match name.strip_prefix("tag:") {
                Some(key) => vol.tags.get(key).is_some_and(|value| values.contains(value)),
                None if name == "volume-id" => values.contains(id),
                None if name == "attachment.instance-id" => values.contains(&instance),
                None => panic!("the filter `{name}` is not known here"),
            });
            if fits && (ids.is_empty() || ids.contains(id)) {
                vol.busy = vol.busy.saturating_sub(1);
                items.push_str(&wire::element("item", &wire::volume(id, vol)));
            }
        }
        self.volumes.retain(|_, vol| !vol.fails || vol.busy > 0);
        success("DescribeVolumes", &wire::element("volumeSet", &items))
    }

    pub(super) fn create_volume(&mut self, params: &Params) -> Response {
        let token = params["ClientToken"].clone();
        assert!(token.len() <= 64);
        if let Some(id) = self.client_tokens.get(&token) {
            // As it was when it was made, whatever has become of it.
            let vol = Vol { snapshot: params["SnapshotId"].clone(), busy: 9, ..Vol::default() };
            return success("CreateVolume", &wire::volume(id, &vol));
        }
        match self.snapshots.get(&params["SnapshotId"]) {
            None => return error(400, "InvalidSnapshot.NotFound"),
            Some(snap) if snap.busy > 0 => return error(400, "IncorrectState"),
            Some(_) => {}
        }
        let id = self.id("vol");
        let vol = Vol {
            snapshot: params["SnapshotId"].clone(),
            tags: wire::tags(params),
            busy: 2,
            hidden: self.lag,
            partitions: self.new_volumes_have_partitions,
            fails: params.get("KmsKeyId").is_some_and(|key| key == "disabled"),
            ..Vol::default()
        };
        let body = wire::volume(&id, &vol);
        self.client_tokens.insert(token, id.clone());
        self.volumes.insert(id, vol);
        success("CreateVolume", &body)
    }

    pub(super) fn attach(&mut self, params: &Params) -> Response {
        let (id, device) = (&params["VolumeId"], &params["Device"]);
        if self.volumes.values().any(|vol| vol.attached.as_ref().is_some_and(|(_, name)| name == device)) {
            return wire::error_with(400, "InvalidParameterValue", &format!("Attachment point {device} is already in use"));
        }
        let lag = self.lag;
        match self.volumes.get_mut(id) {
            None => error(400, "InvalidVolume.NotFound"),
            Some(vol) if vol.attached.is_some() => error(400, "VolumeInUse"),
            Some(vol) if vol.busy > 0 => error(400, "IncorrectState"),
            Some(vol) => {
                vol.attached = Some((params["InstanceId"].clone(), device.clone()));
                vol.busy = 1 + lag;
                success("AttachVolume", &wire::element("status", "attaching"))
            }
        }
    }

    pub(super) fn detach(&mut self, params: &Params) -> Response {
        let id = &params["VolumeId"];
        let is_mounted = self.mounts.mounts.iter().any(|mounted| mounted.source.starts_with(&machine::device(id)));
        match self.volumes.get_mut(id) {
            None => error(400, "InvalidVolume.NotFound"),
            Some(vol) if vol.attached.is_none() => error(400, "IncorrectState"),
            Some(_) if is_mounted => panic!("{id} is torn from a mounted file system"),
            Some(vol) => {
                vol.attached = None;
                success("DetachVolume", &wire::element("status", "detaching"))
            }
        }
    }

    pub(super) fn delete_volume(&mut self, id: &str) -> Response {
        match self.volumes.get(id) {
            None => error(400, "InvalidVolume.NotFound"),
            Some(vol) if vol.attached.is_some() => error(400, "VolumeInUse"),
            Some(vol) => {
                assert!(!vol.snapshot.is_empty(), "{id} is the operator's own");
                self.volumes.remove(id);
                success("DeleteVolume", &wire::element("return", "true"))
            }
        }
    }
}
