//! Takes out of an answer what the provider must not know.
//!
//! A service that refuses a signature quotes the request that it expected, session token included, and a server that echoes its
//! request repeats all of it.

use aws_credential_types::Credentials;

use crate::capability::secret::Secret;

/// What stands in the place of a secret.
const REMOVED: &str = "[removed by stillframe]";

/// Shorter ones are placeholders of tests; taking out each `x` would only garble the answer.
const MIN_SECRET_BYTES: usize = 8;

/// The secrets of one request.
pub(super) struct Veil(Vec<Secret>);

impl Veil {
    /// Knows the keys and the signature.
    pub(super) fn new(keys: &Credentials, signature: &str) -> Self {
        let plain = [Some(keys.access_key_id()), Some(keys.secret_access_key()), keys.session_token(), Some(signature)];
        let plain = plain.into_iter().flatten().map(str::trim).filter(|secret| secret.len() >= MIN_SECRET_BYTES);
        Self(plain.map(Secret::new).collect())
    }

    /// The text without them.
    pub(super) fn over(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| without(secret, text))
    }
}

fn without(secret: &Secret, text: String) -> String {
    let mut rest = 0;
    let mut veiled = String::new();
    while let Some(place) = secret.find(text.as_bytes(), rest) {
        veiled.push_str(&text[rest..place.start]);
        veiled.push_str(REMOVED);
        rest = place.end;
    }
    if rest == 0 {
        return text;
    }
    veiled.push_str(&text[rest..]);
    veiled
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
            "token/token%2Btoken%3D%3D",
            "token/token\\u002Btoken==",
            "deadbeefdeadbeef",
        ] {
            assert_eq!(veil.over(&format!("<a>{secret}</a>")), "<a>[removed by stillframe]</a>");
        }
        assert_eq!(veil.over("snap-deadbeef token"), "snap-deadbeef token");
        let twice = "[removed by stillframe]日[removed by stillframe]";
        assert_eq!(veil.over("AKIAEXAMPLEKEY日wJalr%2FXUtn+FEMI="), twice);
    }
}
