//! The section `[retention]`: what `delete policy` keeps.

use stillframe_core::error::Classify;
use stillframe_core::retention::{InvalidPolicy, RetentionPolicy};

use super::reader::Reader;
use super::{ConfigError, kind};

/// The keys that say what to keep; the others only add to them.
const RULES: [&str; 7] = [
    "retention.count",
    "retention.window",
    "retention.standalone",
    "retention.daily",
    "retention.weekly",
    "retention.monthly",
    "retention.yearly",
];

/// Reads the policy; none when no key says what to keep. What contradicts itself is refused before anything is deleted by it.
pub(super) fn read(read: &Reader<'_>) -> Result<Option<RetentionPolicy>, ConfigError> {
    if RULES.iter().all(|key| read.value(key).is_none()) {
        return Ok(None);
    }
    let policy = RetentionPolicy {
        count: read.number("retention.count"),
        window: read.parsed("retention.window", kind::length)?,
        standalone: read.parsed("retention.standalone", kind::length)?,
        daily: read.number("retention.daily"),
        weekly: read.number("retention.weekly"),
        monthly: read.number("retention.monthly"),
        yearly: read.number("retention.yearly"),
        minimum: read.number("retention.minimum").unwrap_or(1),
        keep_proven: read.flag("retention.keep_proven").unwrap_or(true),
    };
    policy.check().map_err(|invalid| {
        let hint = invalid.hint().unwrap_or_default();
        read.clash(key_of(invalid), invalid.to_string(), hint)
    })?;
    Ok(Some(policy))
}

/// The key that is to be changed.
fn key_of(invalid: InvalidPolicy) -> &'static str {
    match invalid {
        InvalidPolicy::BelowMinimum { .. } => "retention.count",
        InvalidPolicy::NoFirstTier | InvalidPolicy::ShortSecondTier => "retention.standalone",
        InvalidPolicy::NoRule | InvalidPolicy::Nothing(_) | InvalidPolicy::NoTime(_) => "retention.window",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use stillframe_core::error::Classify;
    use stillframe_core::retention::RetentionPolicy;

    use super::super::tests::load;

    const SMALLEST: &str = "[cluster]\nname = \"main\"\n[store]\nurl = \"file:///store\"\n";

    fn policy(section: &str) -> Result<Option<RetentionPolicy>, (String, String)> {
        let loaded = load(&format!("{SMALLEST}[retention]\n{section}"), &[]);
        loaded.map(|config| config.retention).map_err(|error| (error.to_string(), error.hint().unwrap_or_default()))
    }

    #[test]
    fn a_policy_says_what_its_keys_say() {
        let all = "count = 3\nwindow = \"7 days\"\nstandalone = \"30 days\"\ndaily = 7\nweekly = 4\nmonthly = 12\nyearly = 2\n\
                   minimum = 2\nkeep_proven = false\n";
        let days = |number: u64| Some(Duration::from_hours(24 * number));
        let expected = RetentionPolicy {
            count: Some(3),
            window: days(7),
            standalone: days(30),
            daily: Some(7),
            weekly: Some(4),
            monthly: Some(12),
            yearly: Some(2),
            minimum: 2,
            keep_proven: false,
        };
        assert_eq!(policy(all), Ok(Some(expected)));
        let least = RetentionPolicy { window: days(7), ..RetentionPolicy::default() };
        assert_eq!(policy("window = \"168h\"\n"), Ok(Some(least)));
        assert_eq!((policy(""), policy("minimum = 3\n")), (Ok(None), Ok(None)), "these say only what to keep besides");
    }

    #[test]
    fn what_contradicts_itself_or_keeps_too_little_is_refused() {
        for (section, message, hint) in [
            ("count = 1\nminimum = 2", "fewer than `minimum`", "raise `count`"),
            ("standalone = \"30 days\"", "second tier", "set `window`"),
            ("window = \"7 days\"\nstandalone = \"168h\"", "not longer than `window`", "make `standalone` longer"),
            ("window = \"6m\"", "minutes", ""),
            ("window = 7", "not a length of time", ""),
            ("window = \"0 days\"", "shorter than an hour", ""),
            ("count = 0", "from 1 to", ""),
            ("minimum = 0\nwindow = \"7 days\"", "from 1 to", ""),
            ("windows = \"7 days\"", "unknown key `retention.windows`", "`retention.window`"),
            ("keep_proven = \"no\"\ncount = 1", "neither `true` nor `false`", ""),
        ] {
            let (said, advice) = policy(section).unwrap_err();
            assert!(said.contains(message) && advice.contains(hint), "{section}: {said} / {advice}");
        }
    }
}
