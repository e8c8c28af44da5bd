//! All that an operator wants to know about a provider before granting it anything.
//!
//! The component is compiled but not trusted: the one function that is called is `describe`, with every capability off.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use stillframe_core::provider::{ProviderDescription, ProviderName};

use crate::capability::Capability;
use crate::component::{Compiled, ComponentBytes};
use crate::digest::Sha256;
use crate::policy::{AwsGrant, CommandGrant, HttpGrant};
use crate::settings::{ComponentSource, Grants, ProviderSettings, TreeGrant};
use crate::text::clean;
use crate::{link, provider, roots};

/// Names of imports and of exports that are shown.
const MAX_NAMES: usize = 200;

/// Bytes of a name that are shown.
const MAX_NAME_BYTES: usize = 200;

/// What a component is, wants and gets.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// Its name in the configuration.
    pub provider: ProviderName,
    /// Where it lies; none for one that is part of this program.
    pub path: Option<PathBuf>,
    /// Its digest.
    pub sha256: Sha256,
    /// The digest that the configuration pins; none for one that is part of this program, or while none was accepted.
    pub pinned_sha256: Option<Sha256>,
    /// Its size.
    pub size_bytes: u64,
    /// The version of the provider interface that it exports.
    pub interface_version: Option<String>,
    /// What it imports.
    pub imports: Vec<String>,
    /// What it exports.
    pub exports: Vec<String>,
    /// The capabilities that it imports, asks for or is granted.
    pub capabilities: Vec<CapabilityReport>,
    /// Directories below which it may restore instead of the directories asked for.
    pub restore_below: Vec<PathBuf>,
    /// What every program of `command` is started through.
    pub command_prefix: Vec<String>,
    /// Why it would not be loaded as it is configured; empty when it would.
    pub problems: Vec<String>,
    /// What it says about itself.
    pub description: Option<ProviderDescription>,
    /// Why it does not say it.
    pub description_problem: Option<String>,
}

/// One capability of a component.
#[derive(Debug, Clone, Serialize)]
pub struct CapabilityReport {
    /// Its name in the interface.
    pub capability: String,
    /// Whether the component imports it. One that it only talks about is never linked.
    pub imported: bool,
    /// The provider's own reason for wanting it.
    pub reason: Option<String>,
    /// What the configuration grants; empty when it grants nothing.
    pub granted: Vec<String>,
}

/// Puts together what is known.
pub(crate) async fn inspection(
    settings: &ProviderSettings,
    bytes: &ComponentBytes,
    size_bytes: u64,
    compiled: &Compiled,
) -> Inspection {
    let described = match link::for_description(&compiled.component) {
        Ok(linked) => provider::describe(&settings.name, &linked, settings.limits).await,
        Err(fault) => Err(fault),
    };
    let (description, description_problem) = match described {
        Ok(description) => (Some(description), None),
        Err(fault) => (None, Some(fault.to_string())),
    };
    let (path, pinned_sha256) = match &settings.component {
        ComponentSource::Embedded { .. } => (None, None),
        ComponentSource::File { path, sha256 } => (Some(path.clone()), *sha256),
    };
    Inspection {
        provider: settings.name.clone(),
        path,
        sha256: bytes.sha256,
        pinned_sha256,
        size_bytes,
        interface_version: compiled.survey.interface_version().map(|version| clean(version, MAX_NAME_BYTES)),
        imports: shown(&compiled.survey.imports),
        exports: shown(&compiled.survey.exports),
        capabilities: capabilities(settings, compiled, description.as_ref()),
        restore_below: settings.grants.restore_below.clone(),
        command_prefix: settings.command_prefix.iter().map(|word| clean(word, usize::MAX)).collect(),
        problems: problems(settings, bytes, compiled),
        description,
        description_problem,
    }
}

