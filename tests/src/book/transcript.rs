//! What a console block shows: commands, and below each what it prints.
//!
//! What differs from run to run is compared by its form: names of backups, times, positions, names of WAL files, durations and sizes.
//! What the page shows of such a thing stands for what came instead, from then on: a later command with it is given the real one.

use std::collections::BTreeMap;

use regex_lite::{Regex, escape};

use super::page::is_prompt;

/// Two moments that are one second on the page may be two in another run: of these, and of no other, only the form is compared.
const MOMENT: &str = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d(?::?\d\d)?)?";
/// Forms whose values are remembered: an example value and the real one.
const REMEMBERED: [&str; 8] = [
    MOMENT,
    r"sf-\d{8}T\d{6}Z-[0-9a-z]{8}",
    r"\b[0-9a-f]{64}\b",
    r"\b[0-9a-f]{32}\b",
    r"\b[0-9A-F]{24}\b",
    r"\b[0-9A-F]{1,8}/[0-9A-F]{5,8}\b",
    r"\b\d{19}\b",
    r"\b[0-9a-f]{16}\b",
];
/// Forms of which only the form counts.
const MEASURED: [&str; 7] = [
    r"\b\d{4}-\d\d-\d\d\b",
    r"\bseconds=\d+\.\d+",
    r"\b\d+(?:\.\d+)? (?:ms|s|min|h|d)\b",
    r"\b\d+ MiB of \d+\b",
    r"\b\d+(?:\.\d+)? (?:B|KiB|MiB|GiB)\b",
    r"\b\d+ %",
    r"\bPostgreSQL \d+\.\d+\b",
];

/// One command and what it prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// `$` or `#`.
    pub(super) prompt: char,
    /// What is typed, with continued lines.
    pub(super) command: String,
    /// What is shown below it; nothing is compared when nothing is shown.
    pub(super) shown: Vec<String>,
}

/// Takes a console block apart.
pub(super) fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_continued = false;
    for line in text.lines() {
        match steps.last_mut() {
            Some(step) if is_continued => {
                step.command.push('\n');
                step.command.push_str(line);
            }
            Some(step) if !is_prompt(line) => {
                step.shown.push(line.to_owned());
                continue;
            }
            _ => {
                let prompt = line.chars().next().unwrap_or('$');
                steps.push(Step { prompt, command: line.get(2..).unwrap_or_default().to_owned(), shown: Vec::new() });
            }
        }
        is_continued = line.ends_with('\\');
    }
    steps
}

/// What the page shows, and what came instead.
#[derive(Debug, Default, Clone)]
pub(super) struct Bindings {
    values: BTreeMap<String, String>,
}

impl Bindings {
    /// A text of the page with what came instead.
    pub(super) fn apply(&self, text: &str) -> String {
        let mut known: Vec<(&String, &String)> = self.values.iter().collect();
        known.sort_by_key(|(example, _)| std::cmp::Reverse(example.len()));
        let examples: Vec<String> = known.iter().map(|(example, _)| escape(example)).collect();
        if examples.is_empty() {
            return text.to_owned();
        }
        // In one pass, so that nothing is replaced twice.
        let pattern = regex(&examples.join("|"));
        pattern.replace_all(text, |found: &regex_lite::Captures<'_>| self.values[&found[0]].clone()).into_owned()
    }

    /// Compares what is shown with what was printed; remembers what came instead when all of it fits.
    pub(super) fn compare(&mut self, shown: &[String], printed: &[String]) -> bool {
        let mut found = self.clone();
        let fits = found.fit(shown, printed);
        if fits {
            *self = found;
        }
        fits
    }

    fn fit(&mut self, shown: &[String], printed: &[String]) -> bool {
        let Some((first, rest)) = shown.split_first() else { return printed.is_empty() };
        if first.trim() == "…" {
            return (0..=printed.len()).any(|skipped| {
                let mut attempt = self.clone();
                let fits = attempt.fit(rest, &printed[skipped..]);
                if fits {
                    *self = attempt;
                }
                fits
            });
        }
        let Some((line, others)) = printed.split_first() else { return false };
        self.fit_line(first, line) && self.fit(rest, others)
    }

    fn fit_line(&mut self, shown: &str, printed: &str) -> bool {
        let (shown, printed) = (one_spaced(shown), one_spaced(printed));
        let forms = regex(&REMEMBERED.iter().chain(&MEASURED).map(|form| format!("({form})")).collect::<Vec<_>>().join("|"));
        let (mut pattern, mut examples, mut end) = ("^".to_owned(), Vec::new(), 0);
        for found in forms.captures_iter(&shown) {
            let whole = found.get(0).expect("a match is whole");
            pattern.push_str(&literal(&shown[end..whole.start()]));
            let form = (1..=REMEMBERED.len() + MEASURED.len()).find(|form| found.get(*form).is_some()).expect("one form fits") - 1;
            match (self.values.get(whole.as_str()), REMEMBERED.get(form)) {
                (Some(_), Some(&MOMENT)) => pattern.push_str(MOMENT),
                (Some(known), _) => pattern.push_str(&escape(known)),
                (None, Some(remembered)) => {
                    pattern.extend(["(", remembered, ")"]);
                    examples.push(whole.as_str().to_owned());
                }
                (None, None) => pattern.push_str(MEASURED[form - REMEMBERED.len()]),
            }
            end = whole.end();
        }
        pattern.push_str(&literal(&shown[end..]));
        pattern.push('$');
        let Some(values) = regex(&pattern).captures(&printed) else { return false };
        for (number, example) in examples.into_iter().enumerate() {
            let value = values.get(number + 1).expect("every group takes part").as_str().to_owned();
            // The same example twice in one line must be the same thing twice.
            if self.values.get(&example).is_some_and(|known| *known != value) {
                return false;
            }
            self.values.insert(example, value);
        }
        true
    }
}

fn literal(text: &str) -> String {
    escape(text).replace('…', ".*")
}

/// Columns are as wide as what stands in them.
fn one_spaced(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"))
}
