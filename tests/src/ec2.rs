//! A simulator of EC2's API, as far as disks, their snapshots and instances go: real HTTP, real signatures, the real wire format.
//!
//! Behind a volume there can be a real disk, see [`Disks`]; without them everything is state in memory. What EC2 does over time
//! (a volume that is `creating`, a snapshot that is `pending`) goes on with every look at it, so that no test waits for a clock.
//! Where the documentation leaves a choice, the simulator takes the one that is harder on a client: a page may be empty and not
//! the last, results come in no order, and an unknown parameter is refused.

mod actions;
mod call;
mod cloud;
mod disks;
mod faults;
mod filters;
mod loops;
mod private_devices;
mod refusal;
mod server;
mod signature;
mod snapshots;
mod volumes;
mod xml;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

pub use cloud::Tags;
pub use disks::Disks;
pub use faults::Fault;
pub(crate) use private_devices::cover_dev;
pub use server::Seen;
pub use snapshots::{Completion, Snapshot};
pub use volumes::{Attachment, Volume};

use cloud::Cloud;
use faults::Faults;
use signature::Credentials;

use crate::listener::Listener;

/// The region of the simulator; requests that are signed for another are refused.
const REGION: &str = "eu-central-1";

/// The simulator; it runs while the value lives.
#[derive(Debug)]
pub struct Ec2 {
    shared: Arc<Shared>,
    // Behind the state, whose disks go when nobody can ask for them any more.
    listener: Listener,
}

/// What the server's thread and the test share.
#[derive(Debug)]
struct Shared {
    credentials: Credentials,
    cloud: Mutex<Cloud>,
    faults: Mutex<Faults>,
    seen: Mutex<Vec<Seen>>,
}

impl Ec2 {
    /// A region whose volumes hold nothing.
    pub fn in_memory() -> Self {
        Self::start(None)
    }

    /// A region whose volumes are real disks.
    pub fn with_disks(disks: Disks) -> Self {
        Self::start(Some(disks))
    }

    fn start(disks: Option<Disks>) -> Self {
        let shared = Arc::new(Shared {
            credentials: Credentials::generate(),
            cloud: Mutex::new(Cloud::new(REGION, disks)),
            faults: Mutex::default(),
            seen: Mutex::default(),
        });
        let for_the_server = Arc::clone(&shared);
        let listener = Listener::start("", move |stream| server::serve(stream, Arc::clone(&for_the_server)));
        Self { shared, listener }
    }

    /// Base URL.
    pub fn endpoint(&self) -> &str {
        self.listener.endpoint()
    }

    /// The only region.
    pub fn region(&self) -> &'static str {
        REGION
    }

    /// The only access key.
    pub fn access_key(&self) -> &str {
        &self.shared.credentials.access_key
    }

    /// Its secret.
    pub fn secret_key(&self) -> &str {
        &self.shared.credentials.secret_key
    }

    /// Variables with which a process finds the credentials, and asks no instance for others.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ACCESS_KEY_ID", self.access_key().to_owned()),
            ("AWS_SECRET_ACCESS_KEY", self.secret_key().to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }

    /// Adds an instance that runs, with a root volume at `/dev/xvda`; gives its id.
    pub fn add_instance(&self) -> String {
        self.cloud().add_instance()
    }

    /// Adds an empty volume that is attached to an instance at this device name; gives its id.
    pub fn add_attached_volume(&self, instance: &str, device: &str, size_gib: u64) -> String {
        self.cloud().add_attached_volume(instance, device, size_gib)
    }

    /// The volumes that there are, the root volumes of instances as well.
    pub fn volumes(&self) -> Vec<Volume> {
        self.cloud().volumes.values().cloned().collect()
    }

    /// The snapshots of this account.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        let cloud = self.cloud();
        let mut own: Vec<Snapshot> = cloud.snapshots.values().filter(|snapshot| snapshot.is_ours()).cloned().collect();
        own.sort_by(|left, right| left.started.cmp(&right.started).then_with(|| left.id.cmp(&right.id)));
        own
    }

    /// Every request so far, in its order.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// How often this action was asked for.
    pub fn count(&self, action: &str) -> usize {
        self.shared.seen.lock().unwrap().iter().filter(|seen| seen.action == action).count()
    }

    /// How often this action was carried out, be its answer lost or not; a dry run is not.
    pub fn done(&self, action: &str) -> usize {
        self.shared.seen.lock().unwrap().iter().filter(|seen| seen.action == action && seen.error.is_none()).count()
    }

    /// Lets the next calls of this action fail, dry runs apart; `*` is any action. Several orders are met in their order.
    pub fn fail(&self, action: &str, times: usize, fault: Fault) -> &Self {
        self.shared.faults.lock().unwrap().add(action, times, fault);
        self
    }

    /// Calls that shall fail and have not been made yet.
    pub fn pending_faults(&self) -> usize {
        self.shared.faults.lock().unwrap().pending()
    }

    /// Lets everything succeed again.
    pub fn forget_faults(&self) {
        *self.shared.faults.lock().unwrap() = Faults::default();
    }

    /// Takes the right to this action away.
    pub fn deny(&self, action: &str) -> &Self {
        self.cloud().denied.insert(action.to_owned());
        self
    }

    /// What becomes of snapshots from now on.
    pub fn complete_snapshots(&self, completion: Completion) -> &Self {
        self.cloud().completion = completion;
        self
    }

    /// What becomes of the next snapshots, one after the other.
    pub fn complete_next_snapshots(&self, completions: impl IntoIterator<Item = Completion>) -> &Self {
        self.cloud().next_completions.extend(completions);
        self
    }

    /// Completes what is pending, whatever was said about it.
    pub fn complete_all_snapshots(&self) -> &Self {
        self.cloud().complete_all();
        self
    }

    /// Hides each new snapshot from as many looks at it: EC2 is consistent in the end, not at once.
    pub fn hide_new_snapshots(&self, looks: u32) -> &Self {
        self.cloud().hidden_looks = looks;
        self
    }

    /// How many looks a volume stays in a state that passes (`creating`, `attaching`, `detaching`).
    pub fn slow_volumes(&self, looks: u32) -> &Self {
        self.cloud().passing_looks = looks;
        self
    }

    /// Lets new volumes say that they were made of this snapshot, whatever they were made of.
    pub fn forge_origin(&self, snapshot: &str) -> &Self {
        self.cloud().forged_origin = Some(snapshot.to_owned());
        self
    }

    /// Puts the clock forward by which locks expire; signatures are judged by the real one.
    pub fn advance(&self, duration: Duration) -> &Self {
        self.cloud().clock_ahead += duration;
        self
    }

    /// Loop devices of this machine that show one of its volumes.
    pub fn loops(&self) -> Vec<PathBuf> {
        self.cloud().disks.as_ref().map(Disks::loops).unwrap_or_default()
    }

    fn cloud(&self) -> MutexGuard<'_, Cloud> {
        self.shared.cloud.lock().unwrap()
    }
}
