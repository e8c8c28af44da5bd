//! `cargo xtask fuzz`: searches for bytes that break what the fuzz targets say, with libFuzzer through cargo-fuzz.
//!
//! No sanitizer and so no nightly toolchain: the product has no unsafe code for one to watch. The targets are in `tests/fuzz`, and
//! what they say is tested on their seeds by `cargo xtask test` as well, without any of this.

mod search;
mod table;
mod tool;

use crate::failure::Failure;
use crate::prerequisites::for_fuzzing;
use crate::workspace::{Workspace, progress};

use search::{Find, Search};

/// The package of the targets.
const PACKAGE: &str = "stillframe-fuzz";

/// Searches for so many seconds with each target, or with each of these; fails when anything was found.
pub(crate) fn fuzz(chosen: &[String], seconds: u64) -> Result<(), Failure> {
    let workspace = Workspace::find()?;
    let known = workspace.programs_of(PACKAGE)?;
    let targets = chosen_of(&known, chosen)?;
    for_fuzzing()?;
    let tool = tool::CargoFuzz::ensure(&workspace)?;
    let programs = progress("compiling the fuzz targets; minutes at the first time", || tool.build(&workspace))?;
    let mut rows = Vec::new();
    let mut finds: Vec<Find> = Vec::new();
    for target in targets {
        let search = Search { target, program: programs.join(target), workspace: &workspace, seconds };
        let outcome = progress(&format!("searching with {target}"), || search.run())?;
        rows.push(table::row(target, &outcome));
        finds.extend(outcome.find);
    }
    println!("\n{}", table::render(&rows));
    if finds.is_empty() {
        return Ok(());
    }
    let told: Vec<String> = finds.iter().map(Find::told).collect();
    Err(Failure::new(format!("{} of the targets found something\n{}", finds.len(), told.join("\n"))))
}

/// The targets that were named, or all.
fn chosen_of<'a>(known: &'a [String], chosen: &[String]) -> Result<Vec<&'a str>, Failure> {
    if let Some(unknown) = chosen.iter().find(|name| !known.contains(name)) {
        return Err(Failure::new(format!("there is no fuzz target `{unknown}`; there are {}", known.join(", "))));
    }
    let is_chosen = |name: &&String| chosen.is_empty() || chosen.contains(name);
    Ok(known.iter().filter(is_chosen).map(String::as_str).collect())
}

#[cfg(test)]
mod tests {
    use super::chosen_of;

    #[test]
    fn a_misspelt_target_is_an_error_and_not_a_search_of_nothing() {
        let known = ["a".to_owned(), "b".to_owned()];
        assert_eq!(chosen_of(&known, &[]).unwrap(), ["a", "b"]);
        assert_eq!(chosen_of(&known, &["b".to_owned()]).unwrap(), ["b"]);
        assert!(chosen_of(&known, &["c".to_owned()]).unwrap_err().to_string().contains("there are a, b"));
    }
}
