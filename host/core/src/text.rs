//! Text that came from outside: what of it must not reach a terminal, a log or a reader as it is.

/// Whether a terminal, or a reader's eye, would be misled by it: it moves the cursor, turns the direction of writing, or cannot be
/// seen at all.
#[must_use]
pub fn is_dangerous(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(character, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}
