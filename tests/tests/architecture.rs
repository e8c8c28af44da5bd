//! The rules of the architecture that a compiler does not check: who may depend on whom, and where things stand.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Longest source file, without its tests.
const MAX_LINES: usize = 500;
/// Commands that only show something or prepare a place: there is no flow behind them.
const COMMANDS_WITHOUT_A_FLOW: [&str; 7] =
    ["backup_list", "backup_show", "config_import", "config_show", "provider", "store_create", "wal_daemon"];
/// What several flows share; it is no flow.
const SHARED_BY_FLOWS: [&str; 9] =
    ["any_backup_name", "archive_map", "known_snapshots", "progress", "readiness", "release", "removal", "wal_scan", "wal_search"];
/// What several commands share; it is no command.
const SHARED_BY_COMMANDS: [&str; 4] = ["named", "restored_server", "target", "view"];

fn metadata() -> &'static Metadata {
    static READ: OnceLock<Metadata> = OnceLock::new();
    READ.get_or_init(|| {
        let mut command = MetadataCommand::new();
        command.manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).no_deps().exec().unwrap()
    })
}

fn root() -> &'static Path {
    metadata().workspace_root.as_std_path()
}

fn package(name: &str) -> &'static Package {
    metadata().packages.iter().find(|package| package.name == name).unwrap_or_else(|| panic!("there is no package `{name}`"))
}

/// Packages whose manifest lies below this folder.
fn packages_in(folder: &str) -> Vec<&'static Package> {
    let below = |package: &&Package| package.manifest_path.as_std_path().starts_with(root().join(folder));
    let found: Vec<&Package> = metadata().packages.iter().filter(below).collect();
    assert!(!found.is_empty(), "there is no package in `{folder}`");
    found
}

/// Direct dependencies on packages of the workspace, of the kinds that `counts` accepts.
fn workspace_dependencies(package: &Package, counts: impl Fn(DependencyKind) -> bool) -> BTreeSet<String> {
    let ours: BTreeSet<&str> = metadata().packages.iter().map(|package| package.name.as_str()).collect();
    let dependencies = package.dependencies.iter().filter(|dependency| counts(dependency.kind));
    dependencies.map(|dependency| dependency.name.clone()).filter(|name| ours.contains(name.as_str())).collect()
}

/// The package and everything of the workspace that it needs to be built, in whatever kind of dependency and however deep.
fn closure(package: &Package) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![package.name.to_string()];
    while let Some(name) = open.pop() {
        if found.insert(name.clone()) {
            open.extend(workspace_dependencies(self::package(&name), |_| true));
        }
    }
    found
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Files below a folder with this extension, without what was built.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|end| end == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Sources in these folders that are not tests: no file of a module `tests`, and each only up to its own tests.
fn sources(folders: &[&str]) -> Vec<(PathBuf, String)> {
    let all = folders.iter().flat_map(|folder| files(&root().join(folder), "rs"));
    let is_test = |path: &Path| path.components().skip(1).any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs");
    let product = all.filter(|path| !is_test(path.strip_prefix(root()).unwrap()));
    let found: Vec<_> = product.map(|path| (path.clone(), without_tests(&fs::read_to_string(path).unwrap()))).collect();
    assert!(!found.is_empty(), "no sources in {folders:?}");
    found
}

