//! What a policy says about `aws`: regions, an endpoint, and actions as IAM writes them.
//!
//! `ec2:Describe*` allows by its name alone; `{ action = "ec2:CreateTags", when = { "ResourceId.*" = "snap-{name}" } }` also
//! looks at parameters: each one whose name fits must have a value that fits. The service is always written out, since it is a
//! part of the host name. Whose credentials sign is decided here too, and a provider never learns it.

mod permit;
mod rule;

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Keys, PolicyError};

pub(crate) use permit::Asked;
pub use rule::AwsRule;
use rule::WrittenRule;
use stillframe_core::text::is_dangerous;

/// The table `[aws]` of a policy, as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwsPolicy {
    region: Option<OneOrMore>,
    endpoint: Option<String>,
    allow: Option<Vec<WrittenRule>>,
    profile: Option<String>,
    role_arn: Option<String>,
    credentials_file: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// What a provider may ask of AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsGrant {
    /// At least one; a request that names none goes to the first.
    regions: Vec<String>,
    endpoint: Option<String>,
    allow: Vec<AwsRule>,
    identity: AwsIdentity,
}

/// Whose credentials sign the calls; where nothing is named, the usual chain of the environment decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AwsIdentity {
    /// A section of the credentials file and the configuration file.
    pub profile: Option<String>,
    /// A role to assume with the credentials at hand.
    pub role_arn: Option<String>,
    /// A shared credentials file in place of the user's own.
    pub credentials_file: Option<PathBuf>,
}

impl AwsPolicy {
    /// What an operator wrote, with the rest from the policy that the provider brings along: who only names a profile need not
    /// repeat all rules.
    #[must_use]
    pub fn or(self, bundled: &Self) -> Self {
        Self {
            region: self.region.or_else(|| bundled.region.clone()),
            endpoint: self.endpoint.or_else(|| bundled.endpoint.clone()),
            allow: self.allow.or_else(|| bundled.allow.clone()),
            profile: self.profile.or_else(|| bundled.profile.clone()),
            role_arn: self.role_arn.or_else(|| bundled.role_arn.clone()),
            credentials_file: self.credentials_file.or_else(|| bundled.credentials_file.clone()),
        }
    }

    /// Puts in what the provider's section says.
    pub fn resolve(&self, keys: &Keys<'_>) -> Result<AwsGrant, PolicyError> {
        let (regions, endpoint, identity) = (self.regions(keys)?, self.endpoint(keys)?, self.identity()?);
        let Some(written) = &self.allow else {
            return Err(PolicyError::rule("aws.allow", "it is missing: name actions, such as `ec2:CreateSnapshots`"));
        };
        let written = written.iter().enumerate();
        let allow = written.map(|(number, rule)| rule.resolve(&format!("aws.allow[{number}]"), keys));
        Ok(AwsGrant { regions, endpoint, allow: allow.collect::<Result<_, _>>()?, identity })
    }

    fn regions(&self, keys: &Keys<'_>) -> Result<Vec<String>, PolicyError> {
        let written = match &self.region {
            None => &[],
            Some(OneOrMore::One(region)) => std::slice::from_ref(region),
            Some(OneOrMore::More(regions)) => regions.as_slice(),
        };
        let mut regions = Vec::new();
        for text in written {
            for region in keys.texts(text, "name the region, such as `eu-central-1`")? {
                if !is_host_label(&region) {
                    let reason = format!("`{region}` is no region, such as `eu-central-1`");
                    return Err(match Keys::reference(text) {
                        Some(key) => PolicyError::key(key, reason),
                        None => PolicyError::rule("aws.region", reason),
                    });
                }
                regions.push(region);
            }
        }
        if regions.is_empty() {
            return Err(PolicyError::rule("aws.region", "it is missing: name at least one region"));
        }
        Ok(regions)
    }

