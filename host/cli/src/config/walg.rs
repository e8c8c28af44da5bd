//! Settings of WAL-G, for those who come from it: in the environment, or read by `config import`.
//!
//! They are taken as a whole or not at all: as soon as our own file or variable names a store, no variable of WAL-G counts, for
//! one that somebody forgot, such as `AWS_ENDPOINT`, would change where WAL goes. While they count, each is weaker than the same key
//! of ours, and one that cannot be honoured is refused by name: an archive that its owner takes for encrypted must not be plain.

pub mod file;
mod place;
mod plan;
pub mod render;
mod table;
mod translate;

use std::collections::BTreeMap;

use super::{ConfigError, Origin, Value, Variables};

pub use plan::{Plan, Taken, plan};

/// Those variables of the environment that are WAL-G's, without the empty ones, which WAL-G takes for unset.
pub fn of_environment(variables: &Variables) -> Variables {
    let is_ours = |name: &str| table::find(name).is_some() || name.starts_with("WALG_") || name.starts_with("WALE_");
    let ours = variables.iter().filter(|(name, value)| !value.is_empty() && is_ours(name));
    ours.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Whether a variable changes what is done when WAL-G's count: of its own settings those that become ours or are refused.
pub fn is_heeded(name: &str) -> bool {
    name.starts_with("WALG_") || name.starts_with("WALE_") || (table::changes_something(name) && !table::is_of_libpq(name))
}

/// Fills what our own file and variables leave open. Returns what was passed over.
pub(super) fn fill(values: &mut BTreeMap<String, Value>, variables: &Variables) -> Result<Vec<String>, ConfigError> {
    let mut settings = of_environment(variables);
    // The connection reads these by itself, with us and without WAL-G.
    settings.retain(|name, _| !table::is_of_libpq(name));
    if !settings.keys().any(|name| place::is_place(name)) {
        return Ok(Vec::new());
    }
    let plan = plan(&settings, values);
    if let Some(url) = values.get("store.url") {
        return Ok(without_effect(&settings, &plan, url));
    }
    if !plan.refused.is_empty() {
        let refused = plan.refused.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
        return Err(ConfigError::WalG { refused });
    }
    for taken in &plan.taken {
        let value = Value::new(&taken.text, Origin::Variable(taken.names.join(" and ")));
        values.insert(taken.key.to_owned(), value);
    }
    let names: Vec<&str> = plan.passed.iter().map(|(name, _)| name.as_str()).filter(|name| table::is_of_walg_alone(name)).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![format!("without effect: {} (`stillframe config import` says why)", names.join(", "))])
}

/// What to say of WAL-G's variables beside a store of our own.
fn without_effect(settings: &Variables, plan: &Plan, url: &Value) -> Vec<String> {
    let names: Vec<&str> = settings.keys().map(String::as_str).filter(|name| table::is_of_walg_alone(name)).collect();
    let there = plan.taken.iter().find(|taken| taken.key == "store.url");
    let differs = there.is_none_or(|there| there.text != url.text);
    let place = if differs { ", and they name another place" } else { "" };
    vec![format!("without effect, since `store.url` {} names the store{place}: {}", url.origin, names.join(", "))]
}

#[cfg(test)]
mod tests;
