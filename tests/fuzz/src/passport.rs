//! Passports: what the labels of a snapshot say of its backup. The input is what is packed into them, or the labels themselves.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use stillframe_core::catalog::Passport;

use crate::Verdict;
use crate::input::Input;

/// What a piece has room for.
const PIECE: usize = 240;

/// What is read can be shown, names a snapshot, and is written and read again as it was.
pub fn target(data: &[u8]) -> Verdict {
    let labels = if data.starts_with(b"{") { packed(data) } else { as_they_are(data) };
    let Ok(passport) = Passport::from_labels(&labels) else { return Verdict::Refused };
    assert_harmless("the host of a passport", &passport.hostname);
    for path in passport.paths.iter().map(|path| &path.path).chain([&passport.data_directory]) {
        assert_harmless("a path of a passport", path.to_str().expect("a path in JSON is text"));
    }
    assert!(!passport.parts.is_empty());
    for part in &passport.parts {
        assert!(!part.token.0.is_empty());
        assert_harmless("a token of a passport", &part.token.0);
        part.volumes.iter().for_each(|volume| assert_harmless("a volume of a passport", &volume.id));
    }
    let labels = passport.to_labels();
    assert!(labels.iter().all(|(key, value)| key.len() <= 128 && value.len() <= 256), "a label that no storage system takes");
    if !labels.is_empty() {
        let again = Passport::from_labels(&labels).expect("what was written can be read");
        let without = Passport { user_data: None, ..passport.clone() };
        assert!(again == passport || again == without, "a passport that is written is read otherwise");
    }
    Verdict::Accepted
}

fn packed(json: &[u8]) -> BTreeMap<String, String> {
    let packed = zstd::bulk::compress(json, 1).expect("bytes in memory can be packed");
    let digits = packed.iter().fold(String::new(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    });
    let piece = |(number, piece): (usize, &[u8])| (label(number), String::from_utf8_lossy(piece).into_owned());
    digits.as_bytes().chunks(PIECE).enumerate().map(piece).collect()
}

fn as_they_are(data: &[u8]) -> BTreeMap<String, String> {
    let mut input = Input::new(data);
    (0..14).map(|number| (label(number), input.text().into_owned())).collect()
}

fn label(number: usize) -> String {
    format!("stillframe-passport-{number:02}")
}

/// Panics when a terminal would act on it. What only misleads a reader's eye is written out where it is shown.
fn assert_harmless(what: &str, text: &str) {
    assert!(!text.chars().any(char::is_control), "{what} moves the cursor: {text:?}");
}