    fn endpoint(&self, keys: &Keys<'_>) -> Result<Option<String>, PolicyError> {
        let Some(written) = &self.endpoint else { return Ok(None) };
        let reference = Keys::reference(written);
        let endpoint = match reference {
            Some(key) => keys.optional(key)?,
            None => Some(written.clone()),
        };
        match endpoint {
            // Not shown: somebody may have written a password into it.
            Some(endpoint) if !is_base_url(&endpoint) => {
                let reason = "write `https://host` or `https://host:port` in small letters, without the port that goes without saying, and nothing behind it";
                Err(reference.map_or_else(|| PolicyError::rule("aws.endpoint", reason), |key| PolicyError::key(key, reason)))
            }
            Some(endpoint) => Ok(Some(endpoint.trim_end_matches('/').to_owned())),
            None => Ok(None),
        }
    }

    fn identity(&self) -> Result<AwsIdentity, PolicyError> {
        if self.credentials_file.as_deref().is_some_and(Path::is_relative) {
            return Err(PolicyError::rule("aws.credentials_file", "it must be an absolute path"));
        }
        for (key, text) in [("aws.profile", &self.profile), ("aws.role_arn", &self.role_arn)] {
            if text.iter().any(|text| text.chars().any(is_dangerous)) {
                return Err(PolicyError::rule(key, "it holds control characters"));
            }
        }
        let Self { profile, role_arn, credentials_file, .. } = self.clone();
        Ok(AwsIdentity { profile, role_arn, credentials_file })
    }
}

impl AwsGrant {
    /// The grant in words, one line for each thing that it allows.
    #[must_use]
    pub fn explain(&self) -> Vec<String> {
        let regions: Vec<String> = self.regions.iter().map(|region| format!("`{region}`")).collect();
        let place = match &self.endpoint {
            Some(endpoint) => {
                let danger = if endpoint.starts_with("http://") { ", unencrypted" } else { "" };
                format!("at `{endpoint}`{danger}, signed for {}", regions.join(", "))
            }
            None => format!("in {}", regions.join(", ")),
        };
        let calls = self.allow.iter().map(|rule| format!("call {rule} {place}"));
        calls.chain(std::iter::once(self.identity.explain())).collect()
    }

    /// Where a service of a region is reached.
    pub(crate) fn base_url(&self, service: &str, region: &str) -> String {
        let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        self.endpoint.clone().unwrap_or_else(|| format!("https://{service}.{region}.{suffix}"))
    }

    /// Whose credentials sign.
    pub(crate) fn identity(&self) -> &AwsIdentity {
        &self.identity
    }

    /// The region of a request that names none.
    pub(crate) fn first_region(&self) -> &str {
        self.regions.first().map_or("", String::as_str)
    }
}

impl AwsIdentity {
    fn explain(&self) -> String {
        let mut words = match (&self.profile, &self.credentials_file) {
            (Some(profile), Some(file)) => format!("sign with the profile `{profile}` of `{}`", file.display()),
            (Some(profile), None) => format!("sign with the profile `{profile}`"),
            (None, Some(file)) => format!("sign with the credentials in `{}`", file.display()),
            (None, None) => "sign with the credentials of the environment".to_owned(),
        };
        if let Some(role) = &self.role_arn {
            words = format!("{words}, in the role `{role}`");
        }
        format!("{words}; the provider sees neither keys nor signatures")
    }
}

/// Whether a text can be one part of a host name, so that it cannot lead to another host.
fn is_host_label(text: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(is_fine) && !text.starts_with('-') && !text.ends_with('-')
}

/// Scheme, host and port: a path would not be signed as it is sent, and a password would stand in messages. Spelled as it is sent, or
/// an operator who reads it would take it for another.
fn is_base_url(text: &str) -> bool {
    let Ok(url) = url::Url::parse(text) else { return false };
    if url.as_str().trim_end_matches('/') != text.trim_end_matches('/') {
        return false;
    }
    let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    matches!(url.scheme(), "http" | "https") && url.has_host() && url.path() == "/" && is_plain && !text.contains('@')
}

#[cfg(test)]
mod tests;
