//! What a policy says about `command`: which programs, at which paths, with which arguments.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use stillframe_core::text::is_dangerous;
use thiserror::Error;

use super::{Keys, PolicyError, Rule};
use crate::text::clean;

/// Arguments of one call.
const MAX_ARGUMENTS: usize = 256;

/// Bytes of one argument.
const MAX_ARGUMENT_BYTES: usize = 32 << 10;

/// Bytes of all arguments: the kernel takes 2 MiB, the environment included.
const MAX_ARGUMENTS_BYTES: usize = 1 << 20;

/// How long a program may run, and how much it may print, unless the policy says otherwise.
const DEFAULT_TIMEOUT_SECS: u64 = 60;
const DEFAULT_OUTPUT_KIB: u64 = 1_024;

/// The most that a policy can say: a day, and what fits into a provider's memory twice.
const MAX_TIMEOUT_SECS: u64 = 24 * 3_600;
const MAX_OUTPUT_KIB: u64 = 16 << 10;

/// Bytes of a program's name.
const MAX_NAME_BYTES: usize = 64;

/// Bytes of a command line that an error shows.
const MAX_SHOWN_BYTES: usize = 400;

/// The table `[command.NAME]` of a policy, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandPolicy {
    path: Paths,
    timeout_secs: Option<u64>,
    max_output_kib: Option<u64>,
    #[serde(default)]
    stdin: bool,
    allow: Vec<Vec<String>>,
}

/// One path, or several of which the first that exists counts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "an absolute path, or a list of them")]
enum Paths {
    One(PathBuf),
    Several(Vec<PathBuf>),
}

/// The programs that a provider may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandGrant {
    programs: BTreeMap<String, ProgramGrant>,
}

/// How a provider may run one program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramGrant {
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) timeout: Duration,
    pub(crate) max_output_bytes: usize,
    pub(crate) has_stdin: bool,
    rules: Vec<Rule>,
}

/// Why a program may not be run so.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CommandDenial {
    /// The policy has no such program.
    #[error("the program {program} is not granted: add it as `command.{name}` to the grants, which have {known}")]
    Program {
        /// As it was asked for, quoted.
        program: String,
        /// What a key for it would be called.
        name: String,
        /// Those that are there.
        known: String,
    },
    /// No rule matches.
    #[error("no rule of `command.{program}.allow` matches {command}: to allow it, add one under `grants` of the provider")]
    Arguments {
        /// The program.
        program: String,
        /// Program and arguments, quoted and cut.
        command: String,
    },
    /// There are more, or larger, arguments than any rule allows.
    #[error("the arguments of `{program}` are too large: {reason}")]
    TooLarge {
        /// The program.
        program: String,
        /// Which bound.
        reason: String,
    },
    /// It gets no input.
    #[error("`{program}` gets no standard input: to allow it, set `command.{program}.stdin = true` under `grants` of the provider")]
    Stdin {
        /// The program.
        program: String,
    },
}

impl CommandPolicy {
    fn resolve(&self, name: &str, keys: &Keys<'_>) -> Result<ProgramGrant, PolicyError> {
        let place = format!("command.{name}");
        let wrong = |key: &str, reason: String| PolicyError::rule(format!("{place}.{key}"), reason);
        let paths = match &self.path {
            Paths::One(path) => vec![path.clone()],
            Paths::Several(paths) => paths.clone(),
        };
        if paths.is_empty() {
            return Err(wrong("path", "it names no file; write the absolute path of the program".to_owned()));
        }
        if let Some(path) = paths.iter().find(|path| !path.is_absolute()) {
            return Err(wrong("path", format!("`{}` is not an absolute path", path.display())));
        }
        if paths.iter().any(|path| path.to_string_lossy().chars().any(is_dangerous)) {
            return Err(wrong("path", "it holds control characters".to_owned()));
        }
        let timeout_secs = self.timeout_secs.unwrap_or(DEFAULT_TIMEOUT_SECS);
        let max_output_kib = self.max_output_kib.unwrap_or(DEFAULT_OUTPUT_KIB);
        for (key, value, max) in
            [("timeout_secs", timeout_secs, MAX_TIMEOUT_SECS), ("max_output_kib", max_output_kib, MAX_OUTPUT_KIB)]
        {
            if !(1..=max).contains(&value) {
                return Err(wrong(key, format!("`{value}` is not from 1 to {max}")));
            }
        }
        if self.allow.is_empty() {
            return Err(wrong(
                "allow",
                "it has no rule, so that the program could never run; `[[]]` allows it without arguments".to_owned(),
            ));
        }
        let rules =
            self.allow.iter().enumerate().map(|(number, texts)| Rule::parse(texts, &format!("{place}.allow[{number}]"), keys));
        Ok(ProgramGrant {
            paths,
            timeout: Duration::from_secs(timeout_secs),
            max_output_bytes: usize::try_from(max_output_kib << 10).unwrap_or(usize::MAX),
            has_stdin: self.stdin,
            rules: rules.filter(|rule| rule.as_ref().map_or(true, Rule::can_match)).collect::<Result<_, _>>()?,
        })
    }
}

