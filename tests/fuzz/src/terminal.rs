//! What may be shown to a person.

/// Panics when a text would move the cursor, forge a line, turn the direction of writing or hide what it says.
pub(crate) fn assert_harmless(what: &str, text: &str) {
    assert!(!text.chars().any(misleads), "{what} would mislead a terminal: {text:?}");
}

/// The letters are spelt here again: a target that asked the product which letters it lets through would prove nothing.
fn misleads(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}')
        || matches!(letter, '\u{ad}' | '\u{61c}' | '\u{feff}')
}
