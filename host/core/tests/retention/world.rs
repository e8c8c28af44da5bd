//! A cluster's life, event by event: backups, failovers, recoveries to an earlier moment, upgrades, and clocks that jump.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use stillframe_core::catalog::{
    ArchivedFile, Backup, BackupLock, BackupState, CatalogContents, DrillOutcome, DrillRecord, Increment, Intent, Permanence,
    RestoreRecord, WalGContents,
};
use stillframe_core::postgres::{
    Lsn, SystemIdentifier, TimelineHistory, TimelineId, WalFileName, WalRange, WalSegment, WalSegmentSize,
};
use stillframe_core::provider::{LockMode, Token};
use stillframe_core::retention::{Ancestry, Holdings};
use stillframe_core::store::Key;
use stillframe_core::testing::published_backup;

pub(crate) const SIZE: WalSegmentSize = WalSegmentSize::SMALLEST;

pub(crate) fn timeline(number: u32) -> TimelineId {
    TimelineId::new(number).unwrap()
}

/// Hours since the world began.
pub(crate) fn at(hours: i64) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(hours)
}

#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// Time passes, and segments are written.
    Work { hours: i64, segments: u64 },
    /// A backup is taken, over so many segments and hours.
    Backup { hours: i64, segments: u64, traits: Traits },
    /// A restore point is made, and catalogued as an increment of the newest backup that leads to it.
    Mark,
    /// A standby is promoted where the primary is.
    Failover,
    /// The cluster is recovered to so many segments ago.
    Recover { back: u64 },
    /// The cluster is recovered to just where its newest backup stopped, if that lies on its timeline.
    RecoverToStop,
    /// The server of an earlier timeline goes on.
    GoBack { timeline: usize },
    /// `pg_upgrade`: another cluster, on its first timeline.
    Upgrade,
    /// From now on the clock is off by so many hours.
    Clock { off: i64 },
    /// A segment is lost.
    Lose { file: usize },
    /// A backup begins and is not finished; its deadlines end so many hours later.
    Begin { expires: i64 },
}

#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each may be true or not, whatever the others are")]
pub(crate) struct Traits {
    pub(crate) permanent: bool,
    /// Locked until so many hours after its begin.
    pub(crate) locked: Option<i64>,
    pub(crate) drill: Option<bool>,
    /// 0: cut, 1: failed, otherwise ready.
    pub(crate) state: u8,
    pub(crate) standalone: bool,
    pub(crate) condemned: bool,
    /// Another standby takes one from the same position.
    pub(crate) twin: bool,
    /// It is restored somewhere.
    pub(crate) restored: bool,
}

/// A position that the cluster was at, at a moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) cluster: SystemIdentifier,
    pub(crate) timeline: TimelineId,
    pub(crate) lsn: Lsn,
    pub(crate) time: Timestamp,
}

#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) backups: Vec<Backup>,
    pub(crate) intents: Vec<Intent>,
    pub(crate) restores: Vec<RestoreRecord>,
    pub(crate) files: BTreeSet<WalFileName>,
    pub(crate) histories: BTreeMap<TimelineId, TimelineHistory>,
    pub(crate) now: Timestamp,
    pub(crate) moments: Vec<Moment>,
    /// Two servers went on beside each other.
    pub(crate) is_split: bool,
}

/// Ancestors and their ends.
type Path = Vec<(TimelineId, u64)>;

struct Server {
    cluster: SystemIdentifier,
    timeline: TimelineId,
    path: Path,
    position: u64,
    hours: i64,
    off: i64,
}

