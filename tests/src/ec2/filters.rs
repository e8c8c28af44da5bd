//! Filters and pages, which all actions that describe have in common.

use super::call::Call;
use super::cloud::Tags;
use super::refusal::Refusal;
use super::signature::hexadecimal;

/// Limits of `MaxResults`.
const PAGE_SIZES: std::ops::RangeInclusive<usize> = 5..=1_000;

/// Something that can be described.
pub(super) trait Described {
    fn tags(&self) -> &Tags;
    /// The values of a filter that is not about tags; none when there is no such filter.
    fn filtered_by(&self, filter: &str) -> Option<Vec<String>>;
}

/// Whether the filters let it pass: each must, by one of its values.
pub(super) fn passes(candidate: &impl Described, filters: &[(String, Vec<String>)]) -> Result<bool, Refusal> {
    for (name, patterns) in filters {
        let values = match name.strip_prefix("tag:") {
            Some(key) => candidate.tags().get(key).cloned().into_iter().collect(),
            None if name == "tag-key" => candidate.tags().keys().cloned().collect(),
            None => candidate
                .filtered_by(name)
                .ok_or_else(|| Refusal::new("InvalidParameterValue", format!("The filter '{name}' is invalid")))?,
        };
        if !values.iter().any(|value| patterns.iter().any(|pattern| matches(pattern.as_bytes(), value.as_bytes()))) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// `*` is any text, `?` is one character, and a backslash takes their meaning away.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => matches(rest, text) || (!text.is_empty() && matches(pattern, &text[1..])),
        ([b'\\', literal, rest @ ..], [first, others @ ..]) => literal == first && matches(rest, others),
        ([b'?', rest @ ..], [_, others @ ..]) => matches(rest, others),
        ([wanted, rest @ ..], [first, others @ ..]) => wanted == first && matches(rest, others),
        _ => false,
    }
}

/// The ids of one page, and the token of the next one.
///
/// The page is cut before anything is filtered: EC2 says that a page may hold fewer results than asked for, or none, and more
/// may follow.
pub(super) fn page(call: &Call, ids: Vec<String>, names_ids: bool) -> Result<(Vec<String>, Option<String>), Refusal> {
    let size = match call.number("MaxResults")? {
        None => return Ok((ids, None)),
        Some(_) if names_ids => {
            let message = "The parameter MaxResults cannot be used with the parameter that names resources";
            return Err(Refusal::new("InvalidParameterCombination", message));
        }
        Some(size) => usize::try_from(size).ok().filter(|size| PAGE_SIZES.contains(size)).ok_or_else(|| {
            let message = format!("Value ( {size} ) for parameter maxResults is invalid. Expecting a value between 5 and 1000.");
            Refusal::new("InvalidParameterValue", message)
        })?,
    };
    let after = match call.get("NextToken").filter(|token| !token.is_empty()) {
        None => None,
        Some(token) => Some(read_token(token).ok_or_else(|| Refusal::new("InvalidPaginationToken", "The token is not valid."))?),
    };
    let mut rest = ids.into_iter().filter(|id| after.as_ref().is_none_or(|after| id > after));
    let page: Vec<String> = rest.by_ref().take(size).collect();
    let next = rest.next().and_then(|_| page.last().map(|last| token_after(last)));
    Ok((page, next))
}

fn token_after(id: &str) -> String {
    hexadecimal(&id.bytes().rev().collect::<Vec<u8>>())
}

fn read_token(token: &str) -> Option<String> {
    let pairs = token.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    let bytes: Option<Vec<u8>> = pairs.rev().collect();
    String::from_utf8(bytes?).ok()
}
