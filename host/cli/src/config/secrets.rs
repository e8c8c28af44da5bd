//! Keeps private keys out of the configuration: it is readable by many, is copied to other hosts and is shown by `config show`.

/// What every private key of age begins with.
const PRIVATE_KEY: &str = "AGE-SECRET-KEY-";

/// Whether a text holds a private key, in either case of letters, as Bech32 has it.
pub fn has_private_key(text: &str) -> bool {
    text.to_ascii_uppercase().contains(PRIVATE_KEY)
}

/// The key of the first private key in a document, wherever somebody put it.
pub(super) fn private_key_in(table: &toml::Table) -> Option<String> {
    table.iter().find_map(|(name, value)| match value {
        _ if has_private_key(name) => Some("(a name)".to_owned()),
        toml::Value::Table(below) => private_key_in(below).map(|below| format!("{name}.{below}")),
        value => has_private_key(&value.to_string()).then(|| name.clone()),
    })
}
