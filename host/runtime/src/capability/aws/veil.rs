//! Takes out of an answer what the provider must not know.
//!
//! A service that refuses a signature quotes the request that it expected, session token included, and a server that echoes its
//! request repeats all of it.

use aws_credential_types::Credentials;

/// What stands in the place of a secret.
const REMOVED: &str = "[removed by stillframe]";

/// Shorter ones are placeholders of tests; taking out each `x` would only garble the answer.
const MIN_SECRET_BYTES: usize = 8;

/// The secrets of one request, in every spelling that an answer may use.
pub(super) struct Veil(Vec<String>);

impl Veil {
    /// Knows the keys and the signature.
    pub(super) fn new(keys: &Credentials, signature: &str) -> Self {
        let plain = [Some(keys.access_key_id()), Some(keys.secret_access_key()), keys.session_token(), Some(signature)];
        let plain = plain.into_iter().flatten().map(str::trim).filter(|secret| secret.len() >= MIN_SECRET_BYTES);
        Self(plain.flat_map(spellings).collect())
    }

    /// The text without them.
    pub(super) fn over(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), REMOVED);
            }
        }
        text
    }
}

/// As it is, and with its marks (keys are letters, digits, `+`, `/` and `=`) escaped as a form, JSON or XML may do it.
fn spellings(secret: &str) -> Vec<String> {
    let escapes: [fn(u8) -> String; 7] = [
        |mark| char::from(mark).to_string(),
        |mark| format!("%{mark:02X}"),
        |mark| format!("%{mark:02x}"),
        |mark| if mark == b'/' { "\\/".to_owned() } else { char::from(mark).to_string() },
        |mark| format!("\\u00{mark:02x}"),
        |mark| format!("&#{mark};"),
        |mark| format!("&#x{mark:02X};"),
    ];
    let spelled = |escape: fn(u8) -> String| {
        let piece = |letter: char| match letter {
            '+' => escape(b'+'),
            '/' => escape(b'/'),
            '=' => escape(b'='),
            other => other.to_string(),
        };
        secret.chars().map(piece).collect::<String>()
    };
    let mut all: Vec<String> = escapes.into_iter().map(spelled).collect();
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;

    use super::Veil;

    #[test]
    fn takes_out_every_secret_in_every_spelling_and_nothing_else() {
        let keys = Credentials::new("AKIAEXAMPLEKEY", "wJalr/XUtn+FEMI=", Some("token/token+token==".to_owned()), None, "test");
        let veil = Veil::new(&keys, "deadbeefdeadbeef");
        for secret in [
            "AKIAEXAMPLEKEY",
            "wJalr/XUtn+FEMI=",
            "token/token+token==",
            "token\\/token+token==",
            "token%2Ftoken%2Btoken%3D%3D",
            "token%2ftoken%2btoken%3d%3d",
            "token\\u002ftoken\\u002btoken\\u003d\\u003d",
            "token&#47;token&#43;token&#61;&#61;",
            "deadbeefdeadbeef",
        ] {
            assert_eq!(veil.over(&format!("<a>{secret}</a>")), "<a>[removed by stillframe]</a>");
        }
        assert_eq!(veil.over("snap-deadbeef token"), "snap-deadbeef token");
    }
}
