//! Judges a call, and says which rule is missing where it refuses.

use super::{AwsGrant, is_host_label};
use crate::text::clean;

/// Bytes of a guest's word that a refusal quotes.
const MAX_QUOTED_BYTES: usize = 200;

/// Parameters of one request, and bytes of a parameter's name: thousands of ids can be asked about at once, and the longest names have
/// some eighty bytes.
const MAX_PARAMS: usize = 10_000;
const MAX_NAME_BYTES: usize = 256;

/// Names that the host sets, or that would sign a request for somebody else.
const OWN_NAMES: [&str; 8] =
    ["action", "version", "awsaccesskeyid", "signature", "signaturemethod", "signatureversion", "securitytoken", "timestamp"];

/// A call as far as a policy looks at it.
pub(crate) struct Asked<'a> {
    pub(crate) service: &'a str,
    pub(crate) action: &'a str,
    pub(crate) region: Option<&'a str>,
    /// None for the JSON protocol, whose parameters a rule cannot look at.
    pub(crate) params: Option<&'a [(String, String)]>,
}

impl AwsGrant {
    /// The region to call, or why the call is refused.
    pub(crate) fn permit<'a>(&'a self, asked: &Asked<'a>) -> Result<&'a str, String> {
        // Before anything is compared: what is no name at all could still begin like one that is allowed.
        if !is_host_label(asked.service)
            || asked.action.is_empty()
            || !asked.action.bytes().all(|byte| byte.is_ascii_alphanumeric())
        {
            return Err(format!("{} is no action of a service", quoted(&format!("{}:{}", asked.service, asked.action))));
        }
        let params = asked.params.unwrap_or_default();
        if params.len() > MAX_PARAMS {
            return Err(format!("a request has at most {MAX_PARAMS} parameters"));
        }
        for (name, _) in params {
            check_name(name)?;
        }
        self.check_rules(asked)?;
        let Some(region) = asked.region else { return Ok(self.first_region()) };
        match self.regions.iter().find(|granted| *granted == region) {
            Some(granted) => Ok(granted),
            None => Err(format!("the region {} is not granted: the policy names `{}`", quoted(region), self.regions.join("`, `"))),
        }
    }

    fn check_rules(&self, asked: &Asked<'_>) -> Result<(), String> {
        let mut reason = format!("no rule of the policy allows `{}:{}`", asked.service, asked.action);
        for rule in self.allow.iter().filter(|rule| rule.is_about(asked.service, asked.action)) {
            let Some(params) = asked.params else {
                if rule.when.is_empty() {
                    return Ok(());
                }
                reason = format!("{rule} looks at parameters, which a request in the JSON protocol has none of");
                continue;
            };
            let violates = |(name, value): &&(String, String)| {
                rule.when.iter().any(|condition| condition.is_about(name) && !condition.pattern.matches(value))
            };
            match params.iter().find(violates) {
                None => return Ok(()),
                Some((name, value)) => reason = format!("the policy allows {rule}, and `{name}` is {}", quoted(value)),
            }
        }
        Err(reason)
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_');
    // An empty part is nobody's name, and a service that overlooks it would read another parameter than a rule.
    if name.len() > MAX_NAME_BYTES || !name.bytes().all(is_fine) || name.split('.').any(str::is_empty) {
        return Err(format!("{} is no name of a parameter", quoted(name)));
    }
    if OWN_NAMES.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(format!("the parameter `{name}` is the host's own"));
    }
    Ok(())
}

fn quoted(word: &str) -> String {
    format!("`{}`", clean(word, MAX_QUOTED_BYTES))
}
