//! Checking the configuration, the programs and the groups, without a trace.

use stillframe_sdk::command::Command;
use stillframe_sdk::{Error, Host, mount};

use crate::Config;
use crate::config::Mode;
use crate::program::run;
use crate::report::{self, percent_text};
use crate::set::Inventory;

/// Most warnings, by the interface.
const MAX_WARNINGS: usize = 100;

/// Hundredths of a percent above which a warning is due.
const HIGH: u32 = 8_000;

/// Programs whose other uses all change something; asked for their version, they show that they may be run.
const WRITERS: [&str; 7] = ["lvcreate", "lvchange", "lvremove", "mount", "umount", "rmdir", "dd"];

pub(crate) fn check<H: Host + Command>(host: &H, config: &Config) -> Result<Vec<String>, Error> {
    for program in WRITERS {
        run(host, program, &["--version".to_owned()])?;
    }
    mount::all(host)?;
    let inventory = Inventory::take(host, config)?;
    let mut warnings = fill_warnings(&inventory);
    warnings.extend(inventory.damages().map(|reason| format!("{reason}: no backup can be listed until it is removed")));
    for id in report::unmonitored(host, config)? {
        warnings.push(format!(
            "`{id}` is not monitored: nothing extends it before it is full (`lvchange --monitor y {id}`, with dmeventd)"
        ));
    }
    let no_thin = |group: &str| !inventory.volumes.iter().any(|volume| volume.group == group && volume.is_pool());
    for group in report::groups(host, config)? {
        let needs_room = config.mode == Mode::Classic || no_thin(&group.name);
        if needs_room && config.mode != Mode::Thin && group.free_bytes < group.extent_bytes {
            warnings.push(format!("the volume group `{}` has no free room, which classic snapshots need", group.name));
        }
        if config.mode == Mode::Thin && no_thin(&group.name) {
            warnings.push(format!("the volume group `{}` has no thin pool, and `mode` is `thin`", group.name));
        }
    }
    warnings.truncate(MAX_WARNINGS);
    Ok(warnings)
}

fn fill_warnings(inventory: &Inventory) -> Vec<String> {
    let mut warnings = Vec::new();
    let high = |share: Option<u32>| share.filter(|share| *share > HIGH).map(percent_text);
    for pool in inventory.volumes.iter().filter(|volume| volume.is_pool()) {
        for (what, share) in [("data", pool.data_hundredths), ("metadata", pool.metadata_hundredths)] {
            if let Some(share) = high(share) {
                warnings.push(format!("{share} % of the {what} of the thin pool `{}` are used up", pool.id()));
            }
        }
        if !pool.health.is_empty() {
            warnings.push(format!("the thin pool `{}` is not well: {}", pool.id(), pool.health));
        }
    }
    for snapshot in inventory.sets.iter().flat_map(|set| &set.snapshots) {
        let volume = &snapshot.volume;
        if volume.is_invalid {
            warnings.push(format!("the classic snapshot `{}` was lost: its room was used up", volume.id()));
        } else if let Some(share) = high(volume.data_hundredths).filter(|_| volume.is_classic_snapshot()) {
            warnings.push(format!("{share} % of the room of the classic snapshot `{}` are used up", volume.id()));
        }
    }
    warnings
}
