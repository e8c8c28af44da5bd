//! The seeds of all fuzz targets, everything that a search has ever found, and small changes of each, on every machine.
//!
//! A search finds more, and needs libFuzzer and minutes; this needs neither.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

mod configuration;
mod corpus;
mod mutation;

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use stillframe_fuzz::{TARGETS, Target, Verdict};

use corpus::{Sample, directory, of};
use mutation::Mutations;

/// Bytes of a seed up to which it is changed as often as the target says: a large one costs more each time.
const SMALL_BYTES: usize = 8 << 10;

/// Runs a target; a panic is told with what can be run again.
fn run(target: &Target, what: &str, data: &[u8]) -> Verdict {
    attempt(target, what, data).unwrap_or_else(|fault| panic!("{fault}"))
}

fn attempt(target: &Target, what: &str, data: &[u8]) -> Result<Verdict, String> {
    catch_unwind(AssertUnwindSafe(|| (target.run)(data))).map_err(|_| {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-lie", target.name));
        fs::write(&place, data).unwrap();
        let name = target.name;
        format!(
            "`{name}` fails with {what}, which lies in `{}`: fix it, and keep the input below `regressions/{name}`",
            place.display()
        )
    })
}

#[test]
fn no_seed_makes_a_parser_panic_or_lie() {
    for target in &TARGETS {
        for Sample { path, data } in &of(target) {
            run(target, &path.display().to_string(), data);
        }
    }
}

#[test]
fn no_small_change_of_a_seed_does_either() {
    let faults: Vec<String> = TARGETS.iter().filter_map(first_fault).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

/// The first change of a seed that a target fails with.
fn first_fault(target: &Target) -> Option<String> {
    let samples = of(target);
    let all: Vec<&[u8]> = samples.iter().map(|sample| sample.data.as_slice()).collect();
    for (place, Sample { path, data }) in samples.iter().enumerate() {
        let mut mutations = Mutations::new(place, &all);
        for number in 0..target.changes / data.len().div_ceil(SMALL_BYTES).max(1) {
            let changed = mutations.of(data);
            if let Err(fault) = attempt(target, &format!("change {number} of {}", path.display()), &changed) {
                return Some(fault);
            }
        }
    }
    None
}

/// A seed that is refused because the format has changed would prove nothing any more.
#[test]
fn each_target_understands_a_seed_of_its_own_and_refuses_another() {
    for target in &TARGETS {
        let verdicts: Vec<Verdict> = of(target).iter().map(|sample| run(target, "a seed", &sample.data)).collect();
        assert!(verdicts.contains(&Verdict::Accepted), "`{}` accepts none of its {} seeds", target.name, verdicts.len());
        assert_eq!(run(target, "noise", b"\xFF\x00noise"), Verdict::Refused, "{}", target.name);
    }
}

/// The names of accepted seeds say so, that one which loses its meaning is noticed.
#[test]
fn a_seed_is_refused_only_where_its_name_says_so() {
    let mut wrong = Vec::new();
    for target in &TARGETS {
        for Sample { path, data } in of(target).iter().filter(|sample| sample.path.starts_with(directory("seeds"))) {
            let is_bad = path.file_name().unwrap().to_str().unwrap().starts_with("refused-");
            let expected = if is_bad { Verdict::Refused } else { Verdict::Accepted };
            if run(target, "a seed", data) != expected {
                wrong.push(format!("{} is not {expected:?}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_target_has_a_program_a_directory_of_seeds_and_nothing_is_without_a_target() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(targets.len(), TARGETS.len());
    let stems = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(directory(folder)).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(stems("fuzz_targets"), targets);
    assert_eq!(stems("seeds"), targets);
    assert!(stems("regressions").is_subset(&targets), "{:?}", stems("regressions"));
    assert!(stems("dictionaries").is_subset(&targets), "{:?}", stems("dictionaries"));
    let manifest: toml::Table = fs::read_to_string(directory("Cargo.toml")).unwrap().parse().unwrap();
    let programs = manifest["bin"].as_array().unwrap();
    let names: BTreeSet<String> = programs.iter().map(|program| program["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, targets);
    for name in &targets {
        let text = fs::read_to_string(directory("fuzz_targets").join(format!("{name}.rs"))).unwrap();
        assert!(text.contains(&format!("stillframe_fuzz::{name}::target(data)")), "the program `{name}` runs another target");
        assert!(programs.iter().all(|program| program["required-features"].as_array().is_some_and(|features| features.len() == 1)));
    }
}