impl CommandGrant {
    /// Puts in what the provider's section says.
    pub(super) fn resolve(policies: &BTreeMap<String, CommandPolicy>, keys: &Keys<'_>) -> Result<Self, PolicyError> {
        let legal = |name: &str| {
            let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            !name.is_empty() && name.len() <= MAX_NAME_BYTES && name.bytes().all(is_legal)
        };
        if let Some(name) = policies.keys().find(|name| !legal(name)) {
            let reason = "the name of a program has letters, digits, `-` and `_`; its path stands in `path`";
            return Err(PolicyError::rule(format!("command.{name}"), reason));
        }
        let programs = policies.iter().map(|(name, policy)| Ok((name.clone(), policy.resolve(name, keys)?)));
        Ok(Self { programs: programs.collect::<Result<_, _>>()? })
    }

    /// How this program may be run with these arguments, or why it may not.
    pub fn allows(&self, program: &str, arguments: &[String]) -> Result<&ProgramGrant, CommandDenial> {
        let Some(grant) = self.programs.get(program) else {
            let known: Vec<String> = self.programs.keys().map(|name| format!("`{name}`")).collect();
            let name: String = program.chars().filter(|letter| letter.is_ascii_alphanumeric() || "-_".contains(*letter)).collect();
            let name = if name.is_empty() || name.len() > MAX_NAME_BYTES { "NAME".to_owned() } else { name };
            return Err(CommandDenial::Program { program: quoted(program, MAX_NAME_BYTES), name, known: known.join(", ") });
        };
        let too_large = |reason: String| Err(CommandDenial::TooLarge { program: program.to_owned(), reason });
        if arguments.len() > MAX_ARGUMENTS {
            return too_large(format!("there are {}, and {MAX_ARGUMENTS} are allowed", arguments.len()));
        }
        if let Some(argument) = arguments.iter().find(|argument| argument.len() > MAX_ARGUMENT_BYTES) {
            return too_large(format!("one has {} bytes, and {MAX_ARGUMENT_BYTES} are allowed", argument.len()));
        }
        if arguments.iter().map(String::len).sum::<usize>() > MAX_ARGUMENTS_BYTES {
            return too_large(format!("together they have more than {MAX_ARGUMENTS_BYTES} bytes"));
        }
        if grant.rules.iter().any(|rule| rule.matches(arguments)) {
            return Ok(grant);
        }
        Err(CommandDenial::Arguments { program: program.to_owned(), command: shown(program, arguments, MAX_SHOWN_BYTES) })
    }

    /// The grant in words: a line for each program, then one for each rule.
    #[must_use]
    pub fn explain(&self) -> Vec<String> {
        self.programs.iter().flat_map(|(name, program)| program.explain(name)).collect()
    }
}

impl ProgramGrant {
    /// Fails unless the program may be given input.
    pub(crate) fn allows_stdin(&self, program: &str) -> Result<(), CommandDenial> {
        if self.has_stdin { Ok(()) } else { Err(CommandDenial::Stdin { program: program.to_owned() }) }
    }

    fn explain(&self, name: &str) -> Vec<String> {
        let paths: Vec<String> = self.paths.iter().map(|path| format!("`{}`", path.display())).collect();
        let stdin = if self.has_stdin { ", with input" } else { "" };
        let rules = if self.rules.len() == 1 { "1 rule".to_owned() } else { format!("{} rules", self.rules.len()) };
        let limits = format!("{} s, {} KiB of output", self.timeout.as_secs(), self.max_output_bytes >> 10);
        let heading = format!("run {} ({limits}{stdin}), by {rules}:", paths.join(" or "));
        let rule = |(number, rule): (usize, &Rule)| format!("{}. `{}`", number + 1, format!("{name} {rule}").trim_end());
        std::iter::once(heading).chain(self.rules.iter().enumerate().map(rule)).collect()
    }
}

/// A command line for an error or a log: every argument quoted where it needs it, cleaned, and the whole cut.
pub(crate) fn shown(program: &str, arguments: &[String], max_bytes: usize) -> String {
    let mut line = word(program);
    for argument in arguments {
        if line.len() > max_bytes {
            break;
        }
        line.push(' ');
        line.push_str(&word(argument));
    }
    quoted(&line, max_bytes)
}

/// An argument as a person would write it to a shell.
fn word(text: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "_-+=./:,@%^".contains(character);
    if !text.is_empty() && text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", clean(text, MAX_ARGUMENT_BYTES)) }
}

fn quoted(text: &str, max_bytes: usize) -> String {
    format!("`{}`", clean(text, max_bytes))
}
