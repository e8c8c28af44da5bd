//! A retention policy: what an operator promises to be able to restore, and which backups keep that promise.
//!
//! Two tiers. Point-in-time recovery reaches back as far as `window` and `count` say; what `standalone`, the calendar, a lock or a
//! drill keep beyond that are single moments, which keep their own WAL only. Without `window` and `count` there is one tier: from
//! every backup that stays, everything later can be reached.

mod calendar;
mod lines;
mod tiers;

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;

pub use calendar::Period;
pub(super) use tiers::give_up_recovery;

use super::holds::Holds;
use super::order::Placed;
use super::{Ancestry, KeepReason, Reason, RemoveReason};
use crate::catalog::{Backup, BackupState, Permanence};
use crate::error::{Classify, ErrorClass};
use crate::postgres::TimelineId;
use calendar::Calendar;
use lines::{Bases, bases};

/// What is to be kept. A rule that is none keeps nothing by itself; what any of them keeps stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// First tier: the newest so many.
    pub count: Option<usize>,
    /// First tier: whatever recovery to every moment of so long a time needs.
    pub window: Option<Duration>,
    /// Second tier: whatever is not older.
    pub standalone: Option<Duration>,
    /// The newest of each of so many days with backups.
    pub daily: Option<usize>,
    /// The newest of each of so many weeks with backups.
    pub weekly: Option<usize>,
    /// The newest of each of so many months with backups.
    pub monthly: Option<usize>,
    /// The newest of each of so many years with backups.
    pub yearly: Option<usize>,
    /// First tier: so many stay, however old they are. At least 1.
    pub minimum: usize,
    /// Whether the last one that a drill proved stays.
    pub keep_proven: bool,
}

impl Default for RetentionPolicy {
    /// A policy without rules, which is refused.
    fn default() -> Self {
        Self {
            count: None,
            window: None,
            standalone: None,
            daily: None,
            weekly: None,
            monthly: None,
            yearly: None,
            minimum: 1,
            keep_proven: true,
        }
    }
}

/// A policy that contradicts itself, or would cost what nobody wants to lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidPolicy {
    /// Nothing says what to keep.
    #[error("the retention policy has no rule, so it would delete all but the minimum")]
    NoRule,
    /// A rule that keeps nothing.
    #[error("`{0}` must keep at least 1 backup")]
    Nothing(&'static str),
    /// A time of no length.
    #[error("`{0}` must be longer than nothing")]
    NoTime(&'static str),
    /// The count is below the minimum.
    #[error("`count` keeps {count}, fewer than `minimum`, which keeps {minimum}")]
    BelowMinimum {
        /// The count.
        count: usize,
        /// The minimum.
        minimum: usize,
    },
    /// A second tier without a first.
    #[error("`standalone` is a second tier, and neither `window` nor `count` says where the first one ends")]
    NoFirstTier,
    /// The second tier ends before the first.
    #[error("`standalone` is not longer than `window`, so it would keep nothing")]
    ShortSecondTier,
}

impl Classify for InvalidPolicy {
    fn class(&self) -> ErrorClass {
        ErrorClass::Config
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoRule => "say under `[retention]` what to keep, for example `window = \"7 days\"`".to_owned(),
            Self::Nothing(key) | Self::NoTime(key) => format!("leave `{key}` out if it is not wanted"),
            Self::BelowMinimum { .. } => "raise `count` or lower `minimum`".to_owned(),
            Self::NoFirstTier => "set `window`, for example to \"7 days\"".to_owned(),
            Self::ShortSecondTier => "make `standalone` longer than `window`, or leave it out".to_owned(),
        })
    }
}

impl RetentionPolicy {
    /// Refuses what contradicts itself.
    pub fn check(&self) -> Result<(), InvalidPolicy> {
        let calendar = [("daily", self.daily), ("weekly", self.weekly), ("monthly", self.monthly), ("yearly", self.yearly)];
        let counts = [("count", self.count), ("minimum", Some(self.minimum))].into_iter().chain(calendar);
        if let Some((key, _)) = counts.clone().find(|(_, count)| *count == Some(0)) {
            return Err(InvalidPolicy::Nothing(key));
        }
        let times = [("window", self.window), ("standalone", self.standalone)];
        if let Some((key, _)) = times.into_iter().find(|(_, time)| *time == Some(Duration::ZERO)) {
            return Err(InvalidPolicy::NoTime(key));
        }
        if let Some(count) = self.count.filter(|count| *count < self.minimum) {
            return Err(InvalidPolicy::BelowMinimum { count, minimum: self.minimum });
        }
        if self.standalone.is_some() && !self.has_tiers() {
            return Err(InvalidPolicy::NoFirstTier);
        }
        if matches!((self.window, self.standalone), (Some(window), Some(standalone)) if standalone <= window) {
            return Err(InvalidPolicy::ShortSecondTier);
        }
        if !self.has_tiers() && calendar.iter().all(|(_, count)| count.is_none()) {
            return Err(InvalidPolicy::NoRule);
        }
        Ok(())
    }

