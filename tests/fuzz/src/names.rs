//! Names that stand in keys of a store, in labels and on command lines: a line with the kind, and the name.

use stillframe_core::catalog::{BackupName, ClusterName, Layout, Recipient, WalGName};
use stillframe_core::provider::{DataPathName, ProviderName, Token};
use stillframe_core::store::Key;
use stillframe_runtime::Sha256;

use crate::Verdict;
use crate::input::Input;
use crate::terminal::assert_harmless;

/// What is accepted is spelt in one way, harmless to show, and leads out of no prefix.
pub fn target(data: &[u8]) -> Verdict {
    let mut input = Input::new(data);
    let kind = input.text();
    let text = input.rest_text().into_owned();
    let spelt = match kind.as_ref() {
        "backup" => text.parse::<BackupName>().ok().map(|name| name.to_string()),
        "walg" => text.parse::<WalGName>().ok().map(|name| name.to_string()),
        "cluster" => ClusterName::try_from(text.clone()).ok().map(|name| cluster(&name)),
        "provider" => ProviderName::try_from(text.clone()).ok().map(|name| provider(&name)),
        "path" => DataPathName::try_from(text.clone()).ok().map(|name| name.to_string()),
        "key" => Key::parse(&text).ok().map(|key| in_a_store(&key)),
        "recipient" => text.parse::<Recipient>().ok().map(|recipient| recipient.to_string()),
        "sha256" => text.parse::<Sha256>().ok().map(|digest| digest.to_string()),
        _ => None,
    };
    let Some(spelt) = spelt else { return Verdict::Refused };
    // People copy digests and keys from tools that write capitals.
    let is_copied = matches!(kind.as_ref(), "recipient" | "sha256");
    assert!(spelt == text || is_copied && spelt.eq_ignore_ascii_case(&text), "one {kind} has two names: {text:?} and {spelt:?}");
    assert_harmless(&kind, &spelt);
    Verdict::Accepted
}

fn cluster(name: &ClusterName) -> String {
    assert_eq!(Layout::new(name.clone()).cluster(), name);
    assert!(!name.as_str().contains(['/', '.']), "a cluster leads out of its prefix");
    name.to_string()
}

fn provider(name: &ProviderName) -> String {
    let token = Token("0123456789abcdef0123456789abcdef".to_owned()).for_provider(name);
    assert!(token.0.len() == 32 && token.0.bytes().all(|byte| byte.is_ascii_hexdigit()));
    name.to_string()
}

fn in_a_store(key: &Key) -> String {
    let text = key.as_str();
    assert!(!text.starts_with('/') && !text.split('/').any(|part| matches!(part, "" | "." | "..")), "`{text}` leads out");
    assert!(text.ends_with(key.file_name()));
    text.to_owned()
}
