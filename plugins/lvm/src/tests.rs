//! Tests of the provider on an LVM in memory; what they share is here.

mod arguments;
mod check;
mod crash;
mod create;
mod delete;
mod describe;
mod fake;
mod find;
mod program;
mod resolve;
mod restore;
mod vectors;

use std::cell::RefCell;
use std::rc::Rc;

use stillframe_sdk::testing::FakeHost;
use stillframe_sdk::{
    BlockDevice, CreateRequest, DataPath, DataRole, Deletion, Error, MemberState, Provider, RestoreDirectory, RestoreRequest,
    Restored, SetReference, SnapshotSet, parse_config,
};

use crate::layout::{CLONE_PREFIX, SNAPSHOT_PREFIX};
use crate::{Config, Lvm};
use fake::FakeLvm;

/// A host whose programs work on an LVM in memory.
struct Machine {
    host: FakeHost,
    lvm: Rc<RefCell<FakeLvm>>,
}

/// A cluster on the thin volume `vg-a/thin-pg` (XFS), with a tablespace on the classic one `vg-a/ts` (ext4) and WAL on `vg1/wal`.
fn machine() -> Machine {
    let lvm = Rc::new(RefCell::new(FakeLvm::new()));
    {
        let mut lvm = lvm.borrow_mut();
        lvm.add_group("vg-a", 100 << 30);
        lvm.add_group("vg1", 10 << 30);
        lvm.add_pool("vg-a", "pool");
        lvm.add_thin("vg-a", "thin-pg", "pool", 20 << 30, "rows");
        lvm.add_linear("vg-a", "ts", 9 << 30, "more rows");
        lvm.add_linear("vg1", "wal", 2 << 30, "wal");
    }
    machine_with(lvm)
}

fn machine_with(lvm: Rc<RefCell<FakeLvm>>) -> Machine {
    let host = FakeHost::new();
    let programs = Rc::clone(&lvm);
    host.on_command(move |invocation| programs.borrow_mut().answer(invocation));
    Machine { host, lvm }
}

fn config(json: &str) -> Config {
    parse_config(json).unwrap()
}

fn defaults() -> Config {
    config(r#"{"volume_groups":["vg-a","vg1"]}"#)
}

/// A data path on the volume of the kernel's device with this number.
fn path(name: &str, role: DataRole, minor: u32, source: &str, fs_type: &str) -> DataPath {
    let data = role == DataRole::Data;
    let device = |name: String, kind: &str| BlockDevice { name, kind: kind.to_owned(), serial: None, model: None };
    DataPath {
        role,
        name: name.to_owned(),
        path: format!("/srv/{name}/15/ä"),
        mount_point: format!("/srv/{name}"),
        fs_type: fs_type.to_owned(),
        mount_source: source.to_owned(),
        devices: vec![device(format!("dm-{minor}"), "lvm"), device("vda".to_owned(), "disk")],
        root: None,
        skip: Vec::new(),
        last: if data { vec!["global/pg_control".to_owned()] } else { Vec::new() },
    }
}

fn paths() -> Vec<DataPath> {
    vec![
        path("data", DataRole::Data, 1, "/dev/mapper/vg--a-thin--pg", "xfs"),
        path("wal", DataRole::Wal, 3, "/dev/vg1/wal", "ext4"),
        path("tablespace-16384", DataRole::Tablespace, 2, "/dev/mapper/vg--a-ts", "ext4"),
    ]
}

impl Machine {
    fn request(&self, name: &str) -> CreateRequest {
        self.request_of(name, paths())
    }

    fn request_of(&self, name: &str, paths: Vec<DataPath>) -> CreateRequest {
        CreateRequest {
            token: format!("token-{name}"),
            name: name.to_owned(),
            volumes: Lvm::resolve(&self.host, &defaults(), paths).unwrap(),
            labels: vec![("stillframe-owner".to_owned(), "main & ä".to_owned()), ("backup".to_owned(), name.to_owned())],
            previous: None,
        }
    }

    fn create(&self, name: &str) -> Result<SnapshotSet, Error> {
        Lvm::create_set(&self.host, &defaults(), self.request(name))
    }

    fn by_token(&self, name: &str) -> Option<SnapshotSet> {
        Lvm::get_set(&self.host, &defaults(), SetReference::Token(format!("token-{name}"))).unwrap()
    }

    fn by_handle(&self, set: &SnapshotSet) -> Option<SnapshotSet> {
        Lvm::get_set(&self.host, &defaults(), SetReference::Handle(set.handle.clone())).unwrap()
    }

    fn listed(&self) -> Vec<SnapshotSet> {
        Lvm::list_sets(&self.host, &defaults(), "main & ä", None).unwrap().sets
    }

    fn delete(&self, handle: &str) -> Result<Deletion, Error> {
        Lvm::delete_set(&self.host, &defaults(), handle)
    }

    fn restore(&self, set: &SnapshotSet, token: &str) -> Result<Restored, Error> {
        Lvm::restore_set(&self.host, &defaults(), restore_request(&set.handle, token))
    }

    fn release(&self, handle: &str) -> Result<(), Error> {
        Lvm::release(&self.host, &defaults(), handle)
    }

    /// `vg/lv` of every snapshot and clone of ours.
    fn ours(&self) -> Vec<String> {
        let lvm = self.lvm.borrow();
        let ours = lvm.volumes.iter().filter(|lv| lv.name.starts_with(SNAPSHOT_PREFIX) || lv.name.starts_with(CLONE_PREFIX));
        ours.map(|lv| format!("{}/{}", lv.group, lv.name)).collect()
    }

    /// Nothing of the operator's was touched.
    fn origins_are_unharmed(&self) {
        let lvm = self.lvm.borrow();
        for (id, content) in [("vg-a/thin-pg", "rows"), ("vg-a/ts", "more rows"), ("vg1/wal", "wal")] {
            let volume = lvm.find(id).unwrap_or_else(|| panic!("{id} is gone"));
            assert_eq!((volume.content.as_str(), volume.tags.len()), (content, 0), "{id}");
        }
    }
}

/// All directories but `wal`, as the host asks for them.
fn restore_request(handle: &str, token: &str) -> RestoreRequest {
    let asked = paths().into_iter().filter(|path| path.role != DataRole::Wal);
    let directory = |path: DataPath| RestoreDirectory {
        path: format!("/restored/{}", path.name),
        name: path.name,
        role: path.role,
        root: None,
        last: path.last,
    };
    RestoreRequest { handle: handle.to_owned(), token: token.to_owned(), directories: asked.map(directory).collect() }
}

fn is_ready(set: &SnapshotSet) -> bool {
    set.members.iter().all(|member| member.state == MemberState::Ready)
}
