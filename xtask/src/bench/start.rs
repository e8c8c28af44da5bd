//! What it costs to be started once per segment.

use super::figure::{Comparison, Figure, Target, measure};
use super::stage::{Cluster, Codec, Stage, ends_with, quiet};
use crate::failure::Failure;

/// Longest start above that of the smallest program, in milliseconds.
const TARGET: Target = Target::Difference(5.0);

/// What our program ends with when there is no store.
const NO_STORE: i32 = 3;

/// Measures starts that do no work.
pub(super) fn measure_starts(stage: &Stage<'_>, runs: usize) -> Result<Vec<Figure>, Failure> {
    let cluster = Cluster { name: "none".to_owned(), data: stage.home.to_owned() };
    let home = stage.home.display();
    stage.write("none.toml", &format!("[cluster]\nname = \"none\"\npgdata = \"{home}\"\n\n[store]\nurl = \"file://{home}\"\n"))?;
    let nothing = || quiet(&mut stage.program("/bin/true"));
    let ready = || Ok(());
    Ok(vec![
        measure(
            Comparison::new("start of `--version`", "/bin/true", TARGET),
            runs,
            ready,
            || quiet(&mut stage.stillframe(&cluster, Codec::Zstd, &["--version"])),
            nothing,
        )?,
        // Nobody has created the store: all that stands before the work.
        measure(
            Comparison::new("start of `wal-push` up to the store", "/bin/true", TARGET),
            runs,
            ready,
            || ends_with(NO_STORE, &mut stage.stillframe(&cluster, Codec::Zstd, &["wal-push", "no-segment"])),
            nothing,
        )?,
    ])
}
