//! What becomes of each setting: taken, handed to the connection, secret, passed over or refused. Every one ends in one of these.

use std::collections::BTreeMap;

use super::super::{Origin, Value, Variables, keys};
use super::table::{self, Found, Scope, Treatment};
use super::{place, translate};

/// What becomes of the settings.
#[derive(Default)]
pub struct Plan {
    /// Keys of ours, with their values.
    pub taken: Vec<Taken>,
    /// Setting, keyword of the connection string and value.
    pub connection: Vec<(String, &'static str, String)>,
    /// Setting, and where its value belongs, which is not in here.
    pub secrets: Vec<(String, &'static str)>,
    /// Settings without effect, with the reason.
    pub passed: Vec<(String, String)>,
    /// Settings that cannot be honoured, with the reason.
    pub refused: Vec<(String, String)>,
}

/// A value for one of our keys.
#[derive(Debug)]
pub struct Taken {
    /// The key.
    pub key: &'static str,
    /// The value.
    pub text: String,
    /// The settings that it comes from.
    pub names: Vec<String>,
    /// A number that we count in another way or bound, as it was.
    pub was: Option<String>,
}

/// Decides about all settings, beside the values that are ours already. Those are stronger, unless nobody chose them.
pub fn plan(settings: &Variables, own: &BTreeMap<String, Value>) -> Plan {
    let mut plan = Plan::default();
    let mut scheme = None;
    match place::read(settings) {
        Ok(Some(place)) => {
            scheme = place.url.split_once("://").map(|(scheme, _)| scheme.to_owned());
            plan.take_place(place, own);
        }
        Ok(None) => {}
        Err(refused) => plan.refused.extend(refused),
    }
    let mut known: Vec<(Found, &str, &str)> = Vec::new();
    for (name, value) in settings.iter().filter(|(_, value)| !value.is_empty()) {
        match table::find(name) {
            Some(found) => known.push((found, name, value)),
            None => match table::family(name) {
                Some(treatment) => plan.decide(name, value, treatment, own),
                None => plan.refused.push((name.clone(), "it is no setting of WAL-G for PostgreSQL that is known here".to_owned())),
            },
        }
    }
    // In the order of the table, so that of two names for one thing the first one counts.
    known.sort_by_key(|(found, name, _)| (found.position, found.name != *name, *name));
    for (found, name, value) in known {
        match without_meaning(&found, scheme.as_deref(), settings) {
            Some(reason) => plan.passed.push((name.to_owned(), reason)),
            None => plan.decide(name, value, &found.setting.treatment, own),
        }
    }
    plan.drop_what_lost_its_meaning(own);
    plan
}

/// Why a setting has no meaning beside the others.
fn without_meaning(found: &Found, scheme: Option<&str>, settings: &Variables) -> Option<String> {
    let of_scheme = match found.setting.scope {
        Scope::Any => None,
        Scope::S3 => Some("s3"),
        Scope::Google => Some("gs"),
        Scope::Azure => Some("az"),
    };
    if let (Some(expected), Some(scheme)) = (of_scheme, scheme)
        && expected != scheme
    {
        return Some(format!("it is about stores at {expected}://, and this one is at {scheme}://"));
    }
    match found.name {
        // The client of AWS takes on this role with the token; to do so once more would be refused.
        "AWS_ROLE_ARN" if settings.contains_key("AWS_WEB_IDENTITY_TOKEN_FILE") => {
            Some("it belongs to AWS_WEB_IDENTITY_TOKEN_FILE, which the store reads from the environment".to_owned())
        }
        "AWS_PROFILE" | "AWS_SHARED_CREDENTIALS_FILE" if settings.contains_key("AWS_ACCESS_KEY_ID") => {
            Some("AWS_ACCESS_KEY_ID comes before it".to_owned())
        }
        _ => None,
    }
}

impl Plan {
    fn take_place(&mut self, place: place::Place, own: &BTreeMap<String, Value>) {
        let cluster = own.get("cluster.name").filter(|value| value.origin != Origin::Default);
        if let Some(cluster) = cluster.filter(|cluster| cluster.text != place.cluster) {
            let reason = format!(
                "it ends in the cluster `{}`, and `cluster.name` {} is `{}`: set `url` under `[store]` as well",
                place.cluster, cluster.origin, cluster.text
            );
            self.refused.push((place.names.join(" and "), reason));
            return;
        }
        if cluster.is_none() {
            self.taken.push(Taken { key: "cluster.name", text: place.cluster, names: place.names.clone(), was: None });
        }
        self.taken.push(Taken { key: "store.url", text: place.url, names: place.names, was: None });
    }

    fn decide(&mut self, name: &str, value: &str, treatment: &Treatment, own: &BTreeMap<String, Value>) {
        let owned = name.to_owned();
        match treatment {
            // Both are in the place.
            Treatment::Place(_) | Treatment::Folder => {}
            Treatment::Key(key, translate) => self.take(name, value, key, *translate, own),
            Treatment::Connection(keyword) => self.connection.push((owned, keyword, value.to_owned())),
            Treatment::Secret(belongs) => self.secrets.push((owned, belongs)),
            Treatment::Passed(reason) => self.passed.push((owned, (*reason).to_owned())),
            Treatment::Refused(reason) => self.refused.push((owned, (*reason).to_owned())),
            Treatment::RefusedUnless(harmless, reason) => {
                if harmless.iter().any(|word| word.eq_ignore_ascii_case(value)) {
                    self.passed.push((owned, "it asks for what happens anyway".to_owned()));
                } else {
                    self.refused.push((owned, (*reason).to_owned()));
                }
            }
        }
    }

    fn take(&mut self, name: &str, value: &str, key: &'static str, translate: translate::Translate, own: &BTreeMap<String, Value>) {
        if let Some(ours) = own.get(key).filter(|value| value.origin != Origin::Default) {
            self.passed.push((name.to_owned(), format!("`{key}` {} comes before it", ours.origin)));
            return;
        }
        if let Some(first) = self.taken.iter().find(|taken| taken.key == key) {
            self.passed.push((name.to_owned(), format!("{} comes before it", first.names.join(" and "))));
            return;
        }
        let checked = translate(value).and_then(|text| {
            let kind = keys::find(key).map(|key| key.kind);
            kind.map_or(Ok(()), |kind| kind.check(&Value::new(&text, Origin::Default))).map(|()| text)
        });
        match checked {
            Ok(text) => {
                let was = (text.parse::<u64>().is_ok() && text != value).then(|| value.to_owned());
                self.taken.push(Taken { key, text, names: vec![name.to_owned()], was });
            }
            Err(reason) => self.refused.push((name.to_owned(), reason)),
        }
    }

    /// WAL-G reads these only beside another setting, and to us they would be a contradiction.
    fn drop_what_lost_its_meaning(&mut self, own: &BTreeMap<String, Value>) {
        for (key, beside, needed) in
            [("archive.level", "archive.compression", "zstd"), ("store.sse_kms_key", "store.sse", "aws:kms")]
        {
            let chosen = own.get(beside).filter(|value| value.origin != Origin::Default).map(|value| value.text.clone());
            let taken = || self.taken.iter().find(|taken| taken.key == beside).map(|taken| taken.text.clone());
            let default = || keys::find(beside).and_then(|key| key.default).map(str::to_owned);
            if chosen.or_else(taken).or_else(default).as_deref() == Some(needed) {
                continue;
            }
            if let Some(at) = self.taken.iter().position(|taken| taken.key == key) {
                let dropped = self.taken.remove(at);
                let reason = format!("it has a meaning only beside `{beside} = \"{needed}\"`");
                self.passed.extend(dropped.names.into_iter().map(|name| (name, reason.clone())));
            }
        }
    }
}
