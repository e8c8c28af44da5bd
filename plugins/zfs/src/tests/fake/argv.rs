//! The table of argument lists: what the provider gives to `zfs`, as the grant must allow it.

use std::collections::BTreeSet;

use serde::Deserialize;

thread_local! {
    /// The kinds of argument lists in the table.
    pub(in super::super) static SHAPES_OF_ALLOWED: BTreeSet<Vec<String>> = allowed().iter().map(|args| shape(args)).collect();
}

/// What `policy.cases.toml` says.
#[derive(Deserialize)]
struct Table {
    cases: Cases,
}

#[derive(Deserialize)]
struct Cases {
    allowed: Vec<Vec<String>>,
    refused: Vec<Vec<String>>,
}

fn cases() -> Cases {
    toml::from_str::<Table>(include_str!("../../../policy.cases.toml")).unwrap().cases
}

/// The argument lists that the policy must allow.
pub(in super::super) fn allowed() -> Vec<Vec<String>> {
    let without_program = |row: Vec<String>| row[1..].to_vec();
    cases().allowed.into_iter().map(without_program).collect()
}

/// The commands that it must refuse.
pub(in super::super) fn refused() -> Vec<Vec<String>> {
    cases().refused
}

/// The kind of an argument list: names, values and numbers are left out, and what repeats is there once.
pub(in super::super) fn shape(args: &[String]) -> Vec<String> {
    let (command, rest) = args.split_first().unwrap();
    let mut kinds = vec![command.clone()];
    for arg in rest {
        let kind = match arg.split_once('=') {
            Some((option, _)) if option.starts_with("-ostillframe:") => option.split('.').next().unwrap().to_owned(),
            Some((option, _)) if option == "-omountpoint" => option.to_owned(),
            None if arg.starts_with("stillframe:lock:") => "stillframe:lock:".to_owned(),
            None if arg.starts_with("tank") || arg.starts_with("fast") => name_kind(arg),
            _ => arg.clone(),
        };
        if kinds.last() != Some(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

fn name_kind(name: &str) -> String {
    let home = if name.contains("/stillframe") { "clone" } else { "dataset" };
    format!("{home}{}", if name.contains('@') { "@" } else { "" })
}