impl World {
    pub(crate) fn live(events: &[Event]) -> Self {
        let mut server = Server {
            cluster: SystemIdentifier(1),
            timeline: TimelineId::FIRST,
            path: Vec::new(),
            position: 2 * SIZE.bytes(),
            hours: 0,
            off: 0,
        };
        let mut world = Self {
            backups: Vec::new(),
            intents: Vec::new(),
            restores: Vec::new(),
            files: BTreeSet::new(),
            histories: BTreeMap::from([(TimelineId::FIRST, TimelineHistory::root(TimelineId::FIRST))]),
            now: at(0),
            moments: Vec::new(),
            is_split: false,
        };
        let mut left: Vec<(TimelineId, Path, u64)> = Vec::new();
        let mut newest = 1;
        for event in events {
            match event {
                Event::Work { hours, segments } => world.write(&mut server, *hours, *segments),
                Event::Backup { hours, segments, traits } => world.back_up(&mut server, *hours, *segments, traits),
                Event::Mark => world.mark(&mut server),
                Event::Failover | Event::Recover { .. } | Event::RecoverToStop => {
                    let back = if let Event::Recover { back } = event { *back } else { 0 };
                    left.push((server.timeline, server.path.clone(), server.position));
                    let by_position = server.position.saturating_sub(back * SIZE.bytes()).max(2 * SIZE.bytes()) + 0x40;
                    let stop = world.stop_on(&server).filter(|_| matches!(event, Event::RecoverToStop));
                    let fork = stop.unwrap_or(by_position);
                    newest += 1;
                    server.fork_at(fork, timeline(newest));
                    world.announce(&server);
                }
                Event::GoBack { timeline } => {
                    let of_cluster: Vec<_> = left.clone();
                    if let Some((timeline, path, position)) = of_cluster.get(*timeline % of_cluster.len().max(1)).cloned() {
                        left.push((server.timeline, server.path.clone(), server.position));
                        (server.timeline, server.path, server.position) = (timeline, path, position);
                        world.is_split = true;
                    }
                }
                Event::Upgrade => {
                    left.clear();
                    server.cluster.0 += 1;
                    server.timeline = TimelineId::FIRST;
                    server.path.clear();
                    server.position += 2 * SIZE.bytes();
                }
                Event::Clock { off } => server.off = *off,
                Event::Lose { file } => {
                    let lost = world.files.iter().nth(*file % world.files.len().max(1)).copied();
                    if let Some(file @ WalFileName::Segment { .. }) = lost {
                        world.files.remove(&file);
                    }
                }
                Event::Begin { expires } => world.begin(&server, *expires),
            }
        }
        world.now = at(server.hours);
        world
    }

    fn write(&mut self, server: &mut Server, hours: i64, segments: u64) {
        for _ in 0..segments {
            self.switch(server);
        }
        server.hours += hours;
        self.moments.push(Moment {
            cluster: server.cluster,
            timeline: server.timeline,
            lsn: Lsn(server.position),
            time: at(server.hours),
        });
    }

    /// Where the newest backup stopped, if that is on the server's timeline.
    fn stop_on(&self, server: &Server) -> Option<u64> {
        let newest = self.backups.last().map(|backup| &backup.sentinel);
        let is_here = |place: (SystemIdentifier, TimelineId)| place == (server.cluster, server.timeline);
        newest.filter(|newest| is_here((newest.system_identifier, newest.timeline))).map(|newest| newest.stop_lsn.0)
    }

    /// Ends a segment.
    fn switch(&mut self, server: &mut Server) {
        let segment = WalSegment::containing(server.timeline, Lsn(server.position), SIZE);
        self.files.insert(segment.file_name(SIZE));
        server.position = (segment.number + 1) * SIZE.bytes();
    }

