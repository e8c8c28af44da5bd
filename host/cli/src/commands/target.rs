//! Where a recovery shall stop: the flags that `snapshot-fetch` and `can-restore` share.

use clap::Args;
use jiff::Timestamp;
use stillframe_core::data_directory::{Inclusion, RecoveryTarget, TargetTimeline};
use stillframe_core::flows::BackupSelector;
use stillframe_core::postgres::Lsn;

use super::named::NamedBackup;
use crate::parse;

/// The flags.
#[derive(Debug, Args)]
#[expect(clippy::struct_field_names, reason = "they are the names of the flags")]
pub struct TargetOptions {
    /// Recover to this moment: `2026-11-21 08:32:14+00`, local time without a zone
    #[arg(long, value_name = "TIME", value_parser = parse::moment, group = "target")]
    target_time: Option<Timestamp>,
    /// Recover to this WAL position: `16/B374D848`
    #[arg(long, value_name = "LSN", group = "target")]
    target_lsn: Option<Lsn>,
    /// Recover to the end of this transaction
    #[arg(long, value_name = "XID", group = "target")]
    target_xid: Option<u64>,
    /// Recover to this restore point
    #[arg(long, value_name = "NAME", group = "target")]
    target_name: Option<String>,
    /// Recover no further than to consistency
    #[arg(long, group = "target")]
    target_immediate: bool,
    /// Stop just before the target instead of just after it
    #[arg(long)]
    target_exclusive: bool,
    /// The timeline to follow: `latest`, `current` or a number
    #[arg(long, value_name = "TIMELINE", default_value = "latest", value_parser = timeline)]
    pub target_timeline: TargetTimeline,
}

impl TargetOptions {
    /// Where recovery stops.
    pub fn target(&self) -> RecoveryTarget {
        if let Some(moment) = self.target_time {
            RecoveryTarget::Time(moment)
        } else if let Some(position) = self.target_lsn {
            RecoveryTarget::Lsn(position)
        } else if let Some(transaction) = self.target_xid {
            RecoveryTarget::Xid(transaction)
        } else if let Some(name) = &self.target_name {
            RecoveryTarget::Name(name.clone())
        } else if self.target_immediate {
            RecoveryTarget::Immediate
        } else {
            RecoveryTarget::EndOfWal
        }
    }

    /// Whether the target itself belongs to the result.
    pub fn inclusion(&self) -> Inclusion {
        if self.target_exclusive { Inclusion::Exclusive } else { Inclusion::Inclusive }
    }
}

/// The name of a backup, or LATEST.
pub fn selector(text: &str) -> Result<BackupSelector, String> {
    text.parse::<NamedBackup>().map(BackupSelector::from)
}

/// The name of a backup or of an increment, or LATEST.
pub fn selector_or_increment(text: &str) -> Result<BackupSelector, String> {
    // What cannot be an increment is meant to be a backup.
    selector(text).or_else(|error| text.parse().map(BackupSelector::Increment).map_err(|_| error))
}

/// A moment, a WAL position or the name of a restore point, told apart by its form.
pub fn any_target(text: &str) -> Result<RecoveryTarget, String> {
    if let Ok(position) = text.parse() {
        return Ok(RecoveryTarget::Lsn(position));
    }
    if let Ok(moment) = parse::moment(text) {
        return Ok(RecoveryTarget::Time(moment));
    }
    // What begins like a date and is none is a slip, and no name that anybody gave on purpose.
    if text.len() > 4 && text.as_bytes().iter().take(4).all(u8::is_ascii_digit) && text.as_bytes()[4] == b'-' {
        return parse::moment(text).map(RecoveryTarget::Time);
    }
    if text.is_empty() {
        Err("give a moment, a WAL position or the name of a restore point".to_owned())
    } else {
        Ok(RecoveryTarget::Name(text.to_owned()))
    }
}

fn timeline(text: &str) -> Result<TargetTimeline, String> {
    match text {
        "latest" => Ok(TargetTimeline::Latest),
        "current" => Ok(TargetTimeline::Current),
        number => parse::timeline(number)
            .map(TargetTimeline::Number)
            .map_err(|_| format!("`{number}` is neither `latest`, `current` nor a number from 1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_told_by_its_form() {
        assert_eq!(any_target("16/B374D848").unwrap(), RecoveryTarget::Lsn("16/B374D848".parse().unwrap()));
        let moment = "2026-11-21T08:32:14Z".parse().unwrap();
        assert_eq!(any_target("2026-11-21 08:32:14+00").unwrap(), RecoveryTarget::Time(moment));
        assert_eq!(any_target("before the migration").unwrap(), RecoveryTarget::Name("before the migration".to_owned()));
        assert!(any_target("2026-11-21 8 o'clock").is_err());
        assert!(any_target("").is_err());
    }
}
