//! What came of all searches, a line each.

use super::search::Outcome;

/// Headings of the columns.
const HEADINGS: [&str; 6] = ["target", "executions", "per second", "new inputs", "MiB", "found"];

/// The line of one search.
pub(super) fn row(target: &str, outcome: &Outcome) -> [String; 6] {
    let found = if outcome.find.is_some() { "A FAULT" } else { "nothing" };
    let numbers = [outcome.executions, outcome.per_second, outcome.new_inputs, outcome.memory_mib].map(|number| number.to_string());
    let [executions, per_second, new_inputs, memory] = numbers;
    [target.to_owned(), executions, per_second, new_inputs, memory, found.to_owned()]
}

/// All lines below the headings: names to the left, numbers to the right.
pub(super) fn render(rows: &[[String; 6]]) -> String {
    let headings = HEADINGS.map(str::to_owned);
    let all: Vec<&[String; 6]> = std::iter::once(&headings).chain(rows).collect();
    let width = |column: usize| all.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let cell = |(column, text): (usize, &String)| {
        let width = width(column);
        if (1..=4).contains(&column) { format!("{text:>width$}") } else { format!("{text:<width$}") }
    };
    let line = |row: &&[String; 6]| row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ").trim_end().to_owned();
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::{render, row};
    use crate::fuzz::search::Outcome;

    #[test]
    fn numbers_stand_below_each_other() {
        let one = Outcome { executions: 1_000_000, per_second: 16_666, new_inputs: 7, memory_mib: 90, find: None };
        let text = render(&[row("pg_control", &one), row("names", &Outcome { per_second: 5, ..Outcome::default() })]);
        let expected = "target      executions  per second  new inputs  MiB  found\n\
                        pg_control     1000000       16666           7   90  nothing\n\
                        names                0           5           0    0  nothing";
        assert_eq!(text, expected);
    }
}