    fn back_up(&mut self, server: &mut Server, hours: i64, segments: u64, traits: &Traits) {
        let start = server.position + 0x80;
        let began = server.hours;
        for _ in 0..segments {
            self.switch(server);
        }
        let stop = server.position.max(start) + 0x100;
        self.switch(server);
        server.hours += hours;
        for _ in 0..=u8::from(traits.twin) {
            let number = u32::try_from(self.backups.len()).unwrap();
            let mut backup = published_backup(number);
            let sentinel = &mut backup.sentinel;
            (sentinel.start_lsn, sentinel.stop_lsn, sentinel.timeline) = (Lsn(start), Lsn(stop), server.timeline);
            sentinel.system_identifier = server.cluster;
            (sentinel.started_at, sentinel.finished_at) = (at(began + server.off), at(server.hours + server.off));
            backup.permanence = if traits.permanent { Permanence::Permanent } else { Permanence::Ordinary };
            backup.lock = traits.locked.map(|hours| BackupLock { mode: LockMode::Governance, until: at(began + hours) });
            backup.drill = traits.drill.map(drill);
            backup.state = match traits.state {
                0 => BackupState::Cut,
                1 => BackupState::Failed("lost".to_owned()),
                _ => BackupState::Ready,
            };
            (backup.is_standalone, backup.is_condemned) = (traits.standalone, traits.condemned);
            if traits.restored {
                self.restores.push(restore(&backup));
            }
            self.backups.push(backup);
        }
    }

    fn mark(&mut self, server: &mut Server) {
        let to = server.position + 0x100;
        let mut way = server.path.clone();
        way.push((server.timeline, u64::MAX));
        let leads_here = |backup: &&mut Backup| {
            let it = &backup.sentinel;
            let end = way.iter().find(|(timeline, _)| *timeline == it.timeline).map(|(_, end)| *end);
            it.system_identifier == server.cluster && it.stop_lsn.0 <= to && end.is_some_and(|end| it.stop_lsn.0 <= end)
        };
        let Some(parent) = self.backups.iter_mut().rev().find(leads_here) else { return };
        let end = WalSegment::ending_at(server.timeline, Lsn(to), SIZE);
        let on = |number: u64| way.iter().find(|(_, end)| number < end / SIZE.bytes()).map_or(server.timeline, |(on, _)| *on);
        let mut replay: Vec<WalRange> = Vec::new();
        for number in parent.sentinel.wal_range().first..=end.number {
            match replay.last_mut() {
                Some(range) if range.timeline == on(number) => range.last = number,
                _ => replay.push(WalRange { timeline: on(number), first: number, last: number }),
            }
        }
        parent.increments.push(Increment {
            name: format!("point {}", parent.increments.len()).parse().unwrap(),
            parent: parent.sentinel.name.clone(),
            timeline: server.timeline,
            from: parent.sentinel.stop_lsn,
            to: Lsn(to),
            segments: replay.iter().map(|range| range.last - range.first + 1).sum(),
            size_bytes: 1000,
            replay,
            segment_size: SIZE,
            system_identifier: server.cluster,
            created_at: at(server.hours + server.off),
        });
        self.switch(server);
    }

    fn announce(&mut self, server: &Server) {
        let lines: Vec<String> = server.path.iter().map(|(of, end)| format!("{}\t{}\tx", of.get(), Lsn(*end))).collect();
        let history = TimelineHistory::parse(server.timeline, &lines.join("\n")).unwrap();
        self.histories.insert(server.timeline, history);
        self.files.insert(WalFileName::History { timeline: server.timeline });
    }

    fn begin(&mut self, server: &Server, expires: i64) {
        let number = 90_000 + u32::try_from(self.intents.len()).unwrap();
        self.intents.push(Intent {
            name: published_backup(number).sentinel.name,
            requests: Vec::new(),
            system_identifier: server.cluster,
            timeline: server.timeline,
            wal_position: Lsn(server.position),
            segment_size: SIZE,
            begun_at: at(server.hours),
            expires_at: at(server.hours + expires),
            hostname: "db1".to_owned(),
            process: None,
            is_outside: false,
        });
    }

    pub(crate) fn ancestry(&self) -> Ancestry {
        Ancestry::new(self.histories.clone())
    }

    pub(crate) fn holdings(&self) -> Holdings {
        let mut files: Vec<ArchivedFile> = self.files.iter().map(|name| file(*name)).collect();
        files.sort_by_key(|file| file.name.order());
        let contents =
            CatalogContents { backups: self.backups.clone(), intents: self.intents.clone(), ..CatalogContents::default() };
        Holdings { contents, restores: self.restores.clone(), files, ancestry: self.ancestry(), walg: WalGContents::default() }
    }
}

