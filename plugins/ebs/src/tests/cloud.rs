//! A small EC2 in memory, and the machine that is one of its instances.
//!
//! It keeps volumes, snapshots, tags, attachments and locks, answers in EC2's XML, and can be slow, forgetful, late and unwilling
//! where a test says so. Time passes by looks: what was made is visible, or complete, after so many of them.

mod machine;
mod snapshots;
mod volumes;
mod wire;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use stillframe_sdk::aws::{AwsError, Payload, Request, Response};
use stillframe_sdk::mount::FakeMounts;
use stillframe_sdk::testing::FakeHost;

use wire::{Params, error, success};

/// The instance that the tests run on.
pub(super) const INSTANCE: &str = "i-00000000000000001";

/// Its account.
pub(super) const ACCOUNT: &str = "111122223333";

/// A handle on the cloud.
#[derive(Clone, Default)]
pub(super) struct Cloud(Rc<RefCell<World>>);

/// Everything there is.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a quirk that one test switches on")]
pub(super) struct World {
    pub(super) volumes: BTreeMap<String, Vol>,
    pub(super) snapshots: BTreeMap<String, Snap>,
    /// Every request: the action and its parameters.
    pub(super) requests: Vec<(String, Params)>,
    /// Every program: its name and arguments.
    pub(super) programs: Vec<String>,
    pub(super) mounts: FakeMounts,
    /// What happens to requests for these actions, first come first served.
    pub(super) mishaps: Vec<(String, Mishap)>,
    /// Looks until something new is visible, and until a snapshot is complete.
    pub(super) lag: usize,
    pub(super) work: usize,
    /// Passes over the list of excluded volumes, as one imitation of EC2 does.
    pub(super) ignores_excludes: bool,
    /// What cannot be seen cannot be deleted either.
    pub(super) hides_from_deletion: bool,
    /// The code for what a lock forbids, where it is another one.
    pub(super) lock_code: Option<&'static str>,
    /// Whether disks tell their serial numbers.
    pub(super) is_xen: bool,
    /// Passes over `DryRun`.
    pub(super) ignores_dry_run: bool,
    /// No file system can be mounted.
    pub(super) nothing_can_be_mounted: bool,
    /// Partitions of volumes that are made.
    pub(super) new_volumes_have_partitions: u32,
    /// The account of the credentials.
    pub(super) account: Option<String>,
    client_tokens: BTreeMap<String, String>,
    made: usize,
}

/// What happens to one request.
#[derive(Clone)]
pub(super) enum Mishap {
    /// Refused with this status and code.
    Refused(u16, &'static str),
    /// Carried out, and the answer lost.
    Lost,
    /// Neither.
    Vanished,
}

/// A volume.
#[derive(Clone, Default)]
pub(super) struct Vol {
    pub(super) snapshot: String,
    pub(super) attached: Option<(String, String)>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) partitions: u32,
    /// Looks until it is what it will be.
    pub(super) busy: usize,
    pub(super) hidden: usize,
    pub(super) fails: bool,
}

/// A snapshot.
#[derive(Clone, Default)]
pub(super) struct Snap {
    pub(super) volume: String,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) error: bool,
    pub(super) archived: bool,
    pub(super) image: Option<String>,
    /// Mode and end.
    pub(super) lock: Option<(String, String)>,
    pub(super) busy: usize,
    pub(super) hidden: usize,
}

impl Cloud {
    /// A host on an instance with a root volume and three data volumes: `vol-…a`, `vol-…b` and, of no interest, `vol-…c`.
    pub(super) fn host(&self) -> FakeHost {
        for (letter, device) in [("0", "/dev/xvda"), ("a", "/dev/sdf"), ("b", "/dev/sdg"), ("c", "/dev/sdh")] {
            self.add_volume(letter, Some(device));
        }
        let host = FakeHost::new();
        host.set_remaining_ms(3_600_000);
        let (cloud, machine) = (self.clone(), self.clone());
        host.on_aws(move |request| cloud.answer(request));
        host.on_command(move |invocation| machine::run(&mut machine.0.borrow_mut(), invocation));
        host
    }

    pub(super) fn add_volume(&self, letter: &str, device: Option<&str>) {
        let attached = device.map(|device| (INSTANCE.to_owned(), device.to_owned()));
        self.world(|world| world.volumes.insert(volume(letter), Vol { attached, ..Vol::default() }));
    }

