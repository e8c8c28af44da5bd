//! Every command line that the provider runs, as a table that a person reads beside `policy.toml`.

use std::collections::BTreeSet;

use stillframe_sdk::Provider;

use super::fake::FakeVolume;
use super::{Lvm, defaults, machine};

/// To be renewed by hand when the provider changes, together with `policy.toml` and the lines for `sudo` in its documentation.
const TABLE: &str = include_str!("arguments.txt");

#[test]
fn no_command_line_is_run_that_is_not_in_the_table() {
    let machine = machine();
    Lvm::check(&machine.host, &defaults()).unwrap();
    let set = machine.create("b1").unwrap();
    machine.restore(&set, "r1").unwrap();
    {
        let mut lvm = machine.lvm.borrow_mut();
        lvm.mounts.mounts.clear();
        let restored = lvm.find("vg-a/stillframe_restore.r1.0").unwrap().clone();
        *lvm.find_mut("vg-a/stillframe_restore.r1.0") = FakeVolume { minor: None, ..restored };
    }
    machine.restore(&set, "r1").unwrap();
    machine.release("r1").unwrap();
    machine.delete(&set.handle).unwrap();
    let seen: BTreeSet<String> = machine.lvm.borrow().seen.clone();
    let table: BTreeSet<String> = TABLE.lines().map(str::to_owned).collect();
    let missing: Vec<&String> = seen.difference(&table).collect();
    let unused: Vec<&String> = table.difference(&seen).collect();
    assert!(missing.is_empty() && unused.is_empty(), "missing: {missing:#?}\nunused: {unused:#?}");
}
