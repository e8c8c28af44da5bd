//! What EC2 does with snapshots and their locks.

use std::collections::BTreeSet;

use stillframe_sdk::aws::Response;

use super::wire::{self, Params, error, success};
use super::{ACCOUNT, Vol, World};

impl World {
    pub(super) fn create_snapshots(&mut self, params: &Params) -> Response {
        let instance = &params["InstanceSpecification.InstanceId"];
        let excluded: BTreeSet<String> = wire::list(params, "InstanceSpecification.ExcludeDataVolumeId").into_iter().collect();
        let is_attached = |vol: &Vol| vol.attached.as_ref().is_some_and(|(to, _)| to == instance);
        let attached: Vec<(String, bool)> = self
            .volumes
            .iter()
            .filter(|(_, vol)| is_attached(vol))
            .map(|(id, vol)| (id.clone(), vol.attached.as_ref().is_some_and(|(_, device)| device == "/dev/xvda")))
            .collect();
        if attached.iter().any(|(id, is_root)| *is_root && excluded.contains(id)) || excluded.len() > 40 {
            return error(400, "InvalidParameterValue");
        }
        let without_root = params.get("InstanceSpecification.ExcludeBootVolume").is_some_and(|value| value == "true");
        let mut items = String::new();
        for (id, is_root) in attached {
            if (is_root && without_root) || (excluded.contains(&id) && !self.ignores_excludes) {
                continue;
            }
            let id = self.cut(&id, wire::tags(params));
            items.push_str(&wire::element("item", &self.snapshot(&id, "state")));
        }
        success("CreateSnapshots", &wire::element("snapshotSet", &items))
    }

    pub(super) fn describe_snapshots(&mut self, params: &Params) -> Response {
        assert_eq!(params["Owner.1"], "self");
        let filters = wire::filters(params);
        let mut found = Vec::new();
        for (id, snap) in &mut self.snapshots {
            if snap.hidden > 0 {
                snap.hidden -= 1;
                continue;
            }
            let fits = filters.iter().all(|(name, values)| match name.strip_prefix("tag:") {
                Some(key) => snap.tags.get(key).is_some_and(|value| values.contains(value)),
                None if name == "snapshot-id" => values.contains(id),
                None if name == "tag-key" => values.iter().any(|key| snap.tags.contains_key(key)),
                None => panic!("the filter `{name}` is not known here"),
            });
            if fits {
                snap.busy = snap.busy.saturating_sub(1);
                found.push(id.clone());
            }
        }
        if self.account.is_some() {
            found.clear();
        }
        // Newest first, which is no order that anybody promises, and three on a page.
        found.reverse();
        let from: usize = params.get("NextToken").map_or(0, |token| token.parse().unwrap());
        let page = found.iter().skip(from).take(3).map(|id| wire::element("item", &self.snapshot(id, "status")));
        let mut body = wire::element("snapshotSet", &page.collect::<String>());
        if from + 3 < found.len() {
            body.push_str(&wire::element("nextToken", &(from + 3).to_string()));
        }
        success("DescribeSnapshots", &body)
    }

    pub(super) fn snapshot(&self, id: &str, state_name: &str) -> String {
        let snap = &self.snapshots[id];
        let (state, progress) = match (snap.error, snap.busy) {
            (true, _) => ("error", ""),
            (_, 0) => ("completed", "100%"),
            _ => ("pending", "40%"),
        };
        [
            wire::element("snapshotId", id),
            wire::element("volumeId", &snap.volume),
            wire::element(state_name, state),
            wire::element("statusMessage", if snap.error { "the key is gone" } else { "" }),
            wire::element("startTime", "2026-11-21T00:00:01.250Z"),
            wire::element("progress", progress),
            wire::element("ownerId", ACCOUNT),
            wire::element("volumeSize", "10"),
            wire::element("encrypted", "true"),
            wire::element("storageTier", if snap.archived { "archive" } else { "standard" }),
            wire::tag_set(&snap.tags),
        ]
        .concat()
    }

    pub(super) fn delete_snapshot(&mut self, id: &str) -> Response {
        if let Some(snap) = self.snapshots.get_mut(id).filter(|snap| snap.hidden > 0 && self.hides_from_deletion) {
            snap.hidden -= 1;
            return error(400, "InvalidSnapshot.NotFound");
        }
        match self.snapshots.get(id) {
            None => error(400, "InvalidSnapshot.NotFound"),
            Some(snap) if snap.image.is_some() => error(400, "InvalidSnapshot.InUse"),
            Some(snap) if snap.lock.is_some() => error(400, self.lock_code.unwrap_or("SnapshotLocked")),
            Some(_) => {
                self.snapshots.remove(id);
                success("DeleteSnapshot", &wire::element("return", "true"))
            }
        }
    }

    pub(super) fn lock(&mut self, params: &Params) -> Response {
        let Some(snap) = self.snapshots.get_mut(&params["SnapshotId"]) else { return error(400, "InvalidSnapshot.NotFound") };
        let (mode, until) = (params["LockMode"].clone(), params["ExpirationDate"].clone());
        if let Some((old, end)) = &snap.lock {
            let weaker = *old == "compliance" && (mode != "compliance" || until < *end || params.contains_key("CoolOffPeriod"));
            if weaker {
                return error(400, "InvalidParameterCombination");
            }
        }
        snap.lock = Some((mode, until.clone()));
        success("LockSnapshot", &wire::element("lockExpiresOn", &until))
    }

    pub(super) fn describe_locks(&mut self, params: &Params) -> Response {
        let mut items = String::new();
        for id in wire::list(params, "SnapshotId") {
            if let Some((mode, until)) = self.snapshots.get(&id).and_then(|snap| snap.lock.as_ref()) {
                let lock = [
                    wire::element("ownerId", ACCOUNT),
                    wire::element("snapshotId", &id),
                    wire::element("lockState", mode),
                    wire::element("lockExpiresOn", until),
                ];
                items.push_str(&wire::element("item", &lock.concat()));
            }
        }
        success("DescribeLockedSnapshots", &wire::element("snapshotSet", &items))
    }
}
