//! Values of flags that several commands share.

use std::path::PathBuf;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use stillframe_core::postgres::TimelineId;

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

/// A timeline, as `pg_controldata` shows it: a number from 1.
pub fn timeline(text: &str) -> Result<TimelineId, String> {
    let number = text.parse().ok().and_then(|number| TimelineId::new(number).ok());
    number.ok_or_else(|| format!("`{text}` is not a timeline: give a number from 1"))
}

/// A pair of absolute paths: `OLD=NEW`.
pub fn mapping(text: &str) -> Result<(PathBuf, PathBuf), String> {
    let (old, new) = text.split_once('=').ok_or_else(|| format!("`{text}` is not of the form OLD=NEW"))?;
    let (old, new) = (PathBuf::from(old), PathBuf::from(new));
    if old.is_absolute() && new.is_absolute() { Ok((old, new)) } else { Err("both paths must be absolute".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::{mapping, moment};

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
    fn refuses_mappings_that_depend_on_the_working_directory() {
        assert!(mapping("/old=/new").is_ok());
        for text in ["/old", "old=/new", "/old=new", "="] {
            assert!(mapping(text).is_err(), "{text}");
        }
    }
}
