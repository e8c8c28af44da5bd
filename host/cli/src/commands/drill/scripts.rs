//! The operator's files with statements: found and read before anything is restored.
//!
//! A pattern that fits nothing is an error. A check that is silently not made would pass for one that was.

use std::fs;
use std::path::{Path, PathBuf};

use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::files::FileError;
use stillframe_core::flows::DrillScript;

/// Why the files cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// A file or directory cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is none.
    #[error("no file is meant by `{0}`")]
    Nothing(String),
}

impl Classify for ScriptError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Config
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::Nothing(_) => Some("put the file there, or take it out of `sql` under `[drill]`".to_owned()),
        }
    }
}

/// Reads what the patterns mean, each pattern's files by name.
pub fn read(patterns: &[String]) -> Result<Vec<DrillScript>, ScriptError> {
    let mut scripts: Vec<DrillScript> = Vec::new();
    for pattern in patterns {
        let files = meant(pattern)?;
        if files.is_empty() {
            return Err(ScriptError::Nothing(pattern.clone()));
        }
        for path in files {
            let name = path.display().to_string();
            if scripts.iter().any(|script| script.name == name) {
                continue;
            }
            let text = fs::read_to_string(&path).map_err(|source| FileError::new("read", &path, source))?;
            scripts.push(DrillScript { name, text });
        }
    }
    Ok(scripts)
}

fn meant(pattern: &str) -> Result<Vec<PathBuf>, FileError> {
    let path = Path::new(pattern);
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Ok(Vec::new());
    };
    if !name.contains('*') {
        return Ok(if path.is_file() { vec![path.to_owned()] } else { Vec::new() });
    }
    let failed = |source| FileError::new("list", directory, source);
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let found = entry.file_name();
        // As a shell: a file that begins with a dot is hidden.
        let fits = found.to_str().is_some_and(|found| !found.starts_with('.') && fits(name, found));
        if fits && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Whether a name is what a pattern with `*` means.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(place) => rest = &rest[place + part.len()..],
            None => return false,
        }
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_letters_and_all_else_for_itself() {
        for (pattern, name, expected) in [
            ("*.sql", "a.sql", true),
            ("*.sql", "a.sql.bak", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "acb", false),
            ("*", "anything", true),
            ("a*a", "a", false),
            ("x", "x", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn files_come_by_name_once_and_a_pattern_without_any_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["2.sql", "1.sql", ".hidden.sql", "notes.txt"] {
            fs::write(directory.path().join(name), name).unwrap();
        }
        let path = |name: &str| directory.path().join(name).display().to_string();
        let scripts = read(&[path("2.sql"), path("*.sql")]).unwrap();
        let texts: Vec<&str> = scripts.iter().map(|script| script.text.as_str()).collect();
        assert_eq!(texts, ["2.sql", "1.sql"]);
        for nothing in ["3.sql", "*.SQL"] {
            assert!(matches!(read(&[path(nothing)]), Err(ScriptError::Nothing(_))), "{nothing}");
        }
    }
}