    /// Whether something says where point-in-time recovery may end.
    fn has_tiers(&self) -> bool {
        self.window.is_some() || self.count.is_some()
    }
}

/// What a backup is kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tier {
    /// To recover to any moment since.
    PointInTime,
    /// To restore it as it was.
    Own,
}

/// What the policy says about one backup.
pub(super) struct Verdict {
    pub(super) reason: Reason,
    pub(super) tier: Tier,
}

/// What the policy says about each backup, in the order in which they are given: oldest first.
pub(super) fn judge(
    policy: &RetentionPolicy,
    order: &[Placed<'_>],
    timelines: &BTreeSet<TimelineId>,
    ancestry: &Ancestry,
    holds: &Holds,
    now: Timestamp,
) -> Vec<Verdict> {
    let since = policy.window.map(|window| ago(now, window));
    let bases = since.map_or_else(Bases::default, |since| bases(order, timelines, ancestry, since));
    let proven = if policy.keep_proven { last_proven(order) } else { None };
    let mut calendar = Calendar::new([policy.daily, policy.weekly, policy.monthly, policy.yearly]);
    // A restore may still have to replay whatever follows.
    let has_one_tier = |backup: &Backup| !policy.has_tiers() || holds.restore_of(backup).is_some();
    let mut counted = 0;
    let mut verdicts: Vec<Verdict> = Vec::with_capacity(order.len());
    for (place, placed) in order.iter().enumerate().rev() {
        let backup = placed.backup;
        if let Some(reason) = settled(backup) {
            // A permanent one needs its own WAL only, whatever else.
            verdicts.push(Verdict { reason, tier: Tier::Own });
            continue;
        }
        if backup.has_failed() {
            verdicts.push(Verdict { reason: holds.remove(backup, RemoveReason::Failed), tier: Tier::Own });
            continue;
        }
        let first_tier = || {
            let in_window = since.filter(|since| finished(placed) >= *since).map(|_| KeepReason::InWindow);
            let newest = || policy.count.filter(|count| counted < *count).map(KeepReason::AmongNewest);
            let minimum = || (counted < policy.minimum).then_some(KeepReason::Minimum(policy.minimum));
            in_window.or_else(|| bases.reason(place)).or_else(newest).or_else(minimum)
        };
        // Always asked, whatever else keeps it: it is the newest of its day all the same.
        let dated = calendar.take(backup);
        let second_tier = || {
            let is_young = policy.standalone.is_some_and(|length| finished(placed) > ago(now, length));
            let young = is_young.then_some(KeepReason::SecondTier);
            let last_proven = || (proven == Some(place)).then_some(KeepReason::LastProven);
            young.or(dated).or_else(last_proven)
        };
        let (kept, tier) = match first_tier() {
            Some(reason) => (Some(reason), Tier::PointInTime),
            None => (second_tier(), if has_one_tier(backup) { Tier::PointInTime } else { Tier::Own }),
        };
        let reason = match kept {
            // Not counted, for it may turn out to have failed; and not deleted either, as long as it would be kept if it is good.
            Some(_) if backup.state != BackupState::Ready => Reason::Keep(KeepReason::NotReady),
            Some(reason) => Reason::Keep(reason),
            None => holds.remove(backup, RemoveReason::TooOld),
        };
        verdicts.push(Verdict { reason, tier });
        counted += usize::from(is_base(backup));
    }
    verdicts.reverse();
    verdicts
}

/// What is decided before any rule.
pub(super) fn settled(backup: &Backup) -> Option<Reason> {
    if backup.is_condemned {
        return Some(Reason::Remove(RemoveReason::Condemned));
    }
    if backup.permanence == Permanence::Permanent {
        return Some(Reason::Keep(KeepReason::Permanent));
    }
    None
}

/// Whether a rule may count on it: an ordinary backup that can be restored, and from which later moments can be reached.
pub(super) fn is_base(backup: &Backup) -> bool {
    backup.permanence == Permanence::Ordinary && !backup.is_condemned && !backup.is_standalone && backup.state == BackupState::Ready
}

/// The place of the newest one that a drill proved.
pub(super) fn last_proven(order: &[Placed<'_>]) -> Option<usize> {
    order.iter().rposition(|placed| {
        let backup = placed.backup;
        let is_proven = backup.drill.as_ref().is_some_and(crate::catalog::DrillRecord::is_proof);
        is_proven && !backup.is_condemned && backup.state == BackupState::Ready
    })
}

/// When it had finished: as long after its corrected begin as after the one that its server's clock told.
fn finished(placed: &Placed<'_>) -> Timestamp {
    let sentinel = &placed.backup.sentinel;
    let took = sentinel.finished_at.duration_since(sentinel.started_at).max(jiff::SignedDuration::ZERO);
    placed.began.checked_add(took).unwrap_or(Timestamp::MAX)
}

fn ago(now: Timestamp, time: Duration) -> Timestamp {
    now.checked_sub(time).unwrap_or(Timestamp::MIN)
}
