//! A component's bytes: where they come from, whether they are the ones that the operator accepted, and their compilation.
//!
//! A file is read once, and the bytes that were hashed are the bytes that are compiled: exchanging the file meanwhile has no effect.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use stillframe_core::provider::{ProviderFault, ProviderName};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::digest::Sha256;
use crate::preflight::Survey;
use crate::settings::ComponentSource;
use crate::text::clean;

/// Largest component: a Python provider with its interpreter has 18 MB.
const MAX_COMPONENT_BYTES: u64 = 256 << 20;

/// How every WebAssembly binary begins.
const MAGIC: &[u8] = b"\0asm";

/// The layer after the magic number, for a component and for a core module.
const COMPONENT_LAYER: &[u8] = b"\x0d\0\x01\0";
const MODULE_LAYER: &[u8] = b"\x01\0\0\0";

/// Bytes of an engine's message that are quoted.
const MAX_REASON_BYTES: usize = 1 << 10;

/// The bytes of a component, and their digest.
pub(crate) struct ComponentBytes {
    pub(crate) bytes: Cow<'static, [u8]>,
    pub(crate) sha256: Sha256,
}

/// A component that was compiled, and what its names say.
pub(crate) struct Compiled {
    pub(crate) component: Component,
    pub(crate) survey: Survey,
}

impl Compiled {
    /// Surveys a component.
    pub(crate) fn of(component: Component) -> Self {
        Self { survey: Survey::of(&component), component }
    }
}

impl ComponentBytes {
    /// Reads a component.
    pub(crate) fn read(source: &ComponentSource) -> Result<Self, ProviderFault> {
        let bytes = match source {
            ComponentSource::Embedded { bytes } => Cow::Borrowed(*bytes),
            ComponentSource::File { path, .. } => Cow::Owned(read_file(path)?),
        };
        Ok(Self { sha256: Sha256::of(&bytes), bytes })
    }

    /// Fails unless these are the bytes that the operator accepted. What is part of this program needs no pin.
    pub(crate) fn check_pin(&self, source: &ComponentSource, name: &ProviderName) -> Result<(), ProviderFault> {
        let ComponentSource::File { path, sha256 } = source else { return Ok(()) };
        let (path, found) = (path.display(), self.sha256);
        let accept = format!(
            "if you accept this file, set `sha256 = \"{found}\"` under `[provider.{name}]` after `stillframe provider inspect {name}`"
        );
        match sha256 {
            Some(expected) if *expected == found => Ok(()),
            Some(expected) => Err(ProviderFault::Unusable(format!(
                "`{path}` has the SHA-256 `{found}`, but the configuration pins `{expected}`; {accept}"
            ))),
            None => Err(ProviderFault::Unusable(format!(
                "`{path}` has the SHA-256 `{found}`, but the configuration pins none; {accept}"
            ))),
        }
    }

    /// Compiles the component, or takes the compiled code from the cache.
    pub(crate) fn compile(&self, engine: &Engine) -> Result<Component, ProviderFault> {
        let unusable = |reason: &str| Err(ProviderFault::Unusable(format!("it is not a WebAssembly component: {reason}")));
        match self.bytes.strip_prefix(MAGIC) {
            Some(rest) if rest.starts_with(COMPONENT_LAYER) => {}
            Some(rest) if rest.starts_with(MODULE_LAYER) => {
                return unusable("it is a core module; build it for `wasm32-wasip2`, or wrap it with `wasm-tools component new`");
            }
            Some(_) => return unusable("it has an unknown version of the binary format"),
            None => return unusable("it does not begin with `\\0asm`"),
        }
        Component::from_binary(engine, &self.bytes).map_err(|error| {
            ProviderFault::Unusable(format!("it cannot be compiled: {}", clean(&format!("{error:#}"), MAX_REASON_BYTES)))
        })
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, ProviderFault> {
    let unusable = |reason: String| ProviderFault::Unusable(format!("its component `{}` cannot be read: {reason}", path.display()));
    let mut bytes = Vec::new();
    let length = File::open(path)
        .and_then(|file| file.take(MAX_COMPONENT_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| unusable(error.to_string()))?;
    if length as u64 > MAX_COMPONENT_BYTES {
        return Err(unusable(format!("it is larger than {} MiB", MAX_COMPONENT_BYTES >> 20)));
    }
    Ok(bytes)
}
