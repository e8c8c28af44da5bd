//! What the test runner says at its end.

/// Counts of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    /// Tests that have run.
    pub(crate) run: usize,
    /// Those that passed.
    pub(crate) passed: usize,
    /// Whether the runner ended with code 0.
    pub(crate) is_success: bool,
}

impl Tally {
    /// Takes in one line of the runner; lines that count nothing change nothing.
    pub(crate) fn read(&mut self, line: &str) {
        if let Some((run, passed)) = of_nextest(line).or_else(|| of_cargo(line)) {
            self.run += run;
            self.passed += passed;
        }
    }
}

/// `     Summary [   8.1s] 20 tests run: 19 passed (1 slow), 1 failed, 300 skipped`, or `5/20 tests run` when it was stopped.
fn of_nextest(line: &str) -> Option<(usize, usize)> {
    let (_, counts) = line.trim_start().strip_prefix("Summary [")?.split_once("] ")?;
    let (run, results) = counts.split_once(" run: ")?;
    let run = run.split([' ', '/']).next()?.parse().ok()?;
    let passed = results.split(", ").find_map(|result| result.split_once(" passed")?.0.parse().ok());
    Some((run, passed.unwrap_or(0)))
}

/// `test result: ok. 3 passed; 0 failed; 0 ignored; …`.
fn of_cargo(line: &str) -> Option<(usize, usize)> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let of = |word: &str| counts.split("; ").find_map(|count| count.strip_suffix(word)?.trim().parse::<usize>().ok());
    let passed = of(" passed")?;
    Some((passed + of(" failed")?, passed))
}

#[cfg(test)]
mod tests {
    use super::Tally;

    fn read(lines: &[&str]) -> (usize, usize) {
        let mut tally = Tally::default();
        for line in lines {
            tally.read(line);
        }
        (tally.run, tally.passed)
    }

    #[test]
    fn the_closing_lines_of_both_runners_are_read() {
        assert_eq!(read(&["     Summary [   8.123s] 20 tests run: 20 passed, 300 skipped"]), (20, 20));
        assert_eq!(
            read(&["     Summary [   8.123s] 20 tests run: 18 passed (1 slow, 2 leaky), 1 failed, 1 timed out, 3 skipped"]),
            (20, 18)
        );
        assert_eq!(read(&["     Summary [   0.012s] 1 test run: 1 passed, 0 skipped"]), (1, 1));
        assert_eq!(read(&["     Summary [   0.012s] 5/20 tests run: 4 passed, 1 failed, 0 skipped"]), (5, 4));
        assert_eq!(read(&["     Summary [   0.012s] 2 tests run: 2 failed, 0 skipped"]), (2, 0));
        let result = "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 4 filtered out; finished in 0.00s";
        assert_eq!(read(&[result, "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out"]), (6, 5));
    }

    #[test]
    fn what_a_test_prints_counts_nothing() {
        let lines =
            ["all 20 passed", "  Summary: 20 tests run: 20 passed", "test result", "", "Summary [", "test result: ok. many passed"];
        assert_eq!(read(&lines), (0, 0));
    }
}
