//! Where a recovery shall stop: the flags that `snapshot-fetch` and `drill` share.

use clap::Args;
use jiff::Timestamp;
use stillframe_core::data_directory::{Inclusion, RecoveryTarget, TargetTimeline};
use stillframe_core::postgres::Lsn;

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
    /// Where recovery stops; the end of the WAL when nobody says.
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

fn timeline(text: &str) -> Result<TargetTimeline, String> {
    match text {
        "latest" => Ok(TargetTimeline::Latest),
        "current" => Ok(TargetTimeline::Current),
        number => parse::timeline(number)
            .map(TargetTimeline::Number)
            .map_err(|_| format!("`{number}` is neither `latest`, `current` nor a number from 1")),
    }
}
