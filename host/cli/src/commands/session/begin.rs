//! `session begin`: leaves a process behind that holds backup mode, once it does. This is the freeze of a freeze/thaw script.

use std::io::Write;
use std::process::ExitCode;

use serde_json::Value;
use stillframe_core::error::{Classify, ErrorClass};

use crate::common::Common;
use crate::exit::Failure;
use crate::output::print;
use crate::session::order::{BeginOptions, Begun, Order};
use crate::session::protocol::Told;
use crate::session::{detach, directory, owner};
use crate::wiring::{World, new_session_id};

/// Begins, and returns.
pub async fn run(common: &Common, options: &BeginOptions, json: bool) -> Result<ExitCode, Failure> {
    // Opened here for its errors: whoever types this sees them at once.
    let world = World::open(common).await?;
    let directory = directory(&world)?;
    let order = options.order(new_session_id()?).map_err(|source| NotStarted { source: Some(source) })?;
    let log = directory.log(&order.id);
    let said = detach::start(&world.config.path, &log, &order);
    show(&log);
    let said = said.map_err(|source| NotStarted { source: Some(source) })?.ok_or(NotStarted { source: None })?;
    if let Some(failed) = told(&said) {
        return Err(failed.into());
    }
    let begun: Begun = serde_json::from_value(said).map_err(|_| NotStarted { source: None })?;
    print(json, &begun, || begun.text());
    Ok(ExitCode::SUCCESS)
}

/// What the process said that is left behind, in the words of this one: so far nobody has read its log.
fn show(log: &std::path::Path) {
    let text = std::fs::read(log).unwrap_or_default();
    let mut warnings =
        text.split_inclusive(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"error:") && !line.starts_with(b"hint:"));
    let _gone = warnings.try_for_each(|line| std::io::stderr().lock().write_all(line));
}

fn told(said: &Value) -> Option<Told> {
    let error = said.get("error")?;
    let text = |key: &str| error.get(key).and_then(Value::as_str).map(str::to_owned);
    let causes = error.get("causes").and_then(Value::as_array).into_iter().flatten();
    let causes = causes.filter_map(Value::as_str).map(str::to_owned);
    let messages = text("message").into_iter().chain(causes).collect();
    Some(Told::new(&text("class").unwrap_or_default(), messages, text("hint")))
}

/// The hidden side: owns the session that standard input describes, and says so on standard output once.
pub async fn own(common: &Common) -> Result<ExitCode, Failure> {
    // Out of the session and the process group of whoever began it: neither its terminal nor its end concerns us.
    let _leader_already = rustix::process::setsid();
    let order: Order = serde_json::from_reader(std::io::stdin().lock()).map_err(|_| NotStarted { source: None })?;
    owner::own(common, order, |begun| {
        // Who waits for this has the only way to end the session: without it, nobody could.
        let said = serde_json::to_vec(begun).unwrap_or_default();
        let mut output = std::io::stdout().lock();
        Ok(output.write_all(&said).and_then(|()| output.flush()).map_err(|source| NotStarted { source: Some(source) })?)
    })
    .await
}

/// The process that shall hold backup mode does not come to it.
#[derive(Debug, thiserror::Error)]
#[error("the process that shall hold backup mode could not be started")]
struct NotStarted {
    #[source]
    source: Option<std::io::Error>,
}

impl Classify for NotStarted {
    fn class(&self) -> ErrorClass {
        ErrorClass::Transient
    }
}