    pub(super) fn world<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        act(&mut self.0.borrow_mut())
    }

    pub(super) fn mishap(&self, action: &str, mishap: Mishap) {
        self.world(|world| world.mishaps.push((action.to_owned(), mishap)));
    }

    /// The volumes that were made by restores.
    pub(super) fn restored(&self) -> Vec<String> {
        self.world(|world| world.volumes.iter().filter(|(_, vol)| !vol.snapshot.is_empty()).map(|(id, _)| id.clone()).collect())
    }

    /// The volumes of the snapshots that exist.
    pub(super) fn cut(&self) -> Vec<String> {
        self.world(|world| world.snapshots.values().map(|snap| snap.volume.clone()).collect())
    }

    /// The actions that were requested.
    pub(super) fn actions(&self) -> Vec<String> {
        self.world(|world| world.requests.iter().map(|(action, _)| action.clone()).collect())
    }

    /// The parameters of the last request for an action.
    pub(super) fn last(&self, action: &str) -> Params {
        self.world(|world| world.requests.iter().rfind(|(asked, _)| asked == action).unwrap().1.clone())
    }

    fn answer(&self, request: &Request) -> Result<Response, AwsError> {
        let Payload::Query(payload) = &request.payload else { panic!("not the query protocol") };
        assert_eq!(request.region.as_deref(), Some("eu-central-1"));
        let params: Params = payload.params.iter().cloned().collect();
        assert_eq!(params.len(), payload.params.len(), "a parameter is named twice: {:?}", payload.params);
        let mut world = self.0.borrow_mut();
        world.requests.push((request.action.clone(), params.clone()));
        let mishap = world.mishaps.iter().position(|(action, _)| *action == request.action).map(|at| world.mishaps.remove(at).1);
        match mishap {
            Some(Mishap::Refused(status, code)) => Ok(error(status, code)),
            Some(Mishap::Vanished) => Err(AwsError::TimedOut),
            Some(Mishap::Lost) => {
                world.act(&request.action, &params);
                Err(AwsError::TimedOut)
            }
            None => Ok(world.act(&request.action, &params)),
        }
    }
}

/// The id of a volume.
pub(super) fn volume(letter: &str) -> String {
    format!("vol-0000000000000000{letter}")
}

impl World {
    fn act(&mut self, action: &str, params: &Params) -> Response {
        if params.get("DryRun").is_some_and(|value| value == "true") && !self.ignores_dry_run {
            return error(412, "DryRunOperation");
        }
        match action {
            "DescribeSnapshots" => self.describe_snapshots(params),
            "DescribeVolumes" => self.describe_volumes(params),
            "DescribeInstances" => self.describe_instances(params),
            "DescribeLockedSnapshots" => self.describe_locks(params),
            "CreateSnapshots" => self.create_snapshots(params),
            "CreateSnapshot" => {
                let id = self.cut(&params["VolumeId"], wire::tags(params));
                success("CreateSnapshot", &self.snapshot(&id, "status"))
            }
            "DeleteSnapshot" => self.delete_snapshot(&params["SnapshotId"]),
            "LockSnapshot" => self.lock(params),
            "UnlockSnapshot" => match self.snapshots.get_mut(&params["SnapshotId"]) {
                Some(snap) => {
                    snap.lock = None;
                    success("UnlockSnapshot", &wire::element("snapshotId", &params["SnapshotId"]))
                }
                None => error(400, "InvalidSnapshot.NotFound"),
            },
            "CreateVolume" => self.create_volume(params),
            "AttachVolume" => self.attach(params),
            "DetachVolume" => self.detach(params),
            "DeleteVolume" => self.delete_volume(&params["VolumeId"]),
            "GetCallerIdentity" => wire::identity(self.account.as_deref().unwrap_or(ACCOUNT)),
            other => panic!("`{other}` is not known here"),
        }
    }

    fn id(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("{kind}-{:017x}", 0xabc_0000 + self.made)
    }

    fn cut(&mut self, volume: &str, tags: BTreeMap<String, String>) -> String {
        assert!(self.volumes.contains_key(volume), "{volume}");
        let id = self.id("snap");
        let snap = Snap { volume: volume.to_owned(), tags, busy: self.work, hidden: self.lag, ..Snap::default() };
        self.snapshots.insert(id.clone(), snap);
        id
    }
}

/// The snapshot, as everybody can see it.
pub(super) fn visible(snap: &Snap) -> Snap {
    hidden(snap, 0)
}

/// The snapshot, as nobody can see it for so many looks.
pub(super) fn hidden(snap: &Snap, looks: usize) -> Snap {
    Snap { hidden: looks, ..snap.clone() }
}
