//! A backup history file: what the server archives when a backup stops on a primary.
//!
//! It holds `backup_label` and, between its lines, where and when the backup stopped. So it is the one place besides the sentinel
//! where a backup's end is known, and it bears the name that was given to `pg_backup_start`.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

use super::{BackupLabel, InvalidLabel, Lsn, TimelineId};
use crate::error::{Classify, ErrorClass};

/// What it adds to the lines of `backup_label`.
const STOP_LINES: [&str; 3] = ["STOP WAL LOCATION: ", "STOP TIME: ", "STOP TIMELINE: "];

/// Bytes of `YYYY-MM-DD HH:MM:SS`.
const MOMENT_LEN: usize = 19;

/// What one says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupHistory {
    name: String,
    label: BackupLabel,
    stop: Lsn,
    stop_timeline: TimelineId,
    start_time: Option<ServerMoment>,
    stop_time: Option<ServerMoment>,
}

/// A moment as the server's log would say it, by a clock whose zone need not be known.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ServerMoment {
    civil: DateTime,
    zone: String,
}

impl BackupHistory {
    /// Reads the file of a server of any version from 10.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidBackupHistory> {
        let text = String::from_utf8_lossy(bytes);
        let value = |prefix: &str| text.lines().find_map(|line| line.strip_prefix(prefix));
        let missing = |line: &'static str| InvalidBackupHistory::Line { line };
        let name = value("LABEL: ").ok_or(missing("LABEL"))?.to_owned();
        let stop = value(STOP_LINES[0]).and_then(|value| value.split_once(" (file ")?.0.parse().ok());
        let stop = stop.ok_or(missing("STOP WAL LOCATION"))?;
        let label = BackupLabel::parse(without_stop(bytes))?;
        if stop < label.start() {
            return Err(missing("STOP WAL LOCATION"));
        }
        let stop_timeline = match value(STOP_LINES[2]) {
            Some(value) => value.parse().ok().and_then(|number| TimelineId::new(number).ok()).ok_or(missing("STOP TIMELINE"))?,
            // PostgreSQL 10 does not say, and voids a backup that was promoted.
            None => label.timeline(),
        };
        if stop_timeline < label.timeline() {
            return Err(missing("STOP TIMELINE"));
        }
        let moment = |prefix| value(prefix).and_then(ServerMoment::parse);
        Ok(Self { name, start_time: moment("START TIME: "), stop_time: moment(STOP_LINES[1]), label, stop, stop_timeline })
    }

    /// The name that the backup was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What `backup_label` held, byte for byte.
    #[must_use]
    pub fn label(&self) -> &BackupLabel {
        &self.label
    }

    /// Where the backup stopped.
    #[must_use]
    pub fn stop(&self) -> Lsn {
        self.stop
    }

    /// The timeline on which it stopped.
    #[must_use]
    pub fn stop_timeline(&self) -> TimelineId {
        self.stop_timeline
    }

    /// A moment at which the backup had certainly stopped, given one at which it had certainly started.
    ///
    /// The file has whole seconds, and the zone of the server's log, which its letters do not always tell. Then only the time
    /// between start and stop is taken from it. None when it does not even tell that.
    #[must_use]
    pub fn stopped_by(&self, after_start: Timestamp) -> Option<Timestamp> {
        let (start, stop) = (self.start_time.as_ref()?, self.stop_time.as_ref()?);
        if matches!(stop.zone.as_str(), "UTC" | "GMT") {
            let stopped = stop.civil.to_zoned(TimeZone::UTC).ok()?.timestamp().checked_add(SignedDuration::from_secs(1)).ok()?;
            // The start is told by another clock, which may be ahead of the server's.
            return Some(stopped.max(after_start));
        }
        let lasted = stop.civil.duration_since(start.civil).max(SignedDuration::ZERO);
        // Summer time may have begun or ended in between.
        let shift = SignedDuration::from_hours(i64::from(start.zone != stop.zone));
        after_start.checked_add(lasted.checked_add(shift)?.checked_add(SignedDuration::from_secs(1))?).ok()
    }
}

impl ServerMoment {
    fn parse(text: &str) -> Option<Self> {
        let (civil, zone) = (text.get(..MOMENT_LEN)?, text.get(MOMENT_LEN..)?);
        Some(Self { civil: civil.parse().ok()?, zone: zone.trim().to_owned() })
    }
}

fn without_stop(bytes: &[u8]) -> Vec<u8> {
    let is_of_label = |line: &&[u8]| STOP_LINES.iter().all(|prefix| !line.starts_with(prefix.as_bytes()));
    bytes.split_inclusive(|byte| *byte == b'\n').filter(is_of_label).flatten().copied().collect()
}

