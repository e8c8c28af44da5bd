//! The workspace as Cargo knows it, and builds of its parts.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::failure::Failure;
use crate::run::{captured, succeed};

/// What every component is compiled for.
pub(crate) const COMPONENT_TARGET: &str = "wasm32-wasip2";

/// The profile of the root manifest for what runs inside the sandbox.
const COMPONENT_PROFILE: &str = "plugin";

/// Directories whose packages are components.
const COMPONENT_PARENTS: [&str; 2] = ["plugins", "tests/guests"];

/// The workspace of this program.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// Its root directory.
    pub(crate) root: PathBuf,
    /// Where Cargo builds.
    pub(crate) target: PathBuf,
    /// The packages that are compiled to components.
    pub(crate) components: Vec<String>,
}

impl Workspace {
    /// Asks Cargo.
    pub(crate) fn find() -> Result<Self, Failure> {
        let metadata = metadata()?;
        let root = PathBuf::from(metadata["workspace_root"].as_str().unwrap_or("."));
        let target = PathBuf::from(metadata["target_directory"].as_str().unwrap_or("target"));
        let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_component = |package: &&Value| {
            let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
            let parent = manifest.ancestors().nth(2);
            COMPONENT_PARENTS.iter().any(|name| parent == Some(&root.join(name)))
        };
        let name = |package: &Value| package["name"].as_str().unwrap_or_default().to_owned();
        let components = packages.iter().filter(is_component).map(name).collect();
        Ok(Self { root, target, components })
    }

    /// The binary of a profile's directory, `debug` or `release`.
    pub(crate) fn stillframe(&self, profile_directory: &str) -> PathBuf {
        self.target.join(profile_directory).join("stillframe")
    }

    /// Asks Cargo for the programs of a package, by name.
    pub(crate) fn programs_of(&self, package: &str) -> Result<Vec<String>, Failure> {
        self.targets_of(package, "bin")
    }

    /// Asks Cargo for the test executables of a package, by name.
    pub(crate) fn test_targets_of(&self, package: &str) -> Result<Vec<String>, Failure> {
        self.targets_of(package, "test")
    }

    fn targets_of(&self, package: &str, kind: &str) -> Result<Vec<String>, Failure> {
        let metadata = metadata()?;
        let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let found = packages.iter().find(|found| found["name"] == package);
        let targets = found.and_then(|found| found["targets"].as_array()).map(Vec::as_slice).unwrap_or_default();
        let is_such = |target: &&Value| target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|found| found == kind));
        let mut names: Vec<String> =
            targets.iter().filter(is_such).filter_map(|target| target["name"].as_str().map(str::to_owned)).collect();
        names.sort();
        if names.is_empty() {
            Err(Failure::new(format!("`{package}` has no target of the kind `{kind}` in `{}`", self.root.display())))
        } else {
            Ok(names)
        }
    }

    /// Compiles every component; returns their files.
    pub(crate) fn build_components(&self) -> Result<Vec<PathBuf>, Failure> {
        if self.components.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = cargo();
        command.args(["build", "--quiet", "--profile", COMPONENT_PROFILE, "--target", COMPONENT_TARGET]);
        command.arg("--target-dir").arg(self.components_target());
        for package in &self.components {
            command.args(["--package", package]);
        }
        progress("compiling the provider components", || succeed(command.current_dir(&self.root)))?;
        let directory = self.components_directory();
        let entries = fs::read_dir(&directory).map_err(Failure::io(format!("list `{}`", directory.display())))?;
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut files: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|end| end == "wasm")).collect();
        files.sort();
        Ok(files)
    }

    /// Where Cargo puts the components.
    pub(crate) fn components_directory(&self) -> PathBuf {
        self.components_target().join(COMPONENT_TARGET).join(COMPONENT_PROFILE)
    }

    /// The one that the build script of the binary uses for the bundled providers, so that each is compiled once.
    fn components_target(&self) -> PathBuf {
        self.target.join("plugins")
    }
}

fn metadata() -> Result<Value, Failure> {
    let text = captured(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    serde_json::from_str(&text).map_err(|error| Failure::new(format!("cargo metadata: {error}")))
}

/// Cargo, with the toolchain that runs this program.
pub(crate) fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Announces a step that takes a while, and then how long it took.
pub(crate) fn progress<T>(what: &str, step: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    println!("… {what}");
    let began = Instant::now();
    let outcome = step()?;
    println!("  done in {:.1} s", began.elapsed().as_secs_f64());
    Ok(outcome)
}
