//! EC2's moments, `2026-11-21T08:30:00.000Z`, and milliseconds since 1970.
//!
//! A calendar in fifty lines: a crate for it would be a third of the component.

const DAY_MS: u64 = 86_400_000;

/// Reads a moment in UTC; none when it is not one, or lies before 1970.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let (date, time) = text.trim().strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = numbers(clock, ':')?;
    let is_date = (1_970..=9_999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !is_date || hour > 23 || minute > 59 || second > 60 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let millis: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    Some(days(year, month, day) * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1_000 + millis)
}

/// Writes a moment, with milliseconds.
pub(crate) fn format(ms: u64) -> String {
    // The inverse of `days`, by the proleptic Gregorian calendar's cycle of 400 years, begun on 1 March of the year 0.
    let from_zero = ms / DAY_MS + 719_468;
    let (era, of_era) = (from_zero / 146_097, from_zero % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (second, millis) = (ms % DAY_MS / 1_000, ms % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{millis:03}Z", second / 3_600, second / 60 % 60, second % 60)
}

/// Days since 1970.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let mut parts = text.split(separator).map(|part| part.parse().ok());
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::{format, parse};

    #[test]
    fn reads_what_ec2_writes_and_writes_what_it_reads() {
        for (text, ms) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("2000-02-29T23:59:59.999Z", 951_868_799_999),
            ("2026-11-21T00:00:00.000Z", 1_795_219_200_000),
            ("2100-03-01T12:00:00.500Z", 4_107_585_600_500),
        ] {
            assert_eq!(parse(text), Some(ms), "{text}");
            assert_eq!(format(ms), text);
        }
        assert_eq!(parse("2026-11-21T00:00:00Z"), Some(1_795_219_200_000));
        assert_eq!(parse("2026-11-21T00:00:00.5Z"), Some(1_795_219_200_500));
        for text in ["", "2026-11-21", "2026-13-21T00:00:00Z", "2026-11-21T00:00:00", "1969-12-31T00:00:00Z", "x-1-1T0:0:0Z"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
