//! Values of flags that several commands share.

use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp};
use stillframe_core::catalog::InvalidBackupName;
use stillframe_core::flows::AnyBackupName;
use stillframe_core::postgres::{TimelineId, WalSegmentSize};

/// A moment: RFC 3339, or `2026-11-21 08:32:14` with or without a zone. Without one it is the local time.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    if let Ok(zoned) = jiff::fmt::strtime::parse("%Y-%m-%d %H:%M:%S%.f%#z", text).and_then(|time| time.to_timestamp()) {
        return Ok(zoned);
    }
    let local: DateTime = text.parse().map_err(|_| {
        format!("`{text}` is not a moment: write `2026-11-21 08:32:14`, or with a zone `2026-11-21T08:32:14+01:00`")
    })?;
    let zoned = local.to_zoned(TimeZone::system()).map_err(|error| error.to_string())?;
    Ok(zoned.timestamp())
}

/// A length of time: `26h`, `7 days`, `2w`. A day has 24 hours.
pub fn age(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a length of time: write `26h`, `7 days` or `2w`");
    let span: Span = text.parse().map_err(|_| wrong())?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| format!("{}; months differ", wrong()))?;
    if duration.is_positive() { Ok(duration.unsigned_abs()) } else { Err(wrong()) }
}

/// A timeline, as `pg_controldata` shows it: a number from 1.
pub fn timeline(text: &str) -> Result<TimelineId, String> {
    let number = text.parse().ok().and_then(|number| TimelineId::new(number).ok());
    number.ok_or_else(|| format!("`{text}` is not a timeline: give a number from 1"))
}

/// A segment size in MiB.
pub fn segment_size(text: &str) -> Result<WalSegmentSize, String> {
    let megabytes = text.strip_suffix("MB").or_else(|| text.strip_suffix("MiB")).unwrap_or(text);
    let bytes = megabytes.parse::<u32>().ok().and_then(|number| number.checked_mul(1 << 20));
    let size = bytes.and_then(|bytes| WalSegmentSize::try_from(bytes).ok());
    size.ok_or_else(|| format!("`{text}` is not a segment size: a power of two from 1 to 1024"))
}

/// The name of a backup, ours or WAL-G's.
pub fn any_backup(text: &str) -> Result<AnyBackupName, String> {
    match text.parse() {
        Ok(name) => Ok(AnyBackupName::WalG(name)),
        Err(_) => text
            .parse()
            .map(AnyBackupName::Snapshot)
            .map_err(|error: InvalidBackupName| format!("{error}; `stillframe backup-list` shows them")),
    }
}

/// A pair of absolute paths: `OLD=NEW`.
pub fn mapping(text: &str) -> Result<(PathBuf, PathBuf), String> {
    let (old, new) = text.split_once('=').ok_or_else(|| format!("`{text}` is not of the form OLD=NEW"))?;
    let (old, new) = (PathBuf::from(old), PathBuf::from(new));
    if old.is_absolute() && new.is_absolute() { Ok((old, new)) } else { Err("both paths must be absolute".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::{Duration, WalSegmentSize, age, mapping, moment, segment_size};

    #[test]
    fn reads_moments_as_people_and_postgresql_write_them() {
        let expected = "2026-11-21T08:32:14.5Z".parse().unwrap();
        for text in
            ["2026-11-21T08:32:14.5Z", "2026-11-21 08:32:14.5+00", "2026-11-21 09:32:14.5+01:00", "2026-11-21T10:02:14.5+01:30"]
        {
            assert_eq!(moment(text).unwrap(), expected, "{text}");
        }
        assert!(moment("2026-11-21 08:32:14").is_ok(), "local time");
        for text in ["", "yesterday", "2026-13-01 00:00:00", "2026-11-21 25:00:00+00"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_lengths_of_time_as_people_write_them() {
        for (text, hours) in [("26h", 26), ("7 days", 168), ("2w", 336), ("1 day 2 hours", 26), ("P1D", 24)] {
            assert_eq!(age(text).unwrap(), Duration::from_hours(hours), "{text}");
        }
        for text in ["", "7", "-1h", "0h", "2 months", "soon"] {
            assert!(age(text).is_err(), "{text}");
        }
    }

    #[test]
    fn refuses_sizes_that_no_cluster_has() {
        assert_eq!(segment_size("16").unwrap(), WalSegmentSize::DEFAULT);
        assert_eq!(segment_size("16MB").unwrap(), WalSegmentSize::DEFAULT);
        for text in ["", "0", "3", "2048", "16 GB", "-1", "99999999999"] {
            assert!(segment_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn refuses_mappings_that_depend_on_the_working_directory() {
        assert!(mapping("/old=/new").is_ok());
        for text in ["/old", "old=/new", "/old=new", "="] {
            assert!(mapping(text).is_err(), "{text}");
        }
    }
}
