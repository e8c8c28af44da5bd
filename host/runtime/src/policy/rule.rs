//! One rule: the patterns for a whole list of arguments.
//!
//! Nothing matches but the whole list in its order. Again all ways to read it are followed at once: with repeated patterns there
//! are more of them than anybody could try one after the other.

use std::fmt;

use super::pattern::Times;
use super::{Keys, Pattern, PolicyError};

/// Patterns of one rule; the longest commands that anyone writes have some twenty arguments.
const MAX_PATTERNS: usize = 64;

/// What a list of arguments may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    patterns: Vec<Pattern>,
}

impl Rule {
    /// Reads a rule that stands at this place of a policy. A rule without a pattern allows the program without an argument.
    pub fn parse(texts: &[String], place: &str, keys: &Keys<'_>) -> Result<Self, PolicyError> {
        if texts.len() > MAX_PATTERNS {
            return Err(PolicyError::rule(place, format!("it has {} patterns, and {MAX_PATTERNS} are allowed", texts.len())));
        }
        let patterns = texts.iter().map(|text| Pattern::parse(text, place, keys)).collect::<Result<_, _>>()?;
        Ok(Self { patterns })
    }

    /// Whether there is any list that it describes: not when it needs a value of a key that holds an empty list.
    pub(crate) fn can_match(&self) -> bool {
        self.patterns.iter().all(|pattern| matches!(pattern.times, Times::Optional | Times::Any) || pattern.can_match())
    }

    /// Whether the rule describes this whole list.
    #[must_use]
    pub fn matches(&self, arguments: &[String]) -> bool {
        // The numbers of arguments that the patterns so far can have described.
        let mut described = vec![false; arguments.len() + 1];
        described[0] = true;
        for pattern in &self.patterns {
            described = step(pattern, arguments, &described);
            if !described.contains(&true) {
                return false;
            }
        }
        described[arguments.len()]
    }
}

/// The same after one more pattern. Each argument is looked at once at most.
fn step(pattern: &Pattern, arguments: &[String], before: &[bool]) -> Vec<bool> {
    let (may_be_left_out, may_be_repeated) = match pattern.times {
        Times::Once => (false, false),
        Times::Optional => (true, false),
        Times::Some => (false, true),
        Times::Any => (true, true),
    };
    let mut after = if may_be_left_out { before.to_vec() } else { vec![false; before.len()] };
    for (number, argument) in arguments.iter().enumerate() {
        let can_stand_here = before[number] || (may_be_repeated && after[number]);
        if can_stand_here && pattern.matches(argument) {
            after[number + 1] = true;
        }
    }
    after
}

impl fmt::Display for Rule {
    /// As a person reads it, without the program.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, pattern) in self.patterns.iter().enumerate() {
            let space = if number == 0 { "" } else { " " };
            write!(formatter, "{space}{pattern}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, proptest};
    use serde_json::Map;

    use super::{Keys, Rule};

    fn rule(patterns: &[&str]) -> Rule {
        let texts: Vec<String> = patterns.iter().map(|text| (*text).to_owned()).collect();
        Rule::parse(&texts, "command.x.allow[0]", &Keys::new(&Map::new())).unwrap()
    }

    fn allows(rule: &Rule, arguments: &[&str]) -> bool {
        rule.matches(&arguments.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_whole_list_must_match_in_its_order() {
        let rule = rule(&["list", "-H", "{name}"]);
        assert!(allows(&rule, &["list", "-H", "tank"]));
        for other in [&["list", "-H"][..], &["list", "-H", "tank", "x"], &["-H", "list", "tank"], &["list", "tank", "-H"], &[]] {
            assert!(!allows(&rule, other), "{other:?}");
        }
    }

    #[test]
    fn a_suffix_says_how_often_an_argument_may_stand_there() {
        for (suffix, allowed) in
            [("", [false, true, false]), ("?", [true, true, false]), ("...", [false, true, true]), ("...?", [true; 3])]
        {
            let rule = rule(&["a", &format!("{{number}}{suffix}"), "z"]);
            for (count, is_allowed) in allowed.into_iter().enumerate() {
                let arguments: Vec<&str> = std::iter::once("a").chain(vec!["1"; count]).chain(["z"]).collect();
                assert_eq!(allows(&rule, &arguments), is_allowed, "{suffix} {count}");
            }
        }
    }

    #[test]
    fn a_repeated_pattern_gives_back_what_the_next_one_needs() {
        let rule = rule(&["{name}...", "{name}", "end?", "{name}...?"]);
        assert!(allows(&rule, &["a", "b"]) && allows(&rule, &["a", "b", "end"]) && allows(&rule, &["a", "b", "end", "c"]));
        assert!(!allows(&rule, &["a"]));
    }

    #[test]
    fn a_rule_without_a_pattern_allows_no_argument() {
        let rule = rule(&[]);
        assert!(allows(&rule, &[]) && !allows(&rule, &[""]) && !allows(&rule, &["x"]));
    }

    #[test]
    fn what_could_be_read_in_countless_ways_is_decided_at_once() {
        let rule = rule(&["{name}...?"; 60]);
        let mut arguments = vec!["a"; 255];
        assert!(allows(&rule, &arguments));
        arguments.push("-a");
        assert!(!allows(&rule, &arguments));
    }

    #[test]
    fn explains_itself_in_words() {
        let rule = rule(&["snapshot", "-ostillframe:{name}={text}...?", "-r?", "{under:tank/pg}@{name}..."]);
        assert_eq!(rule.to_string(), "snapshot [-ostillframe:<name>=<text>…] [-r] <tank/pg or below>@<name>…");
    }

    /// What a rule is, said by trying every way to read the list.
    fn slowly(patterns: &[(char, &str)], arguments: &[&str]) -> bool {
        let Some(((letter, times), patterns)) = patterns.split_first() else { return arguments.is_empty() };
        let taken = arguments.iter().take_while(|argument| **argument == letter.to_string()).count();
        let (least, most) = match *times {
            "" => (1, 1),
            "?" => (0, 1),
            "..." => (1, taken),
            _ => (0, taken),
        };
        (least..=most.min(taken)).any(|count| slowly(patterns, &arguments[count..]))
    }

    proptest! {
        #[test]
        fn agrees_with_trying_every_way(
            patterns in proptest::collection::vec(("[ab]".prop_map(|text| text.chars().next().unwrap()), proptest::sample::select(vec!["", "?", "...", "...?"])), 0..5),
            arguments in proptest::collection::vec(proptest::sample::select(vec!["a", "b"]), 0..7),
        ) {
            let texts: Vec<String> = patterns.iter().map(|(letter, times)| format!("{letter}{times}")).collect();
            let rule = Rule::parse(&texts, "", &Keys::new(&Map::new())).unwrap();
            assert_eq!(allows(&rule, &arguments), slowly(&patterns, &arguments));
        }
    }
}
