//! One rule: an action, and what its parameters must look like.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use crate::policy::pattern::Times;
use crate::policy::{Keys, Pattern, PolicyError};

/// A rule as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum WrittenRule {
    Action(String),
    Conditional(WrittenConditional),
}

/// A rule that looks at parameters.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenConditional {
    action: String,
    #[serde(default)]
    when: BTreeMap<String, String>,
}

/// Allows an action, or all whose names begin so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsRule {
    pub(super) service: String,
    /// Without the `*`.
    action: String,
    is_prefix: bool,
    pub(super) when: Vec<Condition>,
}

/// What the parameters whose names fit must look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    names: String,
    pub(super) pattern: Pattern,
}

impl WrittenRule {
    /// Checks a rule, and puts in what the provider's section says.
    pub(super) fn resolve(&self, place: &str, keys: &Keys<'_>) -> Result<AwsRule, PolicyError> {
        let (written, when) = match self {
            Self::Action(action) => (action, None),
            Self::Conditional(WrittenConditional { action, when }) => (action, Some(when)),
        };
        let wrong = |reason: &str| PolicyError::rule(place, format!("`{written}` {reason}"));
        let (service, action) = written.split_once(':').ok_or_else(|| wrong("is not written like `ec2:CreateSnapshots`"))?;
        let (action, is_prefix) = action.strip_suffix('*').map_or((action, false), |prefix| (prefix, true));
        if !super::is_host_label(service) {
            return Err(wrong("names no service, such as `ec2`; a `*` can stand at the end of an action alone"));
        }
        if !action.bytes().all(|byte| byte.is_ascii_alphanumeric()) || (action.is_empty() && !is_prefix) {
            return Err(wrong("names no action of letters and digits; a `*` can stand at its end alone"));
        }
        let conditions = when.into_iter().flatten().map(|(names, pattern)| Condition::resolve(names, pattern, place, keys));
        let when = conditions.collect::<Result<_, _>>()?;
        Ok(AwsRule { service: service.to_owned(), action: action.to_owned(), is_prefix, when })
    }
}

impl AwsRule {
    /// Whether the rule is about this action.
    pub(super) fn is_about(&self, service: &str, action: &str) -> bool {
        let fits = if self.is_prefix { action.starts_with(&self.action) } else { action == self.action };
        service == self.service && fits
    }
}

impl Condition {
    fn resolve(names: &str, pattern: &str, place: &str, keys: &Keys<'_>) -> Result<Self, PolicyError> {
        let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'*');
        if names.is_empty() || !names.bytes().all(is_fine) {
            let reason = format!("`{names}` is no name of parameters, such as `ResourceId.*`");
            return Err(PolicyError::rule(format!("{place}.when"), reason));
        }
        let pattern = Pattern::parse(pattern, &format!("{place}.when.{names}"), keys)?;
        if pattern.times != Times::Once {
            return Err(PolicyError::rule(format!("{place}.when.{names}"), "a parameter has one value: leave out `...` and `?`"));
        }
        Ok(Self { names: names.to_owned(), pattern })
    }

    /// Whether it is about a parameter of this name. The case of letters makes no difference: a service that overlooks it must not
    /// make a rule be overlooked.
    pub(super) fn is_about(&self, name: &str) -> bool {
        fits(&self.names.to_ascii_lowercase(), &name.to_ascii_lowercase())
    }
}

/// Compares with `*` for any characters, dots included: a condition should rather be about too many parameters than too few.
fn fits(glob: &str, name: &str) -> bool {
    let Some((begin, rest)) = glob.split_once('*') else { return glob == name };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(mut open) = name.strip_prefix(begin).and_then(|name| name.strip_suffix(end)) else { return false };
    // The first place of each piece leaves most to the others, so that no other has to be tried.
    middle.split('*').all(|piece| {
        let found = open.split_once(piece);
        open = found.map_or(open, |(_, behind)| behind);
        found.is_some()
    })
}

impl fmt::Display for AwsRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.is_prefix { "*" } else { "" };
        write!(formatter, "`{}:{}{star}`", self.service, self.action)?;
        for (number, condition) in self.when.iter().enumerate() {
            let joint = if number == 0 { " with" } else { " and" };
            write!(formatter, "{joint} `{}` only as `{}`", condition.names, condition.pattern)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn no_name_takes_long_to_compare() {
        let begin = std::time::Instant::now();
        assert!(!fits(&"*a".repeat(50), &("a".repeat(10_000) + "b")));
        assert!(!fits(&("*a".repeat(50) + "b*c"), &"a".repeat(10_000)));
        assert!(begin.elapsed() < std::time::Duration::from_secs(10));
    }

    #[test]
    fn a_star_in_a_name_stands_for_anything() {
        for (glob, name) in [("resourceid.*", "resourceid.1"), ("*", "x"), ("tag.*.key", "tag.1.key"), ("tag*key", "tag.1.2.key")] {
            assert!(fits(glob, name), "{glob} {name}");
        }
        for (glob, name) in [("resourceid.*", "resourceid"), ("tag.*.key", "tag.1.value"), ("x", "xy"), ("x", "ax")] {
            assert!(!fits(glob, name), "{glob} {name}");
        }
        for (glob, name) in [("a*b*c", "axbyc"), ("a**c", "ac"), ("*a*a*", "aa"), ("*.1.*", "x.1.y"), ("ab*bc", "abbc")] {
            assert!(fits(glob, name), "{glob} {name}");
        }
        for (glob, name) in [("a*b*c", "axcyb"), ("*a*a*", "a"), ("ab*bc", "abc"), ("a*a", "a"), ("*x*", "y")] {
            assert!(!fits(glob, name), "{glob} {name}");
        }
    }
}
