//! How far a long step is, on standard error: a bar on a terminal, lines of JSON for a program, the log for everybody else.
//!
//! There is one standard error, so there is one state behind it: a log line that is written while the bar stands there has to wipe it
//! away first and draw it again. The bar is drawn by hand, since it is one line that is seldom drawn; a crate for it would bring five
//! others. A terminal that understands no escapes (`TERM=dumb`) gets the log.

mod bar;
mod events;

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde::Serialize;
use stillframe_core::flows::{LoggedProgress, Progress, Step};

use crate::output;
use bar::Told;
pub use events::ProviderEvents;

/// How often the bar is drawn when nothing is reported: between two looks at a storage system it would stand still for ten seconds.
const REDRAWN_EVERY: Duration = Duration::from_secs(1);

/// The flag of the commands that can last.
#[derive(Debug, Clone, Args)]
pub struct ProgressOptions {
    /// How progress is shown on standard error
    #[arg(long, value_enum, value_name = "HOW", default_value = "auto")]
    pub progress: Choice,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// A bar on a terminal, lines of the log elsewhere
    Auto,
    /// A bar
    Bar,
    /// One JSON object per line, log included
    Json,
    /// Not at all
    None,
}

/// What standard error shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Log,
    Bar,
    Json,
    Silent,
}

struct Screen {
    mode: Mode,
    /// The line of the bar; empty when there is none.
    line: String,
    shown: Option<Shown>,
}

/// What the bar shows.
struct Shown {
    step: Step,
    reported_at: Instant,
    told: Option<Told>,
}

static SCREEN: Mutex<Screen> = Mutex::new(Screen { mode: Mode::Log, line: String::new(), shown: None });
static REDRAWING: Once = Once::new();

fn screen() -> MutexGuard<'static, Screen> {
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Decides for the whole process; commands that have no such flag log.
pub fn choose(choice: Option<Choice>) {
    screen().mode = match choice {
        Some(Choice::Auto) if is_terminal() => Mode::Bar,
        None | Some(Choice::Auto) => Mode::Log,
        Some(Choice::Bar) => Mode::Bar,
        Some(Choice::Json) => Mode::Json,
        Some(Choice::None) => Mode::Silent,
    };
}

/// Whether standard error is a terminal that understands escapes.
pub fn is_terminal() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|kind| kind != "dumb" && !kind.is_empty())
}

/// Whether standard error holds nothing but JSON.
pub fn is_json() -> bool {
    screen().mode == Mode::Json
}

/// Wipes the bar away for good: what follows is the result.
pub fn end() {
    let mut screen = screen();
    screen.shown = None;
    if !std::mem::take(&mut screen.line).is_empty() {
        let _gone = bar::wipe(&mut io::stderr().lock());
    }
}

/// Tells flows how to show what they report.
#[derive(Debug, Default)]
pub struct ShownProgress(LoggedProgress);

impl Progress for ShownProgress {
    fn report(&self, step: &Step) {
        let mut screen = screen();
        match screen.mode {
            Mode::Log => {
                // It takes the lock itself to write its line.
                drop(screen);
                self.0.report(step);
            }
            Mode::Bar => {
                screen.shown = Some(Shown { step: step.clone(), reported_at: Instant::now(), told: None });
                screen.redraw();
                drop(screen);
                keep_redrawing();
            }
            Mode::Json => {
                drop(screen);
                write_json(&StepView::from(step));
            }
            Mode::Silent => {}
        }
    }
}

impl Screen {
    /// Adds what a provider says; before the first step there is nothing to add it to.
    fn tell(&mut self, told: Told) {
        if let Some(shown) = &mut self.shown {
            shown.told = Some(told);
            self.redraw();
        }
    }

    fn redraw(&mut self) {
        if let Some(Shown { step, reported_at, told }) = &self.shown {
            self.line = bar::line(step, told.as_ref(), step.waited + reported_at.elapsed(), bar::columns());
            let _gone = bar::draw(&mut io::stderr().lock(), &self.line);
        }
    }
}

/// Lets the time on the bar go on, as long as the process lives. Without a thread for it, it stands still.
fn keep_redrawing() {
    REDRAWING.call_once(|| {
        let redraw = || {
            loop {
                thread::sleep(REDRAWN_EVERY);
                screen().redraw();
            }
        };
        let _without = thread::Builder::new().name("progress".to_owned()).spawn(redraw);
    });
}

/// One step in JSON.
#[derive(Serialize)]
struct StepView<'a> {
    event: &'static str,
    phase: &'static str,
    subject: Option<&'a str>,
    done: Option<u64>,
    total: Option<u64>,
    percent: Option<u8>,
    size_bytes: Option<u64>,
    waited_ms: u64,
}

impl<'a> From<&'a Step> for StepView<'a> {
    fn from(step: &'a Step) -> Self {
        Self {
            event: "progress",
            phase: step.phase.as_str(),
            subject: step.subject.as_deref(),
            done: step.done,
            total: step.total,
            percent: step.percent,
            size_bytes: step.size_bytes,
            waited_ms: u64::try_from(step.waited.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

#[derive(Serialize)]
struct Line<'a, T> {
    format_version: u32,
    #[serde(flatten)]
    event: &'a T,
}

/// Writes one event as a line of JSON to standard error.
pub fn write_json<T: Serialize>(event: &T) {
    if let Ok(line) = serde_json::to_string(&Line { format_version: 1, event }) {
        let _gone = writeln!(io::stderr().lock(), "{}", output::harmless_json(line));
    }
}

/// Standard error for the log: the bar makes room for each line.
#[derive(Debug)]
pub struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let screen = screen();
        let mut stderr = io::stderr().lock();
        if screen.line.is_empty() {
            return stderr.write(bytes);
        }
        bar::wipe(&mut stderr)?;
        stderr.write_all(bytes)?;
        bar::draw(&mut stderr, &screen.line)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use stillframe_core::flows::Phase;

    use super::*;

    #[test]
    fn a_step_in_json_has_every_key_under_a_stable_name() {
        let step = Step { done: Some(1), total: Some(2), waited: Duration::from_millis(1500), ..Step::begun(Phase::Ready) };
        let line = serde_json::to_string(&Line { format_version: 1, event: &StepView::from(&step) }).unwrap();
        assert_eq!(
            line,
            r#"{"format_version":1,"event":"progress","phase":"ready","subject":null,"done":1,"total":2,"percent":null,"size_bytes":null,"waited_ms":1500}"#
        );
    }
}
