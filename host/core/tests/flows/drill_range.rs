//! A place for drills on fakes with real directories, and what must be left of one: nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stillframe_core::catalog::{Backup, DrillOutcome, DrillRecord, Layout, WalArchive};
use stillframe_core::data_directory::TargetTimeline;
use stillframe_core::flows::{
    CheckChoice, DrillChecks, DrillError, DrillReport, DrillRequest, DrillScript, DrillTarget, clear_drills, drill,
};
use stillframe_core::postgres::WalSegmentSize;
use stillframe_core::provider::Token;
use stillframe_core::store::Store;
use stillframe_core::testing::{FakePrograms, MemoryStore, WalWriter};

use crate::house::{segment, segment_key};
use crate::restore_elsewhere::Site;

/// The segment of the backup.
pub(crate) const SEGMENT: u32 = 10;

/// A cluster with a backup, the programs of a server, and a place for drills.
pub(crate) struct Range {
    pub(crate) site: Site,
    pub(crate) programs: FakePrograms,
}

impl Range {
    pub(crate) async fn new() -> Self {
        Self { site: Site::new().await, programs: FakePrograms::default() }
    }

    pub(crate) fn place(&self) -> PathBuf {
        self.site.path("drill")
    }

    pub(crate) fn request(&self) -> DrillRequest {
        DrillRequest {
            backup: None,
            target: DrillTarget::EndOfArchive,
            timeline: TargetTimeline::Latest,
            directory: self.place(),
            live: Vec::new(),
            snapshot_roots: Vec::new(),
            copying: BTreeSet::new(),
            restore_command: "fetch %f %p".to_owned(),
            unreachable_code: 205,
            token: Token("0123456789abcdef0123456789abcdef".to_owned()),
            hostname: "db2".to_owned(),
            checks: DrillChecks {
                user: "postgres".to_owned(),
                database: "app".to_owned(),
                preload: "needed".to_owned(),
                scripts: vec![DrillScript { name: "/etc/drill/1.sql".to_owned(), text: "SELECT true".to_owned() }],
                amcheck: CheckChoice::Wanted,
                checksums: CheckChoice::Wanted,
            },
            deadline: Duration::from_mins(1),
        }
    }

    pub(crate) async fn drill(&self) -> Result<DrillReport, DrillError> {
        self.drill_as(&self.request()).await
    }

    pub(crate) async fn drill_as(&self, request: &DrillRequest) -> Result<DrillReport, DrillError> {
        let ports = self.site.house.ports(&self.site.house.store);
        drill(&ports, &self.programs, request, std::future::pending()).await
    }

    pub(crate) async fn clear(&self) -> Result<Vec<PathBuf>, DrillError> {
        clear_drills(&self.site.house.ports(&self.site.house.store), &self.programs, &self.place(), "db2").await
    }

    pub(crate) async fn backup(&self) -> Backup {
        let name = &self.site.backup.sentinel.name;
        self.site.house.contents().await.find(name).unwrap().clone()
    }

    pub(crate) async fn recorded(&self) -> Option<DrillRecord> {
        self.backup().await.drill
    }

    /// No server, no clone, no record of a restore, no room.
    pub(crate) async fn assert_nothing_is_left(&self, situation: &str) {
        assert_eq!(self.programs.running(), 0, "{situation}");
        self.site.assert_nothing(situation).await;
        assert_eq!(rooms(&self.place()), Vec::<PathBuf>::new(), "{situation}");
        let original = self.site.path("original");
        assert!(original.join("data").is_dir() && original.join("space").is_dir(), "{situation}");
    }

    /// Puts WAL into the archive, from the backup's segment on.
    pub(crate) async fn archive(&self, wal: &WalWriter) {
        let (store, layout) = (MemoryStore::default(), Layout::new(self.site.house.layout.cluster().clone()));
        let archive = WalArchive::new(&store, &layout, &self.site.house.archiving);
        for (number, content) in (SEGMENT..).zip(wal.segments()) {
            archive.push(segment(number), content).await.unwrap();
            let body = store.get(&segment_key(number)).await.unwrap().unwrap();
            self.site.house.store.put(&segment_key(number), body).await.unwrap();
        }
    }

    pub(crate) fn wal(&self) -> WalWriter {
        WalWriter::new(SEGMENT.into(), self.site.house.server.facts().system_identifier, WalSegmentSize::SMALLEST)
    }
}

pub(crate) fn rooms(place: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(place).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).collect()
}

pub(crate) fn failure(report: &DrillReport) -> &str {
    match &report.record.outcome {
        DrillOutcome::Failed(reason) => reason,
        DrillOutcome::Proven => panic!("proven: {:?}", report.record),
    }
}
