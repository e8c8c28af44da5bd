//! One named measurement beside its reference.

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::run::line;

/// Times of one command and of its reference, each in milliseconds.
#[derive(Debug)]
pub(super) struct Figure {
    name: String,
    reference: String,
    measured: Spread,
    beside: Spread,
}

/// Median and extremes of several runs.
#[derive(Debug)]
struct Spread {
    runs: usize,
    median_ms: f64,
    min_ms: f64,
    max_ms: f64,
}

impl Spread {
    fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        let last = times.len().saturating_sub(1);
        let at = |index: usize| times.get(index).copied().unwrap_or(f64::NAN);
        // Between the two in the middle when their number is even.
        let median_ms = f64::midpoint(at(last / 2), at(last.div_ceil(2)));
        Self { runs: times.len(), median_ms, min_ms: at(0), max_ms: at(last) }
    }

    fn json(&self) -> Value {
        json!({ "runs": self.runs, "median_ms": self.median_ms, "min_ms": self.min_ms, "max_ms": self.max_ms })
    }
}

/// Runs both commands in turns; `before` prepares each pair and is not measured.
pub(super) fn measure(
    name: &str,
    reference: &str,
    runs: usize,
    before: impl Fn() -> Result<(), Failure>,
    command: impl Fn() -> Command,
    beside: impl Fn() -> Command,
) -> Result<Figure, Failure> {
    let (mut measured_ms, mut beside_ms) = (Vec::with_capacity(runs), Vec::with_capacity(runs));
    // One pair more than counted: the first fills the page cache.
    for run in 0..=runs {
        before()?;
        let (first, second) = (time(&mut command())?, time(&mut beside())?);
        if run > 0 {
            measured_ms.push(first);
            beside_ms.push(second);
        }
    }
    Ok(Figure {
        name: name.to_owned(),
        reference: reference.to_owned(),
        measured: Spread::of(measured_ms),
        beside: Spread::of(beside_ms),
    })
}

/// The figures for a person.
pub(super) fn table(figures: &[Figure]) -> String {
    let mut text = format!(
        "{:<32} {:>10} {:>10} {:>10}   {:<10} {:>10} {:>8} {:>12}\n",
        "figure (ms)", "median", "min", "max", "beside", "median", "ratio", "difference"
    );
    for Figure { name, reference, measured, beside } in figures {
        let (ratio, difference) = (measured.median_ms / beside.median_ms, measured.median_ms - beside.median_ms);
        let _infallible = writeln!(
            text,
            "{name:<32} {:>10.2} {:>10.2} {:>10.2}   {reference:<10} {:>10.2} {ratio:>8.2} {difference:>+12.2}",
            measured.median_ms, measured.min_ms, measured.max_ms, beside.median_ms
        );
    }
    text
}

/// The figures for a program.
pub(super) fn json(figures: &[Figure]) -> String {
    let list: Vec<Value> = figures
        .iter()
        .map(|figure| {
            json!({
                "figure": figure.name,
                "measured": figure.measured.json(),
                "reference": figure.reference,
                "beside": figure.beside.json(),
                "ratio": figure.measured.median_ms / figure.beside.median_ms,
                "difference_ms": figure.measured.median_ms - figure.beside.median_ms,
            })
        })
        .collect();
    format!("{:#}\n", json!({ "format_version": 1, "figures": list }))
}

/// Wall-clock time from before the start to after the end, whatever the exit code.
fn time(command: &mut Command) -> Result<f64, Failure> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let began = Instant::now();
    command.status().map_err(Failure::io(format!("run `{}`", line(command))))?;
    Ok(began.elapsed().as_secs_f64() * 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn the_median_is_in_the_middle() {
        let odd = Spread::of(vec![9.0, 1.0, 2.0]);
        assert_eq!((odd.runs, odd.min_ms.to_bits(), odd.max_ms.to_bits()), (3, 1.0_f64.to_bits(), 9.0_f64.to_bits()));
        assert!((odd.median_ms - 2.0).abs() < f64::EPSILON);
        assert!((Spread::of(vec![4.0, 1.0, 9.0, 2.0]).median_ms - 3.0).abs() < f64::EPSILON);
    }
}
