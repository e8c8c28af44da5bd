//! What the server is told about a recovery: where WAL comes from, where to stop, and what to do then.
//!
//! The copy carries the original server's own settings. Whatever there could stop, delay or redirect this recovery, or act on the
//! archive during it, is overruled by name, for the main configuration file may well lie outside the copy.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use thiserror::Error;

use crate::error::{Classify, ErrorClass};
use crate::postgres::{Lsn, TimelineId};

/// Longest name of a restore point: the record has 64 bytes for it, with a zero at the end.
const MAX_NAME_BYTES: usize = 63;

/// First major version with `recovery.signal`, and with targets in the main configuration.
pub(super) const FIRST_WITH_SIGNAL: u32 = 12;

/// How a restored copy recovers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoverySettings {
    /// `restore_command`, with `%f` and `%p`.
    pub restore_command: String,
    /// Where to stop.
    pub target: RecoveryTarget,
    /// Whether what is exactly at the target belongs to the result; counts for a time, a position and a transaction.
    pub inclusive: Inclusion,
    /// Which timeline to follow.
    pub timeline: TargetTimeline,
    /// What to do at the target; without a target the server always promotes.
    pub action: TargetAction,
    /// Whether the copy may archive.
    pub archiving: Archiving,
}

/// Where recovery stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoveryTarget {
    /// At the end of the archive.
    EndOfWal,
    /// At a moment, by the commit times in the WAL.
    Time(Timestamp),
    /// At a position.
    Lsn(Lsn),
    /// At the end of a transaction.
    Xid(u64),
    /// At a restore point.
    Name(String),
    /// As soon as the copy is consistent.
    Immediate,
}

impl fmt::Display for RecoveryTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EndOfWal => formatter.write_str("the end of the archive"),
            Self::Time(moment) => write!(formatter, "the time {moment}"),
            Self::Lsn(position) => write!(formatter, "the position {position}"),
            Self::Xid(number) => write!(formatter, "the transaction {number}"),
            Self::Name(name) => write!(formatter, "the restore point `{name}`"),
            Self::Immediate => formatter.write_str("the end of the backup"),
        }
    }
}

/// Whether the target itself belongs to the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Inclusion {
    /// Stops after it.
    #[default]
    Inclusive,
    /// Stops before it.
    Exclusive,
}

/// Which timeline recovery follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TargetTimeline {
    /// The newest in the archive.
    #[default]
    Latest,
    /// That of the backup.
    Current,
    /// This one.
    Number(TimelineId),
}

/// What the server does at the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TargetAction {
    /// Waits, open for reading, until it is told to go on.
    #[default]
    Pause,
    /// Opens for writing, on a new timeline.
    Promote,
    /// Stops.
    Shutdown,
}

/// Whether the copy archives what it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Archiving {
    /// As the original server did: a real restore.
    #[default]
    Keep,
    /// Not at all: a test or a drill beside the living original.
    Off,
}

/// A target that no server could reach.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidTarget {
    /// No restore point can have this name.
    #[error("`{0}` is not the name of a restore point: it has 1 to 63 bytes")]
    Name(String),
    /// A setting with a zero byte.
    #[error("`{0}` holds a zero byte")]
    ZeroByte(&'static str),
}

impl Classify for InvalidTarget {
    fn class(&self) -> ErrorClass {
        ErrorClass::Usage
    }
}

/// Names of all settings that choose a target. No more than one of them may be set.
const TARGETS: [&str; 5] =
    ["recovery_target", "recovery_target_name", "recovery_target_time", "recovery_target_xid", "recovery_target_lsn"];

/// Settings of the original server that would act during this recovery, and the values that keep them from it.
const OVERRULED: [(&str, &str); 3] = [
    // A standby's own way to remove WAL from the archive.
    ("archive_cleanup_command", ""),
    // May move an address or fence the original server.
    ("recovery_end_command", ""),
    // A delayed standby would wait for hours.
    ("recovery_min_apply_delay", "0"),
];

/// Whether a setting of this name, in lower case, is replaced as a whole by [`RecoverySettings`].
pub(super) fn is_recovery_key(name: &[u8]) -> bool {
    let overruled = OVERRULED.iter().any(|(key, _)| key.as_bytes() == name);
    overruled || name == b"restore_command" || name.starts_with(b"recovery_target")
}

impl RecoverySettings {
    /// Names and unquoted values, in the order in which they must stand, for this major version.
    pub(super) fn assignments(&self, major: u32) -> Result<Vec<(&'static str, String)>, InvalidTarget> {
        let mut assignments = vec![("restore_command", self.restore_command.clone())];
        let target = self.target_assignment()?;
        if major >= FIRST_WITH_SIGNAL {
            assignments.extend(OVERRULED.map(|(name, value)| (name, value.to_owned())));
            // An empty value takes back a target, so each must stand before the one that is meant.
            let others = TARGETS.into_iter().filter(|name| target.as_ref().is_none_or(|(chosen, _)| chosen != name));
            assignments.extend(others.map(|name| (name, String::new())));
        }
        assignments.extend(self.timeline_assignment(major));
        if let Some(target) = target {
            assignments.push(target);
            assignments.extend(self.inclusion_assignment());
            let action = match self.action {
                TargetAction::Pause => "pause",
                TargetAction::Promote => "promote",
                TargetAction::Shutdown => "shutdown",
            };
            assignments.push(("recovery_target_action", action.to_owned()));
        }
        match assignments.iter().find(|(_, value)| value.contains('\0')) {
            Some((name, _)) => Err(InvalidTarget::ZeroByte(name)),
            None => Ok(assignments),
        }
    }

