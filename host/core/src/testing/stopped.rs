//! A server that was shut down: files that exist in name only, and that change when somebody starts it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::data_directory::{StoppedError, StoppedFiles, StoppedServer};
use crate::files::FileError;
use crate::postgres::{Lsn, PgControl, PgVersion, ServerFacts, SystemIdentifier, Tablespace, WalFileName, WalSegmentSize};

use super::WalWriter;

/// A server of PostgreSQL 15 that was shut down; clones are the same server.
#[derive(Debug, Clone)]
pub struct FakeStoppedServer(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    files: StoppedFiles,
    segment: Option<(WalFileName, Vec<u8>)>,
    looks: usize,
    shutdowns: usize,
    starts_at_look: Option<usize>,
}

impl FakeStoppedServer {
    /// One that was shut down in this segment of the first timeline, and has the directories of a server that ran.
    ///
    /// # Panics
    ///
    /// If the number has more than eight hexadecimal digits.
    #[must_use]
    pub fn new(facts: &ServerFacts, number: u32) -> Self {
        let (content, checkpoint) = shutdown_segment(number, facts.system_identifier, facts.segment_size);
        let name = format!("0000000100000000{number:08X}").parse().expect("the name is legal");
        let state = State {
            files: StoppedFiles {
                control: control(facts.system_identifier, facts.segment_size, 1, checkpoint),
                version: PgVersion(150_000),
                running: None,
                obstacle: None,
                data_directory: facts.data_directory.clone(),
                tablespaces: facts.tablespaces.iter().map(|it| Tablespace { name: it.oid.to_string(), ..it.clone() }).collect(),
            },
            segment: Some((name, content)),
            looks: 0,
            shutdowns: 1,
            starts_at_look: None,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// What its files say.
    #[must_use]
    pub fn files(&self) -> StoppedFiles {
        self.state().files.clone()
    }

    /// Changes what its files say.
    pub fn change(&self, change: impl FnOnce(&mut StoppedFiles)) {
        change(&mut self.state().files);
    }

    /// Puts it into another state, as `pg_control` counts them.
    pub fn set_state(&self, number: u32) {
        let mut state = self.state();
        let shown = Shown::of(&state.files.control);
        state.files.control = control(shown.cluster, shown.size, number, shown.checkpoint);
    }

    /// Loses or replaces the segment with the checkpoint.
    pub fn set_segment(&self, content: Option<Vec<u8>>) {
        let mut state = self.state();
        state.segment = state.segment.take().and_then(|(name, _)| Some((name, content?)));
    }

    /// The segment with the checkpoint.
    #[must_use]
    pub fn segment_content(&self) -> Vec<u8> {
        self.state().segment.as_ref().map(|(_, content)| content.clone()).unwrap_or_default()
    }

    /// Somebody starts it and stops it again, cleanly and at once.
    pub fn start_and_stop(&self) {
        let mut state = self.state();
        let shown = Shown::of(&state.files.control);
        state.shutdowns += 1;
        let number = u32::try_from(shown.checkpoint.0 / shown.size.bytes()).unwrap_or(u32::MAX);
        let (content, checkpoint) = segment_of(number, shown.cluster, shown.size, state.shutdowns);
        state.segment = state.segment.take().map(|(name, _)| (name, content));
        state.files.control = control(shown.cluster, shown.size, 1, checkpoint);
    }

    /// The same just before its files are looked at for this time, counted from 0.
    pub fn start_at_look(&self, look: usize) {
        self.state().starts_at_look = Some(look);
    }

    /// How often its files were looked at.
    #[must_use]
    pub fn looks(&self) -> usize {
        self.state().looks
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StoppedServer for FakeStoppedServer {
    fn look(&self) -> Result<StoppedFiles, StoppedError> {
        let look = self.state().looks;
        if self.state().starts_at_look == Some(look) {
            self.start_and_stop();
        }
        self.state().looks += 1;
        Ok(self.files())
    }

    fn segment(&self, name: WalFileName) -> Result<Option<Vec<u8>>, StoppedError> {
        let state = self.state();
        match &state.segment {
            Some((found, content)) if *found == name => Ok(Some(content.clone())),
            Some(_) => Err(FileError::new("read", name.to_string(), std::io::ErrorKind::NotFound.into()).into()),
            None => Ok(None),
        }
    }
}

/// A segment whose last record is a shutdown checkpoint, and where that begins.
#[must_use]
pub fn shutdown_segment(number: u32, cluster: SystemIdentifier, size: WalSegmentSize) -> (Vec<u8>, Lsn) {
    segment_of(number, cluster, size, 1)
}

/// The same after so many shutdowns.
fn segment_of(number: u32, cluster: SystemIdentifier, size: WalSegmentSize, shutdowns: usize) -> (Vec<u8>, Lsn) {
    let mut writer = WalWriter::new(number.into(), cluster, size);
    let mut checkpoint = writer.filler(100);
    for _ in 0..shutdowns {
        checkpoint = writer.write(0, 0, &[0; 88]);
    }
    (writer.segments().swap_remove(0), checkpoint)
}

struct Shown {
    cluster: SystemIdentifier,
    size: WalSegmentSize,
    checkpoint: Lsn,
}

impl Shown {
    fn of(control: &PgControl) -> Self {
        let size = control.segment_size().unwrap_or_default();
        Self { cluster: control.system_identifier(), size, checkpoint: control.checkpoint() }
    }
}

/// The `pg_control` of a server of PostgreSQL 13 to 17 on the first timeline, in this state.
#[must_use]
pub fn control_file(cluster: SystemIdentifier, size: WalSegmentSize, state: u32, checkpoint: Lsn) -> Vec<u8> {
    let mut bytes = vec![0; 8192];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &cluster.0.to_ne_bytes());
    put(8, &1300_u32.to_ne_bytes());
    put(12, &202_209_061_u32.to_ne_bytes());
    put(16, &state.to_ne_bytes());
    put(32, &checkpoint.0.to_ne_bytes());
    put(40, &checkpoint.0.to_ne_bytes());
    put(48, &1_u32.to_ne_bytes());
    put(208, &1_234_567.0_f64.to_ne_bytes());
    put(228, &u32::from(size).to_ne_bytes());
    let checksum = crc32c::crc32c(&bytes[..292]);
    bytes[292..296].copy_from_slice(&checksum.to_ne_bytes());
    bytes
}

fn control(cluster: SystemIdentifier, size: WalSegmentSize, state: u32, checkpoint: Lsn) -> PgControl {
    PgControl::parse(&control_file(cluster, size, state, checkpoint)).expect("what is written is read")
}
