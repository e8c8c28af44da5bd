//! Text that came from outside, made fit for a terminal and a log.
//!
//! A provider's words are shown to people. Control characters could move the cursor or forge a line of the log, and characters
//! that turn the direction of writing, or cannot be seen at all, could hide what is there; all are written out instead.

use stillframe_core::text::is_dangerous;

/// Writes out what a terminal would act on, and cuts the text at `max_bytes`.
pub(crate) fn clean(text: &str, max_bytes: usize) -> String {
    let mut cleaned = String::with_capacity(text.len().min(max_bytes));
    for character in text.chars() {
        let mut buffer = [0; 4];
        let escaped;
        let piece = if is_dangerous(character) {
            escaped = character.escape_default().to_string();
            escaped.as_str()
        } else {
            &*character.encode_utf8(&mut buffer)
        };
        if cleaned.len() + piece.len() > max_bytes {
            cleaned.push('…');
            break;
        }
        cleaned.push_str(piece);
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn writes_out_control_characters() {
        assert_eq!(clean("a\x1b[31mb\r\nc\u{202e}d\u{9b}", 100), "a\\u{1b}[31mb\\r\\nc\\u{202e}d\\u{9b}");
    }

    #[test]
    fn writes_out_what_turns_the_direction_or_cannot_be_seen() {
        for hidden in ['\u{61c}', '\u{200b}', '\u{200f}', '\u{202e}', '\u{2060}', '\u{2069}', '\u{feff}', '\u{ad}', '\u{e0041}'] {
            assert_eq!(clean(&format!("a{hidden}b"), 100), format!("a{}b", hidden.escape_unicode()));
        }
    }

    #[test]
    fn keeps_ordinary_text() {
        assert_eq!(clean("naïve `tank/pg` 日本", 100), "naïve `tank/pg` 日本");
    }

    #[test]
    fn cuts_between_characters() {
        assert_eq!(clean("日本語", 7), "日本…");
        assert_eq!(clean("日本語", 9), "日本語");
    }
}
