//! What a provider tells of a call, which comes as an event of the log: shown with the step that the call belongs to. When standard
//! error is JSON, every other line of the log is JSON as well.

use std::fmt::Debug;

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::bar::Told;
use super::{Mode, screen, write_json};

/// Where the runtime tells it.
pub const TARGET: &str = "stillframe_runtime::progress";

/// Shows what providers tell, unless the log does.
#[derive(Debug)]
pub struct ProviderEvents;

impl ProviderEvents {
    /// Whether the log shows this event, and not this layer.
    pub fn leaves(target: &str) -> bool {
        match screen().mode {
            Mode::Log => true,
            Mode::Bar | Mode::Silent => target != TARGET,
            Mode::Json => false,
        }
    }
}

impl<S: Subscriber> Layer<S> for ProviderEvents {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if ProviderEvents::leaves(metadata.target()) {
            return;
        }
        let mut words = Words::default();
        event.record(&mut words);
        let mut screen = screen();
        match screen.mode {
            Mode::Bar => {
                screen.tell(Told { message: words.message, done: words.done, total: words.total });
            }
            Mode::Json => {
                drop(screen);
                if metadata.target() == TARGET {
                    write_json(&FromProvider {
                        event: "provider",
                        provider: words.provider,
                        done: words.done,
                        total: words.total,
                        message: words.message,
                    });
                } else {
                    let level = metadata.level().to_string().to_lowercase();
                    write_json(&Logged { event: "log", level, message: words.message, fields: words.fields });
                }
            }
            Mode::Log | Mode::Silent => {}
        }
    }
}

#[derive(Serialize)]
struct FromProvider {
    event: &'static str,
    provider: Option<String>,
    done: Option<u64>,
    total: Option<u64>,
    message: String,
}

#[derive(Serialize)]
struct Logged {
    event: &'static str,
    level: String,
    message: String,
    fields: std::collections::BTreeMap<&'static str, String>,
}

#[derive(Default)]
struct Words {
    provider: Option<String>,
    done: Option<u64>,
    total: Option<u64>,
    message: String,
    /// All but the message.
    fields: std::collections::BTreeMap<&'static str, String>,
}

impl Words {
    fn take(&mut self, field: &Field, text: String) {
        if field.name() == "message" {
            self.message = text;
            return;
        }
        if field.name() == "provider" {
            self.provider = Some(text.clone());
        }
        self.fields.insert(field.name(), text);
    }
}

impl Visit for Words {
    fn record_u64(&mut self, field: &Field, number: u64) {
        match field.name() {
            "done" => self.done = Some(number),
            "total" => self.total = Some(number),
            _ => {}
        }
        self.fields.insert(field.name(), number.to_string());
    }

    fn record_str(&mut self, field: &Field, text: &str) {
        self.take(field, text.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.take(field, format!("{value:?}"));
    }
}
