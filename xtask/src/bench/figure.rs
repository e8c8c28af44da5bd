//! One named measurement beside its reference, and what it is meant to be.

use std::fmt::Write as _;
use std::time::Instant;

use serde_json::{Value, json};

use crate::failure::Failure;

/// What is compared with what.
#[derive(Debug)]
pub(super) struct Comparison {
    pub(super) name: String,
    pub(super) reference: String,
    pub(super) target: Target,
}

impl Comparison {
    pub(super) fn new(name: impl Into<String>, reference: impl Into<String>, target: Target) -> Self {
        Self { name: name.into(), reference: reference.into(), target }
    }
}

/// What a figure must not exceed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target {
    /// This many times the reference.
    Ratio(f64),
    /// This much above the reference, in the figure's unit.
    Difference(f64),
    /// This much, in the figure's unit; there is nothing beside it.
    AtMost(f64),
    /// Nothing: it is told for comparison.
    Untargeted,
}

/// Values of one subject and of its reference, in one unit.
#[derive(Debug)]
pub(super) struct Figure {
    comparison: Comparison,
    unit: &'static str,
    measured: Spread,
    beside: Spread,
}

impl Figure {
    pub(super) fn new(comparison: Comparison, unit: &'static str, measured: Vec<f64>, beside: Vec<f64>) -> Self {
        Self { comparison, unit, measured: Spread::of(measured), beside: Spread::of(beside) }
    }

    fn ratio(&self) -> f64 {
        self.measured.median / self.beside.median
    }

    fn difference(&self) -> f64 {
        self.measured.median - self.beside.median
    }

    /// The target in words, and whether it holds.
    fn verdict(&self) -> (String, Option<bool>) {
        match self.comparison.target {
            Target::Ratio(most) => (format!("≤ {most:.1}×"), Some(self.ratio() <= most)),
            Target::Difference(most) => (format!("≤ +{most:.0} {}", self.unit), Some(self.difference() <= most)),
            Target::AtMost(most) => (format!("≤ {most:.0} {}", self.unit), Some(self.measured.median <= most)),
            Target::Untargeted => ("–".to_owned(), None),
        }
    }
}

/// Median and extremes of several runs.
#[derive(Debug)]
struct Spread {
    runs: usize,
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let last = values.len().saturating_sub(1);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        // Between the two in the middle when their number is even.
        let median = f64::midpoint(at(last / 2), at(last.div_ceil(2)));
        Self { runs: values.len(), median, min: at(0), max: at(last) }
    }

    fn json(&self) -> Value {
        json!({ "runs": self.runs, "median": self.median, "min": self.min, "max": self.max })
    }
}

/// Times both in turns, in milliseconds; `before` prepares each of them and is not measured.
///
/// One pair more than counted: the first fills the page cache.
pub(super) fn measure(
    comparison: Comparison,
    runs: usize,
    mut before: impl FnMut() -> Result<(), Failure>,
    mut subject: impl FnMut() -> Result<(), Failure>,
    mut beside: impl FnMut() -> Result<(), Failure>,
) -> Result<Figure, Failure> {
    let (mut measured_ms, mut beside_ms) = (Vec::with_capacity(runs), Vec::with_capacity(runs));
    for run in 0..=runs {
        before()?;
        let first = milliseconds(&mut subject)?;
        before()?;
        let second = milliseconds(&mut beside)?;
        if run > 0 {
            measured_ms.push(first);
            beside_ms.push(second);
        }
    }
    Ok(Figure::new(comparison, "ms", measured_ms, beside_ms))
}

/// Wall-clock time of some work.
pub(super) fn milliseconds(work: &mut impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed().as_secs_f64() * 1_000.0)
}

/// The figures for a person, as a table that the documentation can take.
pub(super) fn table(figures: &[Figure]) -> String {
    let mut text =
        "| figure | median | min–max | beside | median | ratio | target | |\n|---|---|---|---|---|---|---|---|\n".to_owned();
    for figure in figures {
        let Figure { comparison, unit, measured, beside } = figure;
        let (target, holds) = figure.verdict();
        let holds = holds.map_or("", |holds| if holds { "holds" } else { "misses" });
        let (reference, ratio) = if beside.runs == 0 {
            (String::new(), String::new())
        } else {
            (format!("{} {unit}", shown(beside.median)), format!("{:.2}", figure.ratio()))
        };
        let _infallible = writeln!(
            text,
            "| {} | {} {unit} | {}–{} | {} | {reference} | {ratio} | {target} | {holds} |",
            comparison.name,
            shown(measured.median),
            shown(measured.min),
            shown(measured.max),
            comparison.reference,
        );
    }
    text
}

/// Three digits that count.
fn shown(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// The figures for a program.
pub(super) fn json(figures: &[Figure]) -> String {
    let list: Vec<Value> = figures
        .iter()
        .map(|figure| {
            let (target, holds) = figure.verdict();
            json!({
                "figure": figure.comparison.name,
                "unit": figure.unit,
                "measured": figure.measured.json(),
                "reference": figure.comparison.reference,
                "beside": figure.beside.json(),
                "ratio": figure.ratio(),
                "difference": figure.difference(),
                "target": target,
                "holds": holds,
            })
        })
        .collect();
    format!("{:#}\n", json!({ "format_version": 2, "figures": list }))
}

#[cfg(test)]
mod tests {
    use super::{Comparison, Figure, Spread, Target};

    #[test]
    fn the_median_is_in_the_middle() {
        let odd = Spread::of(vec![9.0, 1.0, 2.0]);
        assert_eq!((odd.runs, odd.min.to_bits(), odd.max.to_bits()), (3, 1.0_f64.to_bits(), 9.0_f64.to_bits()));
        assert!((odd.median - 2.0).abs() < f64::EPSILON);
        assert!((Spread::of(vec![4.0, 1.0, 9.0, 2.0]).median - 3.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_figure_above_its_target_misses() {
        let verdict = |target| Figure::new(Comparison::new("a", "b", target), "ms", vec![6.0], vec![5.0]).verdict().1;
        assert_eq!(verdict(Target::Ratio(1.1)), Some(false));
        assert_eq!(verdict(Target::Ratio(1.2)), Some(true));
        assert_eq!(verdict(Target::Difference(0.5)), Some(false));
        assert_eq!(verdict(Target::Difference(1.0)), Some(true));
        assert_eq!(verdict(Target::AtMost(5.0)), Some(false));
        assert_eq!(verdict(Target::AtMost(6.0)), Some(true));
        assert_eq!(verdict(Target::Untargeted), None);
    }
}
