//! `pg_service.conf`: named groups of settings.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Environment, Values, keyword};

/// Where Debian's libpq looks when `PGSYSCONFDIR` is not set; upstream's default depends on how it was built.
const SYSTEM_DIRECTORY: &str = "/etc/postgresql-common";

/// Finds a service: in the file that is named, or the user's, then in the system's.
pub(super) fn look_up(service: &str, named_file: Option<PathBuf>, environment: &Environment) -> Result<Values, String> {
    let named = named_file.or_else(|| environment.variable("PGSERVICEFILE").map(PathBuf::from));
    let must_exist = named.is_some();
    let user_file = named.or_else(|| environment.in_home(".pg_service.conf"));
    let system_directory = environment.variable("PGSYSCONFDIR").unwrap_or(SYSTEM_DIRECTORY);
    let system_file = Path::new(system_directory).join("pg_service.conf");
    for (path, must_exist) in user_file.map(|path| (path, must_exist)).into_iter().chain([(system_file, false)]) {
        let contents = match fs::read_to_string(&path) {
            Ok(contents) => contents,
            Err(error) if error.kind() == ErrorKind::NotFound && !must_exist => continue,
            Err(error) => return Err(format!("the service file `{}` cannot be read: {error}", path.display())),
        };
        let found = section(service, &contents).map_err(|(line, fault)| format!("line {line} of `{}` {fault}", path.display()))?;
        if let Some(values) = found {
            return Ok(values);
        }
    }
    Err(format!("the service `{service}` is not defined in any service file"))
}

/// The settings of one section; none when the file has no such section.
fn section(service: &str, contents: &str) -> Result<Option<Values>, (usize, String)> {
    let mut found: Option<Values> = None;
    for (index, line) in contents.lines().enumerate() {
        let line = line.trim();
        let fault = |text: String| (index + 1, text);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with('[') {
            if found.is_some() {
                break;
            }
            if line.strip_prefix('[').and_then(|rest| rest.split(']').next()) == Some(service) {
                found = Some(Values::new());
            }
            continue;
        }
        let Some(values) = found.as_mut() else { continue };
        if line.starts_with("ldap") {
            return Err(fault("asks an LDAP server, which is not supported".to_owned()));
        }
        let (name, value) = line.split_once('=').ok_or_else(|| fault("has no `=`".to_owned()))?;
        if matches!(name, "service" | "servicefile") {
            return Err(fault(format!("sets `{name}`, which a service cannot")));
        }
        let keyword = keyword::known(name).map_err(|message| fault(format!("is wrong: {message}")))?;
        // The first of two lines counts, as in libpq.
        values.entry(keyword).or_insert_with(|| value.to_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::section;

    #[test]
    fn reads_only_its_own_section() {
        let file = "# comment\n[a]\nhost=one\n\n[b]\n host=two\nport=1\nport=2\n[c]\nhost=three\n";
        let values = section("b", file).unwrap().unwrap();
        assert_eq!(values.into_iter().collect::<Vec<_>>(), [("host", "two".into()), ("port", "1".into())]);
        assert!(section("d", file).unwrap().is_none());
    }

    #[test]
    fn says_which_line_is_wrong() {
        for (line, word) in [("hots=a", "`hots`"), ("service=b", "`service`"), ("ldap://x", "LDAP"), ("host", "`=`")] {
            let (number, fault) = section("a", &format!("[a]\n{line}\n")).unwrap_err();
            assert_eq!(number, 2);
            assert!(fault.contains(word), "{fault}");
        }
    }
}
