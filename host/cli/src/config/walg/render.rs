//! Writes our configuration for what was planned, with a comment on every line's origin and on everything that is not in it.

use super::super::KEYS;
use super::super::kind::Kind;
use super::Plan;

/// The file, complete, without any secret.
pub fn render(plan: &Plan, source: &str) -> String {
    let mut text = Text(String::new());
    text.comment(&format!("Made of WAL-G's settings in {source} by `stillframe config import`."));
    // First of all what is missing: with --partial, this file may archive in another way than its reader expects.
    for (name, reason) in &plan.refused {
        text.comment(&format!("NOT HONOURED: {name}: {reason}"));
    }
    for (name, belongs) in &plan.secrets {
        text.comment(&format!("{name} is a secret and not in this file; it belongs into {belongs}."));
    }
    let conninfo = conninfo(plan);
    let mut section = "";
    for key in &KEYS {
        let taken = plan.taken.iter().find(|taken| taken.key == key.name);
        let (value, names, was) = match (taken, &conninfo) {
            (Some(taken), _) => (taken.text.clone(), taken.names.clone(), taken.was.as_deref()),
            (None, Some(conninfo)) if key.name == "cluster.conninfo" => {
                (conninfo.clone(), plan.connection.iter().map(|(name, ..)| name.clone()).collect(), None)
            }
            _ => continue,
        };
        let (own_section, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if own_section != section {
            section = own_section;
            text.line("");
            text.line(&format!("[{section}]"));
        }
        let was = was.map(|was| format!(" ({was} there)")).unwrap_or_default();
        text.comment(&format!("from {}{was}", names.join(", ")));
        let is_bare = matches!(key.kind, Kind::Number(..) | Kind::Flag);
        let value = if is_bare { value } else { toml::Value::String(value).to_string() };
        text.line(&format!("{name} = {value}"));
    }
    text.line("");
    text.comment("A provider of snapshots belongs here, such as:");
    text.comment("[provider.hardlink]");
    text.comment("root = \"/var/lib/stillframe/snapshots\"");
    if !plan.passed.is_empty() {
        text.line("");
    }
    for (name, reason) in &plan.passed {
        text.comment(&format!("Without effect: {name}: {reason}"));
    }
    text.0
}

/// A connection string without the password.
fn conninfo(plan: &Plan) -> Option<String> {
    let quoted = |value: &str| {
        let is_plain = value.bytes().all(|byte| byte.is_ascii_graphic() && !b"'\\".contains(&byte));
        if is_plain { value.to_owned() } else { format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'")) }
    };
    let words: Vec<String> = plan.connection.iter().map(|(_, keyword, value)| format!("{keyword}={}", quoted(value))).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

struct Text(String);

impl Text {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    /// A comment ends with its line: a value that holds a line break must not become a setting.
    fn comment(&mut self, comment: &str) {
        let one_line: String = comment.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        self.line(&format!("# {one_line}"));
    }
}
