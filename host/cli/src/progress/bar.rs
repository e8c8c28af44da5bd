//! The bar: one line, no longer than the terminal is wide, so that it can be wiped away.
//!
//! On a narrow terminal what matters least goes first: what goes on, how far, and since when stay longest.

use std::io::{self, Write};
use std::time::Duration;

use stillframe_core::flows::{Phase, Step};

use crate::output::bytes;

/// Cells of the bar itself.
const CELLS: u64 = 16;

/// Columns of a terminal that does not say.
const COLUMNS: usize = 80;

/// Back to the first column, and nothing behind it.
const WIPE: &[u8] = b"\r\x1b[K";

/// What a provider says of the call that goes on.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) message: String,
    pub(super) done: Option<u64>,
    pub(super) total: Option<u64>,
}

/// One piece of the line, and how soon it gives way to the others: the highest number first.
struct Part {
    gives_way: u8,
    text: String,
}

/// The line of a step that has lasted so long, in at most so many columns.
pub(super) fn line(step: &Step, told: Option<&Told>, waited: Duration, columns: usize) -> String {
    // What a provider counts, nobody else knows the unit of: it makes a share and no numbers.
    let share = step.percent.map(u64::from).or_else(|| counted(step.done, step.total));
    let share = share.or_else(|| told.and_then(|told| counted(told.done, told.total))).map(|percent| percent.min(100));
    let message = told.map(|told| told.message.clone());
    let parts = [
        (0, Some(step.phase.describe().to_owned())),
        (3, share.map(cells)),
        (1, share.map(|percent| format!("{percent:3} %"))),
        (4, count(step)),
        (7, step.size_bytes.map(bytes)),
        (6, step.subject.clone()),
        (5, message.filter(|message| !message.is_empty())),
        (2, Some(duration(waited.as_secs()))),
    ];
    let mut parts: Vec<Part> = parts.into_iter().filter_map(|(gives_way, text)| Some(Part { gives_way, text: text? })).collect();
    while parts.len() > 1 && width(&parts) > columns {
        let last = parts.iter().map(|part| part.gives_way).max();
        parts.retain(|part| Some(part.gives_way) != last);
    }
    let texts: Vec<&str> = parts.iter().map(|part| part.text.as_str()).collect();
    texts.join("  ").chars().take(columns).collect()
}

fn width(parts: &[Part]) -> usize {
    parts.iter().map(|part| part.text.chars().count() + 2).sum::<usize>() - 2
}

fn cells(percent: u64) -> String {
    let filled = CELLS * percent / 100;
    let cell = |number| if number < filled { '#' } else { '-' };
    format!("[{}]", (0..CELLS).map(cell).collect::<String>())
}

/// The share of what is counted. One thing is there or not: half a bar would never be seen.
fn counted(done: Option<u64>, total: Option<u64>) -> Option<u64> {
    let (done, total) = (done?, total.filter(|total| *total > 1)?);
    u64::try_from(u128::from(done) * 100 / u128::from(total)).ok()
}

fn count(step: &Step) -> Option<String> {
    let (done, total) = (step.done?, step.total.filter(|total| *total > 1)?);
    // What they are, the name of the step says.
    let verb = match step.phase {
        Phase::Archive => " archived",
        Phase::Ready => " ready",
        Phase::DeleteBackups | Phase::DeleteWal => " deleted",
        Phase::Compare => " asked",
        Phase::Reconcile => " settled",
        Phase::Follow | Phase::Cut | Phase::Restore | Phase::Recover | Phase::Undo => "",
    };
    Some(format!("{done} of {total}{verb}"))
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Draws a line over the one that is there.
pub(super) fn draw(output: &mut impl Write, line: &str) -> io::Result<()> {
    output.write_all(WIPE)?;
    output.write_all(line.as_bytes())?;
    output.flush()
}

/// Wipes the line away.
pub(super) fn wipe(output: &mut impl Write) -> io::Result<()> {
    output.write_all(WIPE)?;
    output.flush()
}

/// Columns that a line may fill: one that wraps could not be wiped away, and in the last column some terminals wrap already.
pub(super) fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stderr()).map_or(0, |size| usize::from(size.ws_col));
    (if size == 0 { COLUMNS } else { size }).max(2) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: usize = 200;

    fn ready() -> Step {
        Step { percent: Some(20), done: Some(0), total: Some(4), size_bytes: Some(3 << 30), ..Step::begun(Phase::Ready) }
    }

    fn told(message: &str, done: u64, total: u64) -> Told {
        Told { message: message.to_owned(), done: Some(done), total: Some(total) }
    }

    #[test]
    fn a_line_tells_what_is_known_and_nothing_else() {
        let begun = Step::begun(Phase::Archive);
        assert_eq!(line(&begun, None, Duration::ZERO, WIDE), "waiting for the archive  0 s");
        let counted = Step { done: Some(1), total: Some(4), subject: Some("000000010000000000000003".to_owned()), ..begun };
        assert_eq!(
            line(&counted, None, Duration::from_secs(61), WIDE),
            "waiting for the archive  [####------------]   25 %  1 of 4 archived  000000010000000000000003  1 min 1 s"
        );
        assert_eq!(
            line(&Step { percent: Some(100), ..ready() }, None, Duration::from_secs(3725), WIDE),
            "waiting for the snapshots  [################]  100 %  0 of 4 ready  3.0 GiB  1 h 2 min"
        );
        for total in [0, 1] {
            let nothing_to_count = Step { done: Some(0), total: Some(total), ..Step::begun(Phase::DeleteWal) };
            assert_eq!(line(&nothing_to_count, None, Duration::ZERO, WIDE), "deleting WAL  0 s");
        }
    }

    #[test]
    fn what_a_provider_counts_moves_the_bar_of_a_step_that_counts_nothing() {
        let restore = Step { subject: Some("lvm".to_owned()), done: Some(0), total: Some(1), ..Step::begun(Phase::Restore) };
        assert_eq!(
            line(&restore, Some(&told("copying `vg0/pg`", 1 << 62, 1 << 63)), Duration::ZERO, WIDE),
            "restoring  [########--------]   50 %  lvm  copying `vg0/pg`  0 s"
        );
        let shown = line(&ready(), Some(&told("asking", 9, 10)), Duration::ZERO, WIDE);
        assert!(shown.contains(" 20 %") && shown.contains("asking") && !shown.contains("90 %"), "{shown}");
    }

    #[test]
    fn on_a_narrow_terminal_what_matters_most_stays() {
        let told = told("asking for the state of `snap-0123456789abcdef0`", 0, 0);
        let shown = |columns| line(&ready(), Some(&told), Duration::from_secs(9), columns);
        assert_eq!(shown(79), "waiting for the snapshots  [###-------------]   20 %  0 of 4 ready  9 s");
        assert_eq!(shown(39), "waiting for the snapshots   20 %  9 s");
        assert_eq!(shown(36), "waiting for the snapshots   20 %");
        assert_eq!(shown(30), "waiting for the snapshots");
        for columns in 1..WIDE {
            let width = shown(columns).chars().count();
            assert!(width <= columns && width > 0, "{columns}");
        }
    }
}
