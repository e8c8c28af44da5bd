//! `initdb`, once per version and segment size: a copy of its result takes a tenth of the time.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::places::{cache_directory, lock};
use crate::{Account, Postgres};

/// Locale and encoding of a cluster that is not about these.
pub(super) const USUAL_LOCALE: [&str; 3] = ["--no-locale", "-E", "UTF8"];

/// The arguments for checksums of data pages: with them, a torn or mixed restore is noticed when it is read.
pub(super) fn checksums(major: u32, has_checksums: bool) -> Option<String> {
    let argument = match (has_checksums, major >= 18) {
        (true, _) => "--data-checksums",
        (false, true) => "--no-data-checksums",
        // Before 18, a cluster has none unless it is asked for.
        (false, false) => return None,
    };
    Some(argument.to_owned())
}

/// Fills a data directory from the template. All copies share one system identifier.
pub(super) fn copy_to(postgres: &Postgres, data_directory: &Path, segment_size_mib: Option<u32>) {
    let segment_size = segment_size_mib.map_or_else(|| "default".to_owned(), |mib| mib.to_string());
    let name = format!("template-{}-{}-{segment_size}", postgres.major, postgres.build);
    let template = cache_directory().join(&name);
    let held = lock(&name);
    if !template.is_dir() {
        let unfinished = cache_directory().join(format!("{name}.unfinished"));
        // What a killed `initdb` left is of no use.
        let _absent = fs::remove_dir_all(&unfinished);
        let arguments: Vec<String> = USUAL_LOCALE.map(str::to_owned).into_iter().chain(checksums(postgres.major, true)).collect();
        initdb(postgres, &unfinished, segment_size_mib, &arguments);
        fs::rename(&unfinished, &template).expect("both lie in the cache");
    }
    drop(held);
    copy_tree(&template, data_directory);
}

/// Runs `initdb`.
pub(super) fn initdb(postgres: &Postgres, data_directory: &Path, segment_size_mib: Option<u32>, arguments: &[String]) {
    let account = Account::unprivileged();
    fs::create_dir(data_directory).unwrap_or_else(|error| panic!("cannot create {}: {error}", data_directory.display()));
    account.own(data_directory);
    let mut command = Command::new(postgres.program("initdb"));
    command.args(["-N", "-A", "trust", "-U", "postgres", "-D"]).arg(data_directory);
    command.args(segment_size_mib.map(|mib| format!("--wal-segsize={mib}"))).args(arguments);
    command.env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
    let output = account.run_as(&mut command).output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(output.status.success(), "initdb failed: {}", String::from_utf8_lossy(&output.stderr));
}

/// Copies a directory with owners, modes, links and times.
pub fn copy_tree(from: &Path, to: &Path) {
    let output = Command::new("cp").args(["-a", "--reflink=auto", "-T"]).arg(from).arg(to).output().expect("cp can be run");
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    // A running server removes files while they are copied; backup mode makes up for these, and for nothing else.
    let only_vanished = complaints.lines().all(|line| line.ends_with("No such file or directory"));
    assert!(output.status.success() || (only_vanished && to.is_dir()), "cp failed: {complaints}");
}