fn without_tests(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let is_module = |pair: &[&str]| pair[0].trim() == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{');
    let end = lines.windows(2).position(is_module).unwrap_or(lines.len());
    lines[..end].join("\n")
}

#[test]
fn dependencies_point_from_the_program_to_the_core_and_nowhere_else() {
    let allowed: BTreeMap<&str, BTreeSet<String>> = [
        ("stillframe-core", names(&[])),
        ("stillframe-postgres", names(&["stillframe-core"])),
        ("stillframe-store", names(&["stillframe-core"])),
        ("stillframe-runtime", names(&["stillframe-core"])),
        ("stillframe", names(&["stillframe-core", "stillframe-postgres", "stillframe-runtime", "stillframe-store"])),
    ]
    .into();
    let is_built = |kind| kind != DependencyKind::Development;
    for package in packages_in("host") {
        let expected = allowed.get(package.name.as_str()).unwrap_or_else(|| panic!("`{}` has no place here", package.name));
        assert_eq!(&workspace_dependencies(package, is_built), expected, "{}", package.name);
    }
    assert_eq!(packages_in("host").len(), allowed.len());
    for plugin in packages_in("plugins") {
        assert_eq!(workspace_dependencies(plugin, |_| true), names(&["stillframe-sdk"]), "{}", plugin.name);
    }
    for guest in packages_in("tests/guests") {
        assert!(workspace_dependencies(guest, |_| true).is_subset(&names(&["stillframe-sdk"])), "{}", guest.name);
    }
    let hostile = workspace_dependencies(package("stillframe-guest-hostile"), |_| true);
    assert_eq!(hostile, names(&[]), "an author with bad intentions would not use the SDK");
}

#[test]
fn host_and_providers_share_no_crate_of_the_workspace() {
    let of = |folders: &[&str]| -> BTreeSet<String> {
        folders.iter().flat_map(|folder| packages_in(folder)).flat_map(closure).collect()
    };
    let (host, providers) = (of(&["host"]), of(&["sdk", "plugins", "tests/guests"]));
    assert!(host.contains("stillframe-core") && providers.contains("stillframe-sdk"));
    assert_eq!(host.intersection(&providers).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn an_engine_and_a_database_driver_have_one_owner_each() {
    let users = |is_named: &dyn Fn(&str) -> bool| -> BTreeSet<String> {
        let uses = |package: &&Package| package.dependencies.iter().any(|dependency| is_named(&dependency.name));
        metadata().packages.iter().filter(uses).map(|package| package.name.to_string()).collect()
    };
    assert_eq!(users(&|name| name.starts_with("wasmtime")), names(&["stillframe-runtime"]));
    let driver = users(&|name| name.contains("postgres") && !name.starts_with("stillframe"));
    assert_eq!(driver, names(&["stillframe-postgres", "stillframe-tests"]));
    assert_eq!(users(&|name| name == "wit-bindgen"), names(&["stillframe-guest-hostile", "stillframe-sdk"]));
}

#[test]
fn the_product_starts_no_process_and_so_no_shell() {
    let build_script = root().join("host/cli/build.rs");
    // Its own program, to fetch ahead; what the operator names to print the private key; and what a policy lets a provider run.
    // None through a shell.
    // And the servers of drills. And its own program again, to hold backup mode for an outside tool.
    let exceptions = [
        "host/cli/src/commands/wal_fetch/detach.rs",
        "host/cli/src/session/detach.rs",
        "host/cli/src/wiring/identity_command.rs",
        "host/cli/src/wiring/server/process.rs",
        "host/runtime/src/program.rs",
    ]
    .map(|path| root().join(path));
    for path in &exceptions {
        let text = fs::read_to_string(path).unwrap();
        assert_eq!(text.matches("Command::new(").count(), 1, "{}", path.display());
    }
    for (path, text) in sources(&["host", "sdk", "plugins"]) {
        if path == build_script || exceptions.contains(&path) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let starts = ["process::Command", "Command::new(", "Exec::", "posix_spawn", "execv"];
            let found = starts.iter().find(|start| code.contains(**start));
            assert_eq!(found, None, "{}:{}: {line}", path.display(), number + 1);
        }
    }
    let script = fs::read_to_string(build_script).unwrap();
    assert_eq!(script.matches("Command::new(").count(), 1);
    assert!(script.contains("Command::new(variable(\"CARGO\"))"), "the build of the components starts cargo and nothing else");
}

#[test]
fn every_flow_has_the_same_name_as_its_command() {
    let modules = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let sources = entries.filter(|path| path.extension().is_some_and(|end| end == "rs"));
        sources.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let flows = modules("host/core/src/flows");
    let commands = modules("host/cli/src/commands");
    let mut expected = flows.clone();
    expected.extend(names(&COMMANDS_WITHOUT_A_FLOW));
    expected.extend(names(&SHARED_BY_COMMANDS));
    expected.retain(|name| !names(&SHARED_BY_FLOWS).contains(name));
    assert_eq!(commands, expected);
    assert!(flows.is_disjoint(&names(&COMMANDS_WITHOUT_A_FLOW)));
    assert!(flows.contains("snapshot_push"));
}

/// Whether a line of WIT declares something that an author of a provider must understand.
fn declares(line: &str) -> bool {
    let is_plain =
        |text: &str| !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_%".contains(letter));
    let first = line.split([' ', ':', '(', ',', '{']).next().unwrap_or_default();
    match first {
        "interface" | "world" | "record" | "variant" | "enum" | "flags" | "resource" | "type" => true,
        "package" | "use" | "import" | "export" | "include" => false,
        // Functions and fields have a colon, cases a comma or a parenthesis behind their name.
        name => is_plain(name) && line[name.len()..].starts_with([':', ',', '(']),
    }
}

#[test]
fn every_item_of_the_interface_is_documented() {
    let mut declared = 0;
    for path in files(&root().join("wit"), "wit") {
        let text = fs::read_to_string(&path).unwrap();
        let mut above = "";
        for (number, line) in text.lines().map(str::trim).enumerate() {
            if declares(line) {
                declared += 1;
                assert!(above.starts_with("/// "), "{}:{}: `{line}` has no documentation", path.display(), number + 1);
            }
            above = line;
        }
    }
    assert!(declared > 100, "the rule found {declared} items only");
}

/// Such a test would run on its own version, whichever was to be tested.
#[test]
fn no_end_to_end_test_chooses_its_version_of_postgresql_itself() {
    let mut asked = 0;
    for path in files(&root().join("tests/tests"), "rs") {
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            let begins_with_a_number = |rest: &str| rest.starts_with(|letter: char| letter.is_ascii_digit());
            let calls = ["::builder(", "Site::start(", "for major in ["];
            let is_fixed = calls.iter().any(|call| line.split(call).skip(1).any(begins_with_a_number));
            // A list with a name; in quotes it is this rule.
            let is_list = line.contains("for major in ") && !line.contains("majors(") && !line.contains('"');
            let place = format!("{}:{}", path.display(), number + 1);
            assert!(!is_fixed && !is_list, "{place}: take `tested_major()` or `majors(&[…])`: {line}");
            asked += line.matches("tested_major()").count();
        }
    }
    assert!(asked > 50, "the rule found {asked} tests only");
}

#[test]
fn no_source_file_is_longer_than_one_can_read() {
    for (path, text) in sources(&["host", "sdk", "plugins", "xtask", "tests/src", "tests/guests", "tests/fuzz/src"]) {
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines without its tests", path.display());
    }
}

#[test]
fn every_source_file_says_first_what_it_is_for() {
    for (path, text) in sources(&["host", "sdk", "plugins", "xtask", "tests/src", "tests/guests", "tests/fuzz"]) {
        assert!(text.starts_with("//!"), "{} begins without `//!`", path.display());
    }
}
