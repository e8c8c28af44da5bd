//! One request of the query protocol, read: an action and its parameters.

use std::collections::{BTreeMap, BTreeSet};

use super::cloud::Tags;
use super::refusal::Refusal;
use crate::http;

/// An action with its parameters.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) action: String,
    /// Of the protocol.
    pub(super) version: String,
    /// Without `Action` and `Version`.
    pub(super) parameters: BTreeMap<String, String>,
}

impl Call {
    /// Reads the form of a request.
    pub(super) fn read(form: &str) -> Result<Self, Refusal> {
        let plain = |text: &str| http::decoded(&text.replace('+', " "));
        let pairs = form.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let mut parameters: BTreeMap<String, String> = pairs.map(|(name, value)| (plain(name), plain(value))).collect();
        let action = parameters.remove("Action").ok_or_else(|| Refusal::new("MissingAction", "The request has no action."))?;
        let version = parameters.remove("Version").ok_or_else(|| Refusal::missing_parameter("Version"))?;
        Ok(Self { action, version, parameters })
    }

    /// Refuses a parameter that the action does not have; numbers in the known names are written `N`.
    pub(super) fn check_names(&self, known: &[&str]) -> Result<(), Refusal> {
        let pattern = |name: &str| {
            let part = |part: &str| if part.bytes().all(|byte| byte.is_ascii_digit()) { "N".to_owned() } else { part.to_owned() };
            name.split('.').map(part).collect::<Vec<_>>().join(".")
        };
        match self.parameters.keys().find(|name| *name != "DryRun" && !known.contains(&pattern(name).as_str())) {
            None => Ok(()),
            Some(name) => Err(Refusal::new("UnknownParameter", format!("The parameter {name} is not recognized"))),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(|| Refusal::missing_parameter(name))
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let parsed = |value: &str| value.parse().map_err(|_| Refusal::invalid_parameter(name, value));
        self.get(name).map(parsed).transpose()
    }

    /// EC2 takes `true` in any case.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// The values of `Name.1`, `Name.2`, ...
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        self.numbers(name).into_iter().filter_map(|number| self.get(&format!("{name}.{number}")).map(str::to_owned)).collect()
    }

    /// The filters, each with its values.
    pub(super) fn filters(&self) -> Result<Vec<(String, Vec<String>)>, Refusal> {
        let filter = |number: usize| {
            let name = self.required(&format!("Filter.{number}.Name"))?;
            Ok((name.to_owned(), self.list(&format!("Filter.{number}.Value"))))
        };
        self.numbers("Filter").into_iter().map(filter).collect()
    }

    /// The tags that a new resource of this type shall have.
    pub(super) fn tags_for(&self, resource_type: &str) -> Result<Tags, Refusal> {
        let mut tags = Tags::new();
        for number in self.numbers("TagSpecification") {
            let wanted = self.required(&format!("TagSpecification.{number}.ResourceType"))?;
            if wanted != resource_type {
                let message = format!("'{wanted}' is not a valid taggable resource type for this operation.");
                return Err(Refusal::new("InvalidParameterValue", message));
            }
            tags.extend(self.tags(&format!("TagSpecification.{number}.Tag"))?);
        }
        check_tags(&tags)?;
        Ok(tags)
    }

    /// The tags `Prefix.1.Key`, `Prefix.1.Value`, ...
    pub(super) fn tags(&self, prefix: &str) -> Result<Tags, Refusal> {
        let mut tags = Tags::new();
        for number in self.numbers(prefix) {
            let key = self.required(&format!("{prefix}.{number}.Key"))?;
            let value = self.get(&format!("{prefix}.{number}.Value")).unwrap_or_default();
            if tags.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(Refusal::new("InvalidParameterValue", format!("Duplicate tag key '{key}' specified.")));
            }
        }
        Ok(tags)
    }

    /// The numbers that follow this name, in their order.
    fn numbers(&self, name: &str) -> BTreeSet<usize> {
        let number = |key: &String| key.strip_prefix(name)?.strip_prefix('.')?.split('.').next()?.parse().ok();
        self.parameters.keys().filter_map(number).collect()
    }
}

/// What holds for the tags of every resource.
pub(super) fn check_tags(tags: &Tags) -> Result<(), Refusal> {
    const MOST_TAGS: usize = 50;
    const LONGEST_KEY: usize = 128;
    const LONGEST_VALUE: usize = 256;
    for (key, value) in tags {
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(Refusal::new("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use"));
        }
        if key.chars().count() > LONGEST_KEY || value.chars().count() > LONGEST_VALUE {
            return Err(Refusal::new("InvalidParameterValue", format!("Tag {key} exceeds the maximum length.")));
        }
    }
    if tags.len() > MOST_TAGS {
        return Err(Refusal::new("TagLimitExceeded", "The maximum number of Tags for a resource has been reached."));
    }
    Ok(())
}