/// A file that tells of no backup.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidBackupHistory {
    /// A line is missing.
    #[error("the line `{line}` of the backup history file is missing or invalid")]
    Line {
        /// Which.
        line: &'static str,
    },
    /// What it holds of `backup_label`.
    #[error("the backup history file holds no backup_label")]
    Label(#[from] InvalidLabel),
}

impl Classify for InvalidBackupHistory {
    fn class(&self) -> ErrorClass {
        ErrorClass::Corrupt
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LABEL: &str = "CHECKPOINT LOCATION: 0/2000060\nBACKUP METHOD: streamed\nBACKUP FROM: primary\n\
        START TIME: 2026-11-21 10:00:00 ZONE\nLABEL: sf-20261121T100000Z-00000000\nSTART TIMELINE: 1\n";
    const START: &str = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n";
    const STOP: &str = "STOP WAL LOCATION: 0/3000138 (file 000000010000000000000003)\n";

    fn file(start_zone: &str, stop: &str) -> String {
        format!("{START}{STOP}{}STOP TIME: {stop}\nSTOP TIMELINE: 1\n", LABEL.replace("ZONE", start_zone))
    }

    #[test]
    fn gives_back_the_label_byte_for_byte_and_the_stop() {
        let history = BackupHistory::parse(file("UTC", "2026-11-21 10:00:05 UTC").as_bytes()).unwrap();
        assert_eq!(history.label().as_bytes(), format!("{START}{}", LABEL.replace("ZONE", "UTC")).as_bytes());
        assert_eq!((history.stop(), history.stop_timeline()), (Lsn(0x300_0138), TimelineId::FIRST));
        assert_eq!(history.name(), "sf-20261121T100000Z-00000000");
        let of_10 = file("UTC", "2026-11-21 10:00:05 UTC").replace("START TIMELINE: 1\n", "").replace("STOP TIMELINE: 1\n", "");
        assert_eq!(BackupHistory::parse(of_10.as_bytes()).unwrap().stop_timeline(), TimelineId::FIRST);
    }

    #[test]
    fn the_end_is_never_told_too_early_whatever_the_zone_is() {
        let cut: Timestamp = "2026-11-21T10:00:02Z".parse().unwrap();
        let by = |start: &str, stop: &str| BackupHistory::parse(file(start, stop).as_bytes()).unwrap().stopped_by(cut);
        let at = |text: &str| text.parse::<Timestamp>().ok();
        assert_eq!(by("UTC", "2026-11-21 10:00:05 UTC"), at("2026-11-21T10:00:06Z"));
        assert_eq!(by("CET", "2026-11-21 10:00:05 CET"), at("2026-11-21T10:00:08Z"), "five seconds after the cut at the latest");
        assert_eq!(by("CEST", "2026-11-21 09:30:00 CET"), at("2026-11-21T11:00:03Z"), "the clock was set back");
        assert_eq!(by("UTC", "yesterday"), None);
    }

    #[test]
    fn a_start_by_a_clock_that_is_ahead_is_no_later_than_the_end() {
        let ahead: Timestamp = "2026-11-21T11:00:00Z".parse().unwrap();
        let history = BackupHistory::parse(file("UTC", "2026-11-21 10:00:05 UTC").as_bytes()).unwrap();
        assert_eq!(history.stopped_by(ahead), Some(ahead));
    }

    #[test]
    fn refuses_an_end_before_the_start_or_on_an_older_timeline() {
        let whole = file("UTC", "2026-11-21 10:00:05 UTC");
        for wrong in [whole.replace("LOCATION: 0/3000138", "LOCATION: 0/2000027"), whole.replace("TIMELINE: 1", "TIMELINE: 0")] {
            assert!(BackupHistory::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        let of_two = whole.replace("00000001", "00000002").replace("START TIMELINE: 1", "START TIMELINE: 2");
        assert_eq!(BackupHistory::parse(of_two.as_bytes()), Err(InvalidBackupHistory::Line { line: "STOP TIMELINE" }));
    }

    #[test]
    fn refuses_what_does_not_tell_where_the_backup_stopped() {
        let whole = file("UTC", "2026-11-21 10:00:05 UTC");
        for missing in ["STOP WAL LOCATION", "LABEL: ", "START WAL", "CHECKPOINT"] {
            let cut: String = whole.split_inclusive('\n').filter(|line| !line.starts_with(missing)).collect();
            assert!(BackupHistory::parse(cut.as_bytes()).is_err(), "{missing}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, after in 0i64..4_000_000_000) {
            if let Ok(history) = BackupHistory::parse(&bytes) {
                let _ = history.stopped_by(Timestamp::from_second(after).unwrap());
            }
        }

        #[test]
        fn never_panics_on_a_moment(stop in "[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} [A-Z]{0,4}") {
            if let Ok(history) = BackupHistory::parse(file("X", &stop).as_bytes()) {
                let _ = history.stopped_by(Timestamp::MAX);
            }
        }
    }
}