    fn target_assignment(&self) -> Result<Option<(&'static str, String)>, InvalidTarget> {
        Ok(Some(match &self.target {
            RecoveryTarget::EndOfWal => return Ok(None),
            RecoveryTarget::Time(moment) => {
                let utc = moment.to_zoned(TimeZone::UTC);
                ("recovery_target_time", utc.strftime("%Y-%m-%d %H:%M:%S.%6f+00").to_string())
            }
            RecoveryTarget::Lsn(position) => ("recovery_target_lsn", position.to_string()),
            RecoveryTarget::Xid(number) => ("recovery_target_xid", number.to_string()),
            RecoveryTarget::Name(name) if name.is_empty() || name.len() > MAX_NAME_BYTES => {
                return Err(InvalidTarget::Name(name.clone()));
            }
            RecoveryTarget::Name(name) => ("recovery_target_name", name.clone()),
            RecoveryTarget::Immediate => ("recovery_target", "immediate".to_owned()),
        }))
    }

    fn timeline_assignment(&self, major: u32) -> Option<(&'static str, String)> {
        let value = match self.timeline {
            TargetTimeline::Latest => "latest".to_owned(),
            // Before 12 it is the default, and has no spelling.
            TargetTimeline::Current if major < FIRST_WITH_SIGNAL => return None,
            TargetTimeline::Current => "current".to_owned(),
            TargetTimeline::Number(timeline) => timeline.to_string(),
        };
        Some(("recovery_target_timeline", value))
    }

    fn inclusion_assignment(&self) -> Option<(&'static str, String)> {
        let value = match self.inclusive {
            Inclusion::Inclusive => "on",
            Inclusion::Exclusive => "off",
        };
        let counts = matches!(self.target, RecoveryTarget::Time(_) | RecoveryTarget::Lsn(_) | RecoveryTarget::Xid(_));
        counts.then(|| ("recovery_target_inclusive", value.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(target: RecoveryTarget) -> RecoverySettings {
        RecoverySettings {
            restore_command: "stillframe wal-fetch %f %p".to_owned(),
            target,
            inclusive: Inclusion::Exclusive,
            timeline: TargetTimeline::Current,
            action: TargetAction::Promote,
            archiving: Archiving::Keep,
        }
    }

    fn text(settings: &RecoverySettings, major: u32) -> Vec<String> {
        settings.assignments(major).unwrap().into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn every_other_target_is_taken_back_before_the_chosen_one() {
        let moment: Timestamp = "2026-11-21T10:00:00.123456789+01:00".parse().unwrap();
        assert_eq!(
            text(&settings(RecoveryTarget::Time(moment)), 15),
            [
                "restore_command=stillframe wal-fetch %f %p",
                "archive_cleanup_command=",
                "recovery_end_command=",
                "recovery_min_apply_delay=0",
                "recovery_target=",
                "recovery_target_name=",
                "recovery_target_xid=",
                "recovery_target_lsn=",
                "recovery_target_timeline=current",
                "recovery_target_time=2026-11-21 09:00:00.123456+00",
                "recovery_target_inclusive=off",
                "recovery_target_action=promote",
            ]
        );
    }

    #[test]
    fn before_12_nothing_is_inherited_and_the_current_timeline_has_no_spelling() {
        assert_eq!(
            text(&settings(RecoveryTarget::Xid(5_000_000_000)), 11),
            [
                "restore_command=stillframe wal-fetch %f %p",
                "recovery_target_xid=5000000000",
                "recovery_target_inclusive=off",
                "recovery_target_action=promote"
            ]
        );
    }

    #[test]
    fn without_a_target_there_is_no_action_and_every_target_is_taken_back() {
        let assignments = settings(RecoveryTarget::EndOfWal).assignments(18).unwrap();
        let names: Vec<_> = assignments.iter().map(|(name, _)| *name).collect();
        assert!(TARGETS.iter().all(|target| names.contains(target)));
        assert!(!names.contains(&"recovery_target_action") && !names.contains(&"recovery_target_inclusive"));
    }

    #[test]
    fn inclusion_is_written_only_where_it_counts() {
        let has_inclusion = |target| text(&settings(target), 15).iter().any(|line| line.starts_with("recovery_target_inclusive"));
        assert!(has_inclusion(RecoveryTarget::Lsn(Lsn(1))));
        assert!(!has_inclusion(RecoveryTarget::Name("before".into())) && !has_inclusion(RecoveryTarget::Immediate));
    }

    #[test]
    fn refuses_names_that_no_restore_point_has() {
        for name in [String::new(), "x".repeat(64)] {
            let target = settings(RecoveryTarget::Name(name.clone()));
            assert_eq!(target.assignments(15), Err(InvalidTarget::Name(name)));
        }
        let with_zero = settings(RecoveryTarget::Name("a\0b".into()));
        assert_eq!(with_zero.assignments(15), Err(InvalidTarget::ZeroByte("recovery_target_name")));
    }
}