impl Server {
    /// Its own timeline and its ancestors are left at this position.
    fn fork_at(&mut self, fork: u64, timeline: TimelineId) {
        let mut path = self.path.clone();
        path.push((self.timeline, u64::MAX));
        let last = path.iter().position(|(_, end)| *end >= fork).unwrap();
        path.truncate(last + 1);
        path[last].1 = fork;
        (self.path, self.timeline, self.position) = (path, timeline, fork);
    }
}

pub(crate) fn file(name: WalFileName) -> ArchivedFile {
    ArchivedFile { name, key: Key::parse(&format!("main/wal_005/{name}.zst")).unwrap(), size_bytes: 1000 }
}

fn restore(backup: &Backup) -> RestoreRecord {
    RestoreRecord {
        token: Token("0123456789abcdef0123456789abcdef".to_owned()),
        backup: backup.sentinel.name.clone(),
        hostname: "db3".to_owned(),
        destination: "/srv/restored".into(),
        begun_at: at(0),
        parts: Vec::new(),
    }
}

fn drill(is_proof: bool) -> DrillRecord {
    DrillRecord {
        outcome: if is_proof { DrillOutcome::Proven } else { DrillOutcome::Failed("wrong".to_owned()) },
        at: at(0),
        hostname: "db2".to_owned(),
        target: "the end".to_owned(),
        reached: None,
        restore_time: std::time::Duration::ZERO,
        recovery_time: std::time::Duration::ZERO,
        checks: Vec::new(),
    }
}

fn traits() -> impl Strategy<Value = Traits> {
    (
        prop::bool::weighted(0.1),
        prop::option::weighted(0.15, 0i64..900),
        prop::option::weighted(0.2, any::<bool>()),
        prop_oneof![8 => Just(2u8), 1 => Just(0), 1 => Just(1)],
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.04),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.06),
    )
        .prop_map(|(permanent, locked, drill, state, standalone, condemned, twin, restored)| Traits {
            permanent,
            locked,
            drill,
            state,
            standalone,
            condemned,
            twin,
            restored,
        })
}

/// Whatever happens to clusters.
pub(crate) fn events() -> impl Strategy<Value = Vec<Event>> {
    let backup = (0i64..5, 0u64..4, traits());
    let event = prop_oneof![
        6 => (0i64..60, 0u64..4).prop_map(|(hours, segments)| Event::Work { hours, segments }),
        8 => backup.prop_map(|(hours, segments, traits)| Event::Backup { hours, segments, traits }),
        2 => Just(Event::Mark),
        1 => Just(Event::Failover),
        1 => (0u64..12).prop_map(|back| Event::Recover { back }),
        1 => Just(Event::RecoverToStop),
        1 => (0usize..4).prop_map(|timeline| Event::GoBack { timeline }),
        1 => Just(Event::Upgrade),
        1 => (-2000i64..2000).prop_map(|off| Event::Clock { off }),
        1 => Just(Event::Clock { off: 0 }),
        1 => (0usize..100).prop_map(|file| Event::Lose { file }),
        1 => (0i64..200).prop_map(|expires| Event::Begin { expires }),
    ];
    prop::collection::vec(event, 0..60)
}

/// Whatever happens to a cluster that is well looked after: clocks are right, nothing is lost, and every backup is good.
pub(crate) fn quiet_events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => (0i64..60, 0u64..4).prop_map(|(hours, segments)| Event::Work { hours, segments }),
        8 => (0i64..5, 0u64..4)
            .prop_map(|(hours, segments)| Event::Backup { hours, segments, traits: Traits { state: 2, ..Traits::default() } }),
        2 => Just(Event::Mark),
        1 => Just(Event::Failover),
        1 => (0u64..12).prop_map(|back| Event::Recover { back }),
        1 => Just(Event::RecoverToStop),
        1 => Just(Event::Upgrade),
    ];
    prop::collection::vec(event, 0..60)
}
