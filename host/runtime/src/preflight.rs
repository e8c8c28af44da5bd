//! What a component imports and exports, and whether it may be loaded: found out from names alone, before any of its code runs.

use std::collections::BTreeSet;

use stillframe_core::provider::ProviderFault;
use wasmtime::component::Component;

use crate::capability::Capability;
use crate::settings::Grants;
use crate::text::clean;

/// Our package in the WIT.
const PACKAGE: &str = "stillframe:provider";

/// The major version of it that this host speaks.
const MAJOR: &str = "1";

/// What every provider exports.
const PROVIDER: &str = "provider";

/// Packages of WASI that keep a language's runtime alive; they are linked with an empty context.
const RUNTIME_PACKAGES: &[&str] = &["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:io", "wasi:random", "wasi:sockets"];

/// The version of WASI that is linked.
const WASI_VERSION: &str = "0.2.";

/// Names that one message lists.
const MAX_NAMES: usize = 4;

/// Bytes of a name that are shown.
const MAX_NAME_BYTES: usize = 160;

/// The names of a component's imports and exports.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
}

impl Survey {
    /// Reads the names.
    pub(crate) fn of(component: &Component) -> Self {
        let (component_type, engine) = (component.component_type(), component.engine());
        let imports = component_type.imports(engine).map(|(name, _)| name.to_owned()).collect();
        let exports = component_type.exports(engine).map(|(name, _)| name.to_owned()).collect();
        Self { imports, exports }
    }

    /// The capabilities that it imports.
    pub(crate) fn capabilities(&self) -> BTreeSet<Capability> {
        let own = self.imports.iter().filter_map(|name| Name::of_package(name, PACKAGE));
        own.filter_map(|name| Capability::of_interface(name.interface)).collect()
    }

    /// The version of our interface that it exports.
    pub(crate) fn interface_version(&self) -> Option<&str> {
        self.exports.iter().filter_map(|name| Name::of_package(name, PACKAGE)).find(|name| name.interface == PROVIDER)?.version
    }

    /// Everything that keeps it from being loaded, the most fundamental first.
    pub(crate) fn faults(&self, grants: &Grants) -> Vec<ProviderFault> {
        let mut faults = Vec::new();
        let ours = self.imports.iter().chain(&self.exports).filter_map(|name| Name::of_package(name, PACKAGE));
        let other_version: Vec<String> =
            ours.filter(|name| name.major() != Some(MAJOR)).map(|name| name.whole.to_owned()).collect();
        if !other_version.is_empty() {
            let names = listed(&other_version);
            faults.push(unusable(format!("it is built for {names}, but this host speaks version {MAJOR} of `{PACKAGE}`")));
        } else if self.interface_version().is_none() {
            let exports = if self.exports.is_empty() { "nothing".to_owned() } else { listed(&self.exports) };
            faults.push(unusable(format!("it exports {exports}, but not `{PACKAGE}/{PROVIDER}@{MAJOR}`")));
        }
        let foreign: Vec<String> = self.imports.iter().filter(|name| !is_known(name)).cloned().collect();
        if !foreign.is_empty() {
            faults.push(unusable(format!("it imports {}, which this host does not provide", listed(&foreign))));
        }
        faults.extend(self.capabilities().into_iter().filter_map(|capability| grants.refusal(capability)));
        faults
    }
}

impl Grants {
    /// Why a component that imports this capability is not loaded; none when it is granted.
    fn refusal(&self, capability: Capability) -> Option<ProviderFault> {
        let is_granted = match capability {
            Capability::Tree => self.tree.is_some(),
            Capability::Command => self.command.is_some(),
            Capability::Aws => self.aws.is_some(),
            Capability::Http => self.http.is_some(),
        };
        (!is_granted).then(|| ProviderFault::NotGranted(capability.to_string()))
    }
}

/// The parts of `namespace:package/interface@version`.
struct Name<'a> {
    whole: &'a str,
    package: &'a str,
    interface: &'a str,
    version: Option<&'a str>,
}

impl<'a> Name<'a> {
    fn parse(whole: &'a str) -> Option<Self> {
        let (package, rest) = whole.split_once('/')?;
        let (interface, version) = rest.split_once('@').map_or((rest, None), |(interface, version)| (interface, Some(version)));
        Some(Self { whole, package, interface, version })
    }

