//! Why a recovery ended, as the server that was promoted wrote it into the history of its timeline.

use std::path::Path;

use crate::data_directory::RecoveryTarget;
use crate::files::{FileError, read_if_present};
use crate::postgres::{Lsn, TimelineId, WalFileName};

/// What PostgreSQL writes where no target was set.
const WITHOUT_TARGET: &str = "no recovery target specified";

/// The end of the recovery that began a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fork {
    pub(super) position: Lsn,
    reason: String,
}

impl Fork {
    /// Reads the last line of the history; none when there is none.
    pub(super) fn read(data_directory: &Path, timeline: TimelineId) -> Result<Option<Self>, FileError> {
        let name = WalFileName::History { timeline }.to_string();
        let content = read_if_present(&data_directory.join("pg_wal").join(name))?;
        Ok(content.and_then(|content| Self::parse(&String::from_utf8_lossy(&content))))
    }

    fn parse(history: &str) -> Option<Self> {
        let is_entry = |line: &&str| line.trim_start().starts_with(|first: char| first.is_ascii_digit()) && line.contains('\t');
        let mut parts = history.lines().rfind(is_entry)?.trim().splitn(3, '\t');
        let position = parts.nth(1)?.parse().ok()?;
        Some(Self { position, reason: parts.next().unwrap_or_default().trim().to_owned() })
    }

    /// Why this is not the end that was asked for; none when it is.
    ///
    /// Where a target was set and not met, the server fills in what it has: number 0, position 0/0, no name, and the beginning of
    /// its time, in its own time zone.
    pub(super) fn falls_short_of(&self, target: &RecoveryTarget) -> Option<String> {
        let what = self.reason.strip_prefix("before ").or_else(|| self.reason.strip_prefix("after ")).unwrap_or(&self.reason);
        let is_met = match target {
            RecoveryTarget::EndOfWal => self.reason == WITHOUT_TARGET,
            RecoveryTarget::Immediate => self.reason == "reached consistency",
            RecoveryTarget::Name(name) => what == format!("at restore point \"{name}\""),
            RecoveryTarget::Xid(number) => what == format!("transaction {}", number & u64::from(u32::MAX)) && *number != 0,
            RecoveryTarget::Lsn(_) => {
                what.strip_prefix("LSN ").and_then(|text| text.parse::<Lsn>().ok()).is_some_and(|found| found != Lsn(0))
            }
            RecoveryTarget::Time(_) => {
                let is_beginning = ["1999-12-31", "2000-01-01"].iter().any(|day| what.starts_with(day));
                what.starts_with(|first: char| first.is_ascii_digit()) && !is_beginning
            }
        };
        let because = if self.reason == WITHOUT_TARGET { "it had no target" } else { "the WAL ended before the target" };
        (!is_met).then(|| format!("{because}; the server noted the end at {} as `{}`", self.position, self.reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fork(reason: &str) -> Fork {
        Fork::parse(&format!("1\t0/2000000\tno recovery target specified\n\n2\t0/3000148\t{reason}\n")).unwrap()
    }

    #[test]
    fn the_last_line_tells_where_and_why() {
        let fork = fork("at restore point \"the target\"");
        assert_eq!((fork.position, fork.reason.as_str()), (Lsn(0x0300_0148), "at restore point \"the target\""));
        assert_eq!(Fork::parse(""), None);
    }

    #[test]
    fn an_end_with_what_the_server_fills_in_is_no_target_that_was_reached() {
        let moment = RecoveryTarget::Time("2026-11-22T10:00:00Z".parse().unwrap());
        let cases = [
            (moment.clone(), "before 2026-11-22 11:00:00.5+01", true),
            (moment.clone(), "before 2000-01-01 00:00:00+00", false),
            (moment, "before 1999-12-31 19:00:00-05", false),
            (RecoveryTarget::Xid(560), "after transaction 560", true),
            (RecoveryTarget::Xid(560), "before transaction 0", false),
            (RecoveryTarget::Lsn(Lsn(0x300_0000)), "after LSN 0/3000060", true),
            (RecoveryTarget::Lsn(Lsn(0x300_0000)), "before LSN 0/0", false),
            (RecoveryTarget::Name("x".to_owned()), "at restore point \"x\"", true),
            (RecoveryTarget::Name("x".to_owned()), "at restore point \"\"", false),
            (RecoveryTarget::Name("x".to_owned()), WITHOUT_TARGET, false),
            (RecoveryTarget::Immediate, "reached consistency", true),
            (RecoveryTarget::EndOfWal, WITHOUT_TARGET, true),
            (RecoveryTarget::EndOfWal, "at restore point \"x\"", false),
        ];
        for (target, reason, is_met) in cases {
            assert_eq!(fork(reason).falls_short_of(&target).is_none(), is_met, "{target:?}: {reason}");
        }
    }
}
