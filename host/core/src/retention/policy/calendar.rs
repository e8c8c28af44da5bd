//! Days, weeks, months and years: the newest backup of each stays.
//!
//! By the calendar of UTC, which has no summer time and is the same on every host, and by the time that the backup's server told:
//! a clock that was off puts a backup into a period of its own and takes none from another one. Periods without a backup do not
//! count, so that a pause costs nothing.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::super::KeepReason;
use crate::catalog::{Backup, BackupState};

/// A period of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Period {
    /// A day.
    Day(Date),
    /// A week of ISO 8601, by the year that it belongs to.
    Week(i16, i8),
    /// A month of a year.
    Month(i16, i8),
    /// A year.
    Year(i16),
}

impl fmt::Display for Period {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day(date) => write!(formatter, "the day {date}"),
            Self::Week(year, week) => write!(formatter, "the week {year}-W{week:02}"),
            Self::Month(year, month) => write!(formatter, "the month {year}-{month:02}"),
            Self::Year(year) => write!(formatter, "the year {year}"),
        }
    }
}

/// How many periods of each kind are still to be filled.
pub(super) struct Calendar {
    kinds: [Kind; 4],
}

struct Kind {
    wanted: Option<usize>,
    of: fn(Date) -> Period,
    filled: BTreeSet<Period>,
}

impl Calendar {
    /// From the numbers of days, weeks, months and years.
    pub(super) fn new([daily, weekly, monthly, yearly]: [Option<usize>; 4]) -> Self {
        let kind = |wanted, of| Kind { wanted, of, filled: BTreeSet::new() };
        Self {
            kinds: [
                kind(daily, Period::Day),
                kind(weekly, |date| Period::Week(date.iso_week_date().year(), date.iso_week_date().week())),
                kind(monthly, |date| Period::Month(date.year(), date.month())),
                kind(yearly, |date| Period::Year(date.year())),
            ],
        }
    }

    /// Says whether this backup is the newest of a period; the newest backup is asked about first.
    pub(super) fn take(&mut self, backup: &Backup) -> Option<KeepReason> {
        if backup.has_failed() {
            return None;
        }
        let date = date_of(backup.sentinel.started_at);
        let mut newest = None;
        for kind in &mut self.kinds {
            let period = (kind.of)(date);
            if kind.wanted.is_none_or(|wanted| kind.filled.len() >= wanted) || kind.filled.contains(&period) {
                continue;
            }
            // One that may turn out to have failed leaves the place to an older one.
            if backup.state == BackupState::Ready {
                kind.filled.insert(period);
            }
            newest = newest.or(Some(period));
        }
        newest.map(KeepReason::NewestOf)
    }
}

fn date_of(moment: Timestamp) -> Date {
    moment.to_zoned(TimeZone::UTC).date()
}
