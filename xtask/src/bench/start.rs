//! What it costs to be started once per segment.

use super::figure::{Comparison, Figure, Target, measure};
use super::stage::{Cluster, Codec, Stage, quiet, unjudged};
use crate::failure::Failure;

/// Longest start above that of the smallest program, in milliseconds.
const TARGET: Target = Target::Difference(5.0);

/// Measures starts that do no work.
pub(super) fn measure_starts(stage: &Stage<'_>, runs: usize) -> Result<Vec<Figure>, Failure> {
    let data = stage.home.to_owned();
    let cluster = Cluster { name: "none".to_owned(), data };
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
        // Fails after the configuration is read: all that stands before the work.
        measure(
            Comparison::new("start of `wal-push` up to the store", "/bin/true", TARGET),
            runs,
            ready,
            || unjudged(&mut stage.stillframe(&cluster, Codec::Zstd, &["wal-push", "no-segment"])).map(|_| ()),
            nothing,
        )?,
    ])
}
