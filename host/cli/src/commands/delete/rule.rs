//! The rules of `delete` as they are written on the command line.

use clap::Subcommand;
use stillframe_core::catalog::BackupName;
use stillframe_core::flows::AnyBackupName;
use stillframe_core::retention::{Cutoff, RetentionPolicy, RetentionRule};

use crate::exit::Failure;
use crate::parse;

#[derive(Debug, Subcommand)]
pub enum Rule {
    /// Keep the newest N ordinary backups
    Retain {
        /// How many; WAL-G's words FULL and `FIND_FULL` may stand before it
        #[arg(value_name = "N", num_args = 1..=2, value_parser = retain_word, required = true)]
        count: Vec<RetainWord>,
        /// Keep also what is not older than this backup or moment
        #[arg(long, short, value_parser = cutoff)]
        after: Option<Cutoff>,
    },
    /// Delete ordinary backups that are older than a backup or a moment
    Before {
        /// Name or moment; WAL-G's word `FIND_FULL` may stand before it
        #[arg(value_name = "NAME|TIME", num_args = 1..=2, value_parser = before_word, required = true)]
        cutoff: Vec<BeforeWord>,
    },
    /// Delete one ordinary backup
    Target {
        /// Its name
        #[arg(value_parser = parse::any_backup)]
        name: AnyBackupName,
    },
    /// Delete every ordinary backup, and all WAL that no permanent one needs
    Everything,
    /// Delete what interrupted runs left, and WAL that no backup needs
    Garbage,
    /// Delete what the section `[retention]` of the configuration does not keep
    Policy,
}

/// Every backup here is a full one, so that WAL-G's modifiers change nothing; scripts may go on saying them.
#[derive(Debug, Clone)]
pub enum RetainWord {
    Modifier,
    Count(usize),
}

#[derive(Debug, Clone)]
pub enum BeforeWord {
    Modifier,
    Cutoff(Cutoff),
}

fn retain_word(text: &str) -> Result<RetainWord, String> {
    match text {
        "FULL" | "FIND_FULL" => Ok(RetainWord::Modifier),
        number => number.parse().map(RetainWord::Count).map_err(|_| format!("`{number}` is not a number of backups")),
    }
}

fn before_word(text: &str) -> Result<BeforeWord, String> {
    if text == "FIND_FULL" { Ok(BeforeWord::Modifier) } else { cutoff(text).map(BeforeWord::Cutoff) }
}

fn cutoff(text: &str) -> Result<Cutoff, String> {
    if let Ok(name) = text.parse::<BackupName>() {
        return Ok(Cutoff::Backup(name));
    }
    parse::moment(text).map(Cutoff::Time).map_err(|_| format!("`{text}` is neither the name of a backup nor a moment"))
}

/// A rule whose words do not fit together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct BadRule(&'static str);

impl stillframe_core::error::Classify for BadRule {
    fn class(&self) -> stillframe_core::error::ErrorClass {
        stillframe_core::error::ErrorClass::Usage
    }
}

impl Rule {
    /// The rule that the words say; `policy` is what the configuration says.
    pub fn parsed(&self, policy: Option<&RetentionPolicy>) -> Result<RetentionRule, Failure> {
        Ok(match self {
            Self::Retain { count, after } => match count.as_slice() {
                [RetainWord::Count(count)] | [RetainWord::Modifier, RetainWord::Count(count)] => {
                    RetentionRule::Retain { count: *count, after: after.clone() }
                }
                _ => return Err(BadRule("`retain` takes one number, and FULL or FIND_FULL before it if need be").into()),
            },
            Self::Before { cutoff } => match cutoff.as_slice() {
                [BeforeWord::Cutoff(cutoff)] | [BeforeWord::Modifier, BeforeWord::Cutoff(cutoff)] => {
                    RetentionRule::Before(cutoff.clone())
                }
                _ => return Err(BadRule("`before` takes one name or moment, and FIND_FULL before it if need be").into()),
            },
            Self::Target { name } => RetentionRule::Target(name.ours("delete target")?.clone()),
            Self::Everything => RetentionRule::Everything,
            Self::Garbage => RetentionRule::Garbage,
            // A policy without rules is refused, with what to do about it.
            Self::Policy => RetentionRule::Policy(policy.cloned().unwrap_or_default()),
        })
    }
}