/// The same checks as when it is loaded, but all of them.
fn problems(settings: &ProviderSettings, bytes: &ComponentBytes, compiled: &Compiled) -> Vec<String> {
    let mut faults = Vec::new();
    faults.extend(settings.grants.tree.as_ref().and_then(|grant| roots::check_names(grant).err()));
    faults.extend(bytes.check_pin(&settings.component, &settings.name).err());
    let misfits = compiled.survey.faults(&settings.grants);
    if misfits.is_empty() {
        faults.extend(link::for_operations(&compiled.component, &compiled.survey.capabilities()).err());
    }
    faults.into_iter().chain(misfits).map(|fault| fault.to_string()).collect()
}

fn capabilities(
    settings: &ProviderSettings,
    compiled: &Compiled,
    description: Option<&ProviderDescription>,
) -> Vec<CapabilityReport> {
    let mut reasons: BTreeMap<String, Option<String>> = BTreeMap::new();
    let imported = compiled.survey.capabilities();
    for capability in &imported {
        reasons.insert(capability.to_string(), None);
    }
    for need in description.iter().flat_map(|description| &description.needs) {
        reasons.insert(need.capability.clone(), Some(need.reason.clone()));
    }
    let mut granted = granted(&settings.grants);
    for capability in granted.keys() {
        reasons.entry(capability.to_string()).or_default();
    }
    let report = |(capability, reason): (String, Option<String>)| CapabilityReport {
        imported: imported.iter().any(|imported| imported.as_str() == capability),
        granted: granted.remove(capability.as_str()).unwrap_or_default(),
        capability,
        reason,
    };
    reasons.into_iter().map(report).collect()
}

/// Every grant in words, one line for each thing that it allows.
fn granted(grants: &Grants) -> BTreeMap<&'static str, Vec<String>> {
    let Grants { tree, command, aws, http, restore_below: _ } = grants;
    let words = [
        (Capability::Tree, tree.as_ref().map(granted_trees)),
        (Capability::Command, command.as_ref().map(CommandGrant::explain)),
        (Capability::Aws, aws.as_ref().map(AwsGrant::explain)),
        (Capability::Http, http.as_ref().map(HttpGrant::explain)),
    ];
    // Whole, however long they are: what is cut could be what matters.
    let readable = |words: Vec<String>| words.iter().map(|line| clean(line, usize::MAX)).collect();
    words.into_iter().filter_map(|(capability, words)| Some((capability.as_str(), readable(words?)))).collect()
}

fn granted_trees(grant: &TreeGrant) -> Vec<String> {
    let roots = grant.roots.iter().map(|(name, path)| format!("read and write `{}` as `{name}`", path.display()));
    let data = grant
        .read_data
        .then(|| "clone the cluster's directories, without reading a file of them, while a snapshot set is created".to_owned());
    let restore = grant.write_restore.then(|| "fill the directories that a snapshot set is restored to".to_owned());
    roots.chain(data).chain(restore).collect()
}

fn shown(names: &[String]) -> Vec<String> {
    let rest = names.len().saturating_sub(MAX_NAMES);
    let shown = names.iter().take(MAX_NAMES).map(|name| clean(name, MAX_NAME_BYTES));
    shown.chain((rest > 0).then(|| format!("and {rest} more"))).collect()
}

#[cfg(test)]
mod tests {
    use crate::settings::{Grants, TreeGrant};

    #[test]
    fn nothing_that_is_granted_can_hide_or_be_cut() {
        let mut tree = TreeGrant::default();
        tree.roots.insert("a\u{1b}[2K".to_owned(), format!("/\u{202e}{}z", "x".repeat(10_000)).into());
        let granted = super::granted(&Grants { tree: Some(tree), ..Grants::default() }).remove("tree").unwrap();
        assert_eq!(granted.len(), 1);
        assert!(granted[0].ends_with("xz` as `a\\u{1b}[2K`") && granted[0].contains("`/\\u{202e}xx"), "{}", granted[0]);
    }

    #[test]
    fn tells_how_many_names_are_not_shown() {
        let names = vec!["name".to_owned(); 203];
        assert_eq!(super::shown(&names[..200]).len(), 200);
        assert_eq!(super::shown(&names).last().unwrap(), "and 3 more");
    }
}
