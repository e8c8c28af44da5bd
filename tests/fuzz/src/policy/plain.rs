//! What a policy says of a command, found out by trying everything: slow, and plain enough to be read beside the manual.

use serde_json::{Map, Value};
use stillframe_core::text::is_dangerous;

/// Whether a rule of the policy allows this program with these arguments.
pub(super) fn allows(policy: &str, section: &Map<String, Value>, program: &str, arguments: &[String]) -> bool {
    let document: toml::Table = policy.parse().unwrap_or_default();
    let rules = document.get("command").and_then(|commands| commands.get(program)?.get("allow")?.as_array());
    let mut rules = rules.into_iter().flatten().filter_map(toml::Value::as_array);
    rules.any(|rule| {
        let patterns: Vec<&str> = rule.iter().filter_map(toml::Value::as_str).collect();
        describes(&patterns, arguments, section)
    })
}

/// Whether the patterns describe the whole list.
fn describes(patterns: &[&str], arguments: &[String], section: &Map<String, Value>) -> bool {
    let Some((pattern, later)) = patterns.split_first() else { return arguments.is_empty() };
    let (body, least, most) = if let Some(body) = pattern.strip_suffix("...?") {
        (body, 0, arguments.len())
    } else if let Some(body) = pattern.strip_suffix("...") {
        (body, 1, arguments.len())
    } else if let Some(body) = pattern.strip_suffix('?') {
        (body, 0, 1)
    } else {
        (*pattern, 1, 1)
    };
    (least..=most.min(arguments.len())).any(|count| {
        arguments[..count].iter().all(|argument| fits(body, argument, section)) && describes(later, &arguments[count..], section)
    })
}

/// Whether a pattern without its suffix describes the whole of a text.
fn fits(pattern: &str, text: &str, section: &Map<String, Value>) -> bool {
    if pattern.is_empty() {
        return text.is_empty();
    }
    let Some(rest) = pattern.strip_prefix('{') else {
        let end = pattern.find('{').unwrap_or(pattern.len());
        let (literal, later) = pattern.split_at(end);
        return text.strip_prefix(literal).is_some_and(|text| fits(later, text, section));
    };
    let Some((placeholder, later)) = rest.split_once('}') else { return false };
    let ends = (0..=text.len()).filter(|end| text.is_char_boundary(*end));
    ends.into_iter().any(|end| stands_for(placeholder, &text[..end], section) && fits(later, &text[end..], section))
}

/// Whether a placeholder stands for a text.
fn stands_for(placeholder: &str, text: &str, section: &Map<String, Value>) -> bool {
    let (name, argument) = placeholder.split_once(':').unwrap_or((placeholder, ""));
    match name {
        "name" => {
            let first = text.chars().next().is_some_and(|letter| letter.is_ascii_alphanumeric() || letter == '_');
            first && text.len() <= 128 && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "_.:+-".contains(letter))
        }
        "number" => (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()),
        "text" => text.len() <= 4_096 && is_printable(text),
        "one" => argument.split('|').any(|word| values(word, section).iter().any(|word| word == text)),
        "below" => values(argument, section).iter().any(|root| {
            let rest = text.strip_prefix(root.trim_end_matches('/')).and_then(|rest| rest.strip_prefix('/'));
            rest.is_some_and(|rest| is_printable(rest) && rest.split('/').all(|part| !matches!(part, "" | "." | "..")))
        }),
        "under" => values(argument, section).iter().any(|root| {
            let rest = text.strip_prefix(root.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_part)))
        }),
        _ => false,
    }
}

fn is_part(part: &str) -> bool {
    let legal = |letter: char| letter.is_ascii_alphanumeric() || "_.:-".contains(letter);
    !matches!(part, "" | "." | "..") && !part.starts_with('-') && part.chars().all(legal)
}

fn is_printable(text: &str) -> bool {
    !text.chars().any(is_dangerous)
}

/// A word, or what the key that it names holds.
fn values(word: &str, section: &Map<String, Value>) -> Vec<String> {
    match word.strip_prefix('$').map(|key| section.get(key)) {
        None => vec![word.to_owned()],
        Some(Some(Value::Array(values))) => values.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Some(Value::String(value))) => vec![value.clone()],
        Some(_) => Vec::new(),
    }
}
