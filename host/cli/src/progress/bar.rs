//! The bar: one line, no longer than the terminal is wide, so that it can be wiped away.

use std::io::{self, Write};

use stillframe_core::flows::Step;

use crate::output::bytes;

/// Cells of the bar itself.
const CELLS: u64 = 20;

/// Columns of a terminal that does not say.
const COLUMNS: usize = 80;

/// Back to the first column, and nothing behind it.
const WIPE: &[u8] = b"\r\x1b[K";

/// The line of a step; a provider's own words stand at its end.
pub(super) fn line(step: &Step, detail: Option<&str>) -> String {
    let mut parts = vec![step.phase.describe().to_owned()];
    let share = share(step);
    parts.extend(share.map(|percent| {
        let filled = CELLS * percent / 100;
        let cell = |number| if number < filled { '#' } else { '-' };
        format!("[{}] {percent:3} %", (0..CELLS).map(cell).collect::<String>())
    }));
    if let (Some(done), Some(total)) = (step.done, step.total) {
        parts.push(format!("{done} of {total}"));
    }
    parts.extend(step.size_bytes.map(|size| format!("of {}", bytes(size))));
    parts.extend(step.subject.clone());
    parts.extend(detail.map(str::to_owned));
    parts.push(duration(step.waited.as_secs()));
    parts.join("  ")
}

/// 0 to 100: the storage system's word, or what is counted.
fn share(step: &Step) -> Option<u64> {
    let counted = || Some(step.done?.checked_mul(100)?.checked_div(step.total?)?.min(100));
    step.percent.map(|percent| u64::from(percent.min(100))).or_else(counted)
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
    // A line that wraps could not be wiped away. What a provider says holds no control characters.
    let shown: String = line.chars().take(columns() - 1).collect();
    output.write_all(WIPE)?;
    output.write_all(shown.as_bytes())?;
    output.flush()
}

/// Wipes the line away.
pub(super) fn wipe(output: &mut impl Write) -> io::Result<()> {
    output.write_all(WIPE)?;
    output.flush()
}

fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stderr());
    size.map_or(COLUMNS, |size| usize::from(size.ws_col)).max(2)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use stillframe_core::flows::Phase;

    use super::*;

    #[test]
    fn a_line_tells_what_is_known_and_nothing_else() {
        let begun = Step::begun(Phase::Archive);
        assert_eq!(line(&begun, None), "waiting for the archive  0 s");
        let counted = Step { done: Some(1), total: Some(4), subject: Some("000000010000000000000003".to_owned()), ..begun };
        assert_eq!(
            line(&counted, None),
            "waiting for the archive  [#####---------------]  25 %  1 of 4  000000010000000000000003  0 s"
        );
        let said =
            Step { percent: Some(100), size_bytes: Some(3 << 30), waited: Duration::from_secs(3725), ..Step::begun(Phase::Ready) };
        assert_eq!(
            line(&said, Some("copying")),
            "waiting for the storage system  [####################] 100 %  of 3.0 GiB  copying  1 h 2 min"
        );
        let nothing_to_do = Step { done: Some(0), total: Some(0), ..Step::begun(Phase::DeleteWal) };
        assert_eq!(line(&nothing_to_do, None), "deleting WAL  0 of 0  0 s");
    }

    #[test]
    fn a_line_is_never_wider_than_the_terminal() {
        let mut output = Vec::new();
        draw(&mut output, &"ü".repeat(10_000)).unwrap();
        let shown = String::from_utf8(output[WIPE.len()..].to_vec()).unwrap();
        assert_eq!(shown.chars().count(), columns() - 1);
    }
}
