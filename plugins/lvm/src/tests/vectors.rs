//! Reports of the real lvm2 2.03.16, read.

use std::cell::RefCell;
use std::rc::Rc;

use stillframe_sdk::testing::FakeHost;
use stillframe_sdk::{MemberState, Provider};

use super::fake::ended;
use super::{Lvm, config};
use crate::report::{self, LogicalVolume};
use crate::set::Inventory;

const FRESH: &str = include_str!("vectors/lvs-fresh.json");
const RESTORING: &str = include_str!("vectors/lvs-restoring.json");
const OVERFLOW: &str = include_str!("vectors/lvs-overflow.json");
const POOL_FULL: &str = include_str!("vectors/lvs-pool-full.json");
const MONITOR: &str = include_str!("vectors/lvs-monitor.json");
const GROUPS: &str = include_str!("vectors/vgs.json");

fn printing(report: &'static str) -> FakeHost {
    let host = FakeHost::new();
    host.on_command(move |_| Ok(ended(0, report, "  WARNING: This metadata update is NOT backed up.")));
    host
}

fn take(report: &'static str) -> Inventory {
    Inventory::take(&printing(report), &config(r#"{"volume_groups":["vg-a","vg1"]}"#)).unwrap()
}

fn volume<'a>(inventory: &'a Inventory, id: &str) -> &'a LogicalVolume {
    inventory.volume(id).unwrap_or_else(|| panic!("{id} is not in the report"))
}

#[test]
fn volumes_are_told_apart() {
    let fresh = take(FRESH);
    let (pg, thin, pool) = (volume(&fresh, "vg-a/pg"), volume(&fresh, "vg-a/thin-pg"), volume(&fresh, "vg-a/pool"));
    assert!(!pg.is_thin() && !pg.is_pool() && !pg.is_classic_snapshot() && pg.is_active && pg.is_open);
    assert!(thin.is_thin() && !thin.is_pool() && pool.is_pool() && !pool.is_thin());
    assert_eq!((pg.minor, pg.size_bytes, pg.origin.as_deref()), (Some(0), 200 << 20, None));
    assert_eq!(fresh.pool(thin), Some(pool));
    assert!(pool.data_hundredths.is_some() && pool.metadata_hundredths.is_some() && fresh.sets.is_empty());
}

#[test]
fn a_set_is_read_from_its_tags() {
    let inventory = take(RESTORING);
    let [set] = &inventory.sets[..] else { panic!("{:?}", inventory.sets) };
    assert!(set.is_whole());
    assert_eq!(set.plan.handle.to_string(), "sf-20261121T083214Z-9k3m2p7x:0123456789abcdef0123456789abcdef");
    assert_eq!(set.plan.volumes, ["vg-a/thin-pg", "vg-a/pg"]);
    assert_eq!(set.plan.owner(), Some("main/ü"));
    assert_eq!(set.plan.labels[1], ("a=b&c".to_owned(), "x, y!".to_owned()));
    let [thin, classic] = &set.snapshots[..] else { panic!("{:?}", set.snapshots) };
    assert_eq!(classic.part.paths, [("tablespace-16384".to_owned(), "/ts 1".to_owned())]);
    assert_eq!((thin.part.fs_type.as_str(), classic.part.fs_type.as_str()), ("xfs", "ext4"));
    assert!(thin.volume.is_thin() && !thin.volume.is_active && thin.volume.minor.is_none() && !thin.volume.is_open);
    assert!(classic.volume.is_classic_snapshot() && classic.volume.is_active);
    assert_eq!((classic.volume.size_bytes, classic.volume.origin_bytes), (40 << 20, Some(200 << 20)));
    assert_eq!(classic.part.origin_uuid, classic.volume.origin_uuid.clone().unwrap());
    assert_eq!(inventory.state(&thin.volume), MemberState::Ready);
    assert_eq!(inventory.state(&classic.volume), MemberState::Ready);
}

#[test]
fn an_overflow_is_a_failure_of_the_classic_snapshot_alone() {
    let inventory = take(OVERFLOW);
    let [thin, classic] = &inventory.sets[0].snapshots[..] else { panic!() };
    assert!(classic.volume.is_invalid);
    assert_eq!(classic.volume.data_hundredths, Some(10_000));
    assert!(matches!(inventory.state(&classic.volume), MemberState::Failed(reason) if reason.contains("used up")));
    assert_eq!(inventory.state(&thin.volume), MemberState::Ready);
}

#[test]
fn a_full_pool_is_seen_and_takes_nothing_from_a_snapshot() {
    let host = printing(POOL_FULL);
    let volumes = report::volumes(&host, &config(r#"{"volume_groups":["vg1"]}"#)).unwrap();
    let inventory = Inventory::without_sets(volumes);
    assert_eq!(volume(&inventory, "vg1/p").health, "out_of_data");
    assert_eq!(volume(&inventory, "vg1/p").data_hundredths, Some(10_000));
    assert_eq!(inventory.state(volume(&inventory, "vg1/stillframe_backup.p.0")), MemberState::Ready);
}

#[test]
fn groups_and_monitors_are_read() {
    let both = config(r#"{"volume_groups":["vg-a","vg1"]}"#);
    let groups = report::groups(&printing(GROUPS), &both).unwrap();
    let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["vg-a", "vg1"]);
    assert!(groups.iter().all(|group| group.free_bytes > 0 && group.extent_bytes == 4 << 20));
    assert_eq!(report::unmonitored(&printing(MONITOR), &both), Ok(Vec::new()));
}

#[test]
fn a_report_that_cannot_be_read_is_never_taken_for_an_empty_one() {
    let settings = config(r#"{"volume_groups":["vg1"]}"#);
    for report in ["", "{}", r#"{"report":[{}]}"#, r#"{"report":[{"lv":[{"vg_name":"vg1"}]}]}"#, r#"{"report":"#] {
        assert!(Lvm::list_sets(&printing(report), &settings, "main", None).is_err(), "{report}");
    }
    let cut = FakeHost::new();
    let answers = Rc::new(RefCell::new(0));
    let counted = Rc::clone(&answers);
    cut.on_command(move |_| {
        *counted.borrow_mut() += 1;
        let mut output = ended(0, r#"{"report":[{"lv":[]}]}"#, "");
        output.truncated = true;
        Ok(output)
    });
    assert!(Lvm::list_sets(&cut, &settings, "main", None).is_err());
    assert_eq!(*answers.borrow(), 1);
}

/// `lvm.conf` with `report/compact_output = 1`: a field that is empty in every row is not printed.
const COMPACT: &str = r#"{"report": [{"lv": [{"vg_name":"vg1", "lv_name":"w", "lv_uuid":"hDD35D-5pYm-scsw-zq89-LqDs-boAA-PpHR94",
    "lv_layout":"linear", "lv_role":"public", "lv_size":"41943040", "lv_kernel_minor":"6", "lv_active":"active",
    "lv_device_open":"0", "lv_snapshot_invalid":"-1"}]}]}"#;

#[test]
fn fields_that_are_left_out_are_empty() {
    let compact = take(COMPACT);
    let volume = volume(&compact, "vg1/w");
    assert!(volume.tags.is_empty() && volume.origin.is_none() && volume.data_hundredths.is_none() && volume.minor == Some(6));
}
