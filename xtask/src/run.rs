//! Running other programs.

use std::process::{Command, Stdio};

use crate::failure::Failure;

/// Runs a program with our output; its failure is ours.
pub(crate) fn succeed(command: &mut Command) -> Result<(), Failure> {
    let status = command.stdin(Stdio::null()).status().map_err(Failure::io(format!("run `{}`", line(command))))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::of_program(format!("`{}` ended with {status}", line(command)), status.code()))
    }
}

/// Runs a program and returns its standard output; its standard error appears only when it fails.
pub(crate) fn captured(command: &mut Command) -> Result<String, Failure> {
    let output = command.stdin(Stdio::null()).output().map_err(Failure::io(format!("run `{}`", line(command))))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let text = format!("`{}` ended with {}\n{}", line(command), output.status, said.trim_end());
    Err(Failure::of_program(text, output.status.code()))
}

/// Whether a program runs and succeeds; nothing that it prints appears.
pub(crate) fn works(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A command as a person would type it.
pub(crate) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

/// A word for a shell.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_./:=,+@%".contains(character);
    if !word.is_empty() && word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn quotes_only_what_a_shell_would_split_or_change() {
        assert_eq!(quoted("--target-time=2026-11-21T09:00:00Z"), "--target-time=2026-11-21T09:00:00Z");
        assert_eq!(quoted("select 1"), "'select 1'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
