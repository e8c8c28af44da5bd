//! What the placeholders stand for, and where in an argument they can end.

use std::ops::RangeInclusive;

use stillframe_core::text::is_dangerous;

/// Places in an argument, as offsets of bytes.
#[derive(Debug)]
pub(super) struct Places {
    is_place: Vec<bool>,
    count: usize,
}

impl Places {
    /// The one place at which every argument begins.
    pub(super) fn at_the_begin(argument: &str) -> Self {
        let mut places = Self::none(argument);
        places.add(0);
        places
    }

    fn none(argument: &str) -> Self {
        Self { is_place: vec![false; argument.len() + 1], count: 0 }
    }

    fn add(&mut self, place: usize) {
        if let Some(is_place) = self.is_place.get_mut(place)
            && !std::mem::replace(is_place, true)
        {
            self.count += 1;
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether this is one.
    pub(super) fn has(&self, place: usize) -> bool {
        self.is_place.get(place).copied().unwrap_or(false)
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        self.is_place.iter().enumerate().filter_map(|(place, is_place)| is_place.then_some(place))
    }
}

/// One of these texts.
pub(super) fn literals(argument: &str, from: &Places, texts: &[String]) -> Places {
    let mut ends = Places::none(argument);
    for begin in from.iter() {
        let rest = &argument[begin..];
        for text in texts.iter().filter(|text| rest.starts_with(text.as_str())) {
            ends.add(begin + text.len());
        }
    }
    ends
}

/// A run of characters of a class, whose first one may be of a narrower class; as many bytes as the range says.
///
/// Of all places that a run can have begun at, the nearest one makes it shortest, so that it alone decides.
pub(super) fn run(
    argument: &str,
    from: &Places,
    bytes: RangeInclusive<usize>,
    may_begin: impl Fn(char) -> bool,
    may_follow: impl Fn(char) -> bool,
) -> Places {
    let mut ends = Places::none(argument);
    let mut nearest = None;
    for (place, character) in argument.char_indices() {
        if *bytes.start() == 0 && from.has(place) {
            ends.add(place);
        }
        if from.has(place) && may_begin(character) {
            nearest = Some(place);
        } else if !may_follow(character) {
            nearest = None;
        }
        let end = place + character.len_utf8();
        if nearest.is_some_and(|begin| bytes.contains(&(end - begin))) {
            ends.add(end);
        }
    }
    if *bytes.start() == 0 && from.has(argument.len()) {
        ends.add(argument.len());
    }
    ends
}

/// The rules for names with `/` between their parts.
pub(super) struct Names {
    /// Whether the root alone is such a name.
    has_root: bool,
    max_bytes: usize,
    may_be_in_part: fn(char) -> bool,
    /// Whether a part may begin with `-`.
    allows_hyphen: bool,
}

impl Names {
    /// Absolute paths strictly below a root.
    pub(super) fn paths(max_bytes: usize) -> Self {
        Self { has_root: false, max_bytes, may_be_in_part: is_printable, allows_hyphen: true }
    }

    /// Names of a hierarchy, the root included: data sets, volumes.
    pub(super) fn parts(max_bytes: usize) -> Self {
        Self { has_root: true, max_bytes, may_be_in_part: is_in_part, allows_hyphen: false }
    }

    /// Whether a part, which holds nothing but allowed characters, is one.
    fn is_part(&self, part: &str) -> bool {
        !part.is_empty() && part != "." && part != ".." && (self.allows_hyphen || !part.starts_with('-'))
    }

    /// Whether this is such a name as a whole, without a leading `/`.
    pub(super) fn is_name(&self, name: &str) -> bool {
        name.len() <= self.max_bytes && name.split('/').all(|part| self.is_part(part) && part.chars().all(self.may_be_in_part))
    }
}

/// A name below one of these roots, or one of them.
pub(super) fn names(argument: &str, from: &Places, roots: &[String], rules: &Names) -> Places {
    let mut ends = Places::none(argument);
    for root in roots {
        below(argument, from, root, rules, &mut ends);
    }
    ends
}

/// Every place that a name can begin at is a border between parts, so that all readings see the same parts; again the nearest begin
/// alone decides about the length.
fn below(argument: &str, from: &Places, root: &str, rules: &Names, ends: &mut Places) {
    let mut is_first_part = Places::none(argument);
    for begin in from.iter().filter(|begin| argument[*begin..].starts_with(root)) {
        let end = begin + root.len();
        if rules.has_root {
            ends.add(end);
        }
        if argument[end..].starts_with('/') {
            is_first_part.add(end + 1);
        }
    }
    if is_first_part.is_empty() {
        return;
    }
    let mut begin_of_name = None;
    let mut begin_of_part = 0;
    for (place, character) in argument.char_indices() {
        if is_first_part.has(place) {
            begin_of_name = Some(place - 1 - root.len());
            begin_of_part = place;
        }
        let Some(begin) = begin_of_name else { continue };
        if character == '/' {
            // What has ended here must have been a part; the names that hold it end with it otherwise.
            begin_of_name = rules.is_part(&argument[begin_of_part..place]).then_some(begin);
            begin_of_part = place + 1;
        } else if (rules.may_be_in_part)(character) {
            let end = place + character.len_utf8();
            if end - begin <= rules.max_bytes && rules.is_part(&argument[begin_of_part..end]) {
                ends.add(end);
            }
        } else {
            begin_of_name = None;
        }
    }
}

/// Begins a `{name}`.
pub(super) fn begins_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// Follows in a `{name}`.
pub(super) fn is_in_name(character: char) -> bool {
    begins_name(character) || matches!(character, '.' | ':' | '+' | '-')
}

/// In a `{number}`.
pub(super) fn is_digit(character: char) -> bool {
    character.is_ascii_digit()
}

/// In a `{text}` or a path.
pub(super) fn is_printable(character: char) -> bool {
    !is_dangerous(character)
}

/// In a part of `{under:...}`.
fn is_in_part(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '.' | ':' | '-')
}