    fn of_package(whole: &'a str, package: &str) -> Option<Self> {
        Self::parse(whole).filter(|name| name.package == package)
    }

    fn major(&self) -> Option<&'a str> {
        self.version?.split('.').next()
    }
}

/// Whether this host has it, granted or not.
fn is_known(import: &str) -> bool {
    let Some(name) = Name::parse(import) else { return false };
    if name.package == PACKAGE {
        return matches!(name.interface, "types" | "host") || Capability::of_interface(name.interface).is_some();
    }
    RUNTIME_PACKAGES.contains(&name.package) && name.version.is_some_and(|version| version.starts_with(WASI_VERSION))
}

fn listed(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(MAX_NAMES).map(|name| format!("`{}`", clean(name, MAX_NAME_BYTES))).collect();
    match names.len().saturating_sub(MAX_NAMES) {
        0 => shown.join(", "),
        rest => format!("{} and {rest} more", shown.join(", ")),
    }
}

fn unusable(text: String) -> ProviderFault {
    ProviderFault::Unusable(text)
}

#[cfg(test)]
mod tests {
    use super::Survey;
    use crate::settings::{Grants, TreeGrant};

    const PROVIDER: &str = "stillframe:provider/provider@1.0.0";

    fn faults(imports: &[&str], exports: &[&str], grants: &Grants) -> Vec<String> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Survey { imports: owned(imports), exports: owned(exports) }.faults(grants).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn accepts_what_is_granted_and_the_runtime_of_a_language() {
        let grants = Grants { tree: Some(TreeGrant::default()), ..Grants::default() };
        let imports = [
            "stillframe:provider/types@1.0.0",
            "stillframe:provider/host@1.2.0",
            "stillframe:provider/tree@1.0.0",
            "wasi:cli/stderr@0.2.6",
            "wasi:sockets/tcp@0.2.9",
        ];
        assert!(faults(&imports, &[PROVIDER, "stillframe:provider/restore@1.0.0"], &grants).is_empty());
    }

    #[test]
    fn names_each_capability_that_is_not_granted() {
        let imports = ["stillframe:provider/tree@1.0.0", "stillframe:provider/command@1.0.0", "stillframe:provider/aws@1.0.0"];
        assert_eq!(
            faults(&imports, &[PROVIDER], &Grants::default()),
            [
                "it needs the capability `command`, which the configuration does not grant",
                "it needs the capability `aws`, which the configuration does not grant",
                "it needs the capability `tree`, which the configuration does not grant",
            ]
        );
    }

    #[test]
    fn names_foreign_imports() {
        let imports =
            ["wasi:http/types@0.2.0", "wasi:cli/stderr@0.3.0", "env", "stillframe:provider/quantum@1.0.0", "wasi:cli/exit", "f"];
        assert_eq!(
            faults(&imports, &[PROVIDER], &Grants::default()),
            [
                "it imports `wasi:http/types@0.2.0`, `wasi:cli/stderr@0.3.0`, `env`, `stillframe:provider/quantum@1.0.0` and 2 more, which \
              this host does not provide"
            ]
        );
    }

    #[test]
    fn names_another_major_version_in_an_import_or_an_export() {
        for (import, export) in [
            ("stillframe:provider/host@1.0.0", "stillframe:provider/provider@2.0.0"),
            ("stillframe:provider/host@0.9.0", PROVIDER),
            ("stillframe:provider/host", PROVIDER),
            ("stillframe:provider/host@10.0.0", PROVIDER),
        ] {
            let faults = faults(&[import], &[export], &Grants::default());
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert!(faults[0].starts_with("it is built for `stillframe:provider/"), "{faults:?}");
            assert!(faults[0].ends_with("but this host speaks version 1 of `stillframe:provider`"), "{faults:?}");
        }
    }

    #[test]
    fn names_what_is_exported_instead_of_a_provider() {
        assert_eq!(
            faults(&[], &["wasi:cli/run@0.2.0"], &Grants::default()),
            ["it exports `wasi:cli/run@0.2.0`, but not `stillframe:provider/provider@1`"]
        );
        assert_eq!(faults(&[], &[], &Grants::default()), ["it exports nothing, but not `stillframe:provider/provider@1`"]);
    }
}
