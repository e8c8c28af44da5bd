//! What a person or a script gets to see: results on standard output, everything else on standard error.
//!
//! Text is for people and may change; JSON is stable, carries its version first, and spells system identifiers as text because
//! they exceed what many JSON readers can hold in a number.

use std::io::Write;

use serde::Serialize;
use stillframe_core::text::is_dangerous;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::exit::Failure;
use crate::progress::{self, LogWriter, ProviderEvents};

/// Version of all JSON output.
const JSON_VERSION: u32 = 1;

/// What our crates have in common. Clients of object stores quote their credentials files when they log.
const OUR_CRATES: &str = "stillframe";

/// Starts the log on standard error: without a time, which journals and PostgreSQL's log add themselves. In colour on a terminal,
/// unless `NO_COLOR` is set (<https://no-color.org>).
pub fn start_log(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::INFO,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let in_colour = progress::is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let lines = tracing_subscriber::fmt::layer().with_writer(|| LogWriter).with_ansi(in_colour).with_target(false).without_time();
    tracing_subscriber::registry()
        .with(lines.with_filter(filter_fn(|metadata| ProviderEvents::leaves(metadata.target()))))
        .with(ProviderEvents)
        .with(Targets::new().with_target(OUR_CRATES, level))
        .init();
}

#[derive(Serialize)]
struct Envelope<T> {
    format_version: u32,
    #[serde(flatten)]
    content: T,
}

/// Prints a result.
pub fn print<T: Serialize>(json: bool, content: &T, text: impl FnOnce() -> String) {
    progress::end();
    let rendered = if json {
        let envelope = Envelope { format_version: JSON_VERSION, content };
        harmless_json(serde_json::to_string_pretty(&envelope).unwrap_or_else(|error| error.to_string()))
    } else {
        harmless(text())
    };
    write_line(&rendered);
}

/// Writes out what a terminal would act on. Records in a store, files and servers bring text along that others wrote; here all of
/// it passes.
fn harmless(text: String) -> String {
    if !text.chars().any(misleads) {
        return text;
    }
    let escaped = |letter: char| if misleads(letter) { letter.escape_unicode().to_string() } else { letter.to_string() };
    text.chars().map(escaped).collect()
}

/// The same for JSON, which has escapes of its own. Such letters are found in its texts only.
pub fn harmless_json(text: String) -> String {
    if !text.chars().any(misleads) {
        return text;
    }
    let unit = |unit: &mut u16| format!("\\u{unit:04x}");
    let escaped = |letter: char| {
        if misleads(letter) { letter.encode_utf16(&mut [0; 2]).iter_mut().map(unit).collect() } else { letter.to_string() }
    };
    text.chars().map(escaped).collect()
}

/// Whether a letter is neither what we lay text out with, nor what it looks like.
fn misleads(letter: char) -> bool {
    !matches!(letter, '\n' | '\t') && is_dangerous(letter)
}

/// Writes to standard output; a reader that has gone away is not an error of ours.
fn write_line(text: &str) {
    let mut output = std::io::stdout().lock();
    let _gone = writeln!(output, "{}", text.trim_end_matches('\n')).and_then(|()| output.flush());
}

#[derive(Serialize)]
struct JsonFailure<'a> {
    error: JsonError<'a>,
}

#[derive(Serialize)]
struct JsonError<'a> {
    class: String,
    message: String,
    causes: &'a [String],
    hint: Option<&'a str>,
}

#[derive(Serialize)]
struct LastEvent<'a> {
    event: &'static str,
    message: &'a str,
    causes: &'a [String],
    hint: Option<&'a str>,
}

/// Prints a failure: what failed, its causes, and what the operator can do.
pub fn print_failure(failure: &Failure, json: bool) {
    let chain = failure.chain();
    let (message, causes) = chain.split_first().map_or(("unknown", &[][..]), |(first, rest)| (first.as_str(), rest));
    if json && !failure.is_beside_a_result() {
        let class = format!("{:?}", failure.class()).to_lowercase();
        print(
            true,
            &JsonFailure { error: JsonError { class, message: message.to_owned(), causes, hint: failure.hint() } },
            String::new,
        );
    }
    progress::end();
    if progress::is_json() {
        progress::write_json(&LastEvent { event: "error", message, causes, hint: failure.hint() });
        return;
    }
    let mut text = format!("error: {message}");
    for cause in causes {
        text.push_str(": ");
        text.push_str(cause);
    }
    if let Some(hint) = failure.hint() {
        text.push_str("\nhint: ");
        text.push_str(hint);
    }
    let _gone = writeln!(std::io::stderr().lock(), "{}", harmless(text));
}

/// Renders rows as a table with aligned columns.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).chain([header[column].len()]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(header.to_vec())];
    lines.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    lines.join("\n")
}

/// What a table shows of a fact that may not be known.
pub fn or_dash(fact: Option<String>) -> String {
    fact.unwrap_or_else(|| "-".to_owned())
}

/// Those words that apply, with commas.
pub fn applying(words: &[(bool, &str)]) -> String {
    words.iter().filter(|(applies, _)| *applies).map(|(_, word)| *word).collect::<Vec<_>>().join(", ")
}

/// A number of things for people: `1 backup`, `2 backups`.
pub fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// Bytes for people: `1.5 GiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut scaled = count;
    let mut rest = 0;
    while scaled >= 1024 && unit + 1 < UNITS.len() {
        rest = scaled % 1024 * 10 / 1024;
        scaled /= 1024;
        unit += 1;
    }
    if unit == 0 { format!("{scaled} B") } else { format!("{scaled}.{rest} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::{harmless, harmless_json};

    #[test]
    fn nothing_that_is_printed_moves_the_cursor_or_hides_what_it_says() {
        assert_eq!(harmless("db\u{1b}[2J\u{9b}1m\r\n\tx\u{202e}".to_owned()), "db\\u{1b}[2J\\u{9b}1m\\u{d}\n\tx\\u{202e}");
        assert_eq!(harmless("größe 日本\n".to_owned()), "größe 日本\n");
    }

    #[test]
    fn json_says_the_same_with_harmless_letters() {
        let value = serde_json::json!({ "host": "db\u{7f}\u{9b}1m\u{202e}\u{e0041}ü", "\u{200b}": "\u{1b}" });
        let text = harmless_json(serde_json::to_string_pretty(&value).unwrap());
        assert!(text.contains(r#""db\u007f\u009b1m\u202e\udb40\udc41ü""#), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
