//! What a program said, for people: few words, and nothing that a terminal would obey.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// How much of a log's end is looked at.
const TAIL_BYTES: u64 = 16 << 10;

/// How many lines are told, and how long they may be together.
const MAX_LINES: usize = 4;
const MAX_LETTERS: usize = 800;

/// Levels of PostgreSQL's log that tell why a server ended, and what belongs to them.
const TELLING: [&str; 5] = ["FATAL:", "PANIC:", "ERROR:", "HINT:", "DETAIL:"];

/// The first lines that a program said.
pub(super) fn first_words(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    joined(text.lines().filter(|line| !line.trim().is_empty()).take(MAX_LINES))
}

/// The last lines of a server's log that tell why it ended; none when it says nothing.
pub(super) fn last_words(log: &Path) -> Option<String> {
    let text = tail(log)?;
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let telling: Vec<&str> = lines.iter().copied().filter(|line| TELLING.iter().any(|level| line.contains(level))).collect();
    let told = if telling.is_empty() { lines } else { telling };
    let words = joined(told.iter().skip(told.len().saturating_sub(MAX_LINES)).copied());
    (!words.is_empty()).then_some(words)
}

fn tail(log: &Path) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn joined<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let text = lines.map(str::trim).collect::<Vec<_>>().join("; ");
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(MAX_LETTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_tells_why_and_not_what_went_well() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let log = "x LOG:  starting\nx FATAL:  recovery ended before configured recovery target was reached\nx LOG:  shut down\n";
        std::fs::write(file.path(), log).unwrap();
        assert_eq!(last_words(file.path()).unwrap(), "x FATAL:  recovery ended before configured recovery target was reached");
        std::fs::write(file.path(), "").unwrap();
        assert_eq!(last_words(file.path()), None);
    }

    #[test]
    fn nothing_is_told_that_a_terminal_would_obey() {
        assert_eq!(first_words(b"a\x1b[2Jb\n\nc\n"), "a [2Jb; c");
        assert!(first_words(&[b'x'; 5000]).len() <= MAX_LETTERS);
    }
}
