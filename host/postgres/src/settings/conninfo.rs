//! `keyword=value` connection strings: spaces around `=`, quotes, backslashes, as libpq takes them.
//!
//! No message quotes a value: it may be a password.

use std::iter::Peekable;
use std::str::Chars;

use super::{Values, keyword};

/// Parses a connection string; a keyword that is given twice keeps its last value.
pub(super) fn parse(text: &str) -> Result<Values, String> {
    let mut values = Values::new();
    let mut rest = text.chars().peekable();
    let mut previous: Option<&'static str> = None;
    loop {
        skip_space(&mut rest);
        if rest.peek().is_none() {
            return Ok(values);
        }
        let name = name(&mut rest);
        skip_space(&mut rest);
        if rest.next_if_eq(&'=').is_none() {
            // The word itself is not shown: after `password=two words` it is half of the password.
            let place = previous.map_or_else(|| "its first keyword".to_owned(), |keyword| format!("the value of `{keyword}`"));
            return Err(format!("the connection string has no `=` after {place}; quote a value that has spaces"));
        }
        let keyword = keyword::known(&name)?;
        skip_space(&mut rest);
        values.insert(keyword, value(&mut rest).ok_or_else(|| format!("the quotes around the value of `{keyword}` do not end"))?);
        previous = Some(keyword);
    }
}

fn skip_space(rest: &mut Peekable<Chars<'_>>) {
    while rest.next_if(char::is_ascii_whitespace).is_some() {}
}

fn name(rest: &mut Peekable<Chars<'_>>) -> String {
    std::iter::from_fn(|| rest.next_if(|character| *character != '=' && !character.is_ascii_whitespace())).collect()
}

/// The value; none when its quotes do not end.
fn value(rest: &mut Peekable<Chars<'_>>) -> Option<String> {
    let quoted = rest.next_if_eq(&'\'').is_some();
    let mut value = String::new();
    loop {
        match rest.next_if(|character| quoted || !character.is_ascii_whitespace()) {
            // A backslash takes the next character as it is; a last one stands for nothing.
            Some('\\') => value.extend(rest.next()),
            Some('\'') if quoted => return Some(value),
            Some(character) => value.push(character),
            None => return (!quoted).then_some(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn pairs(text: &str) -> Vec<(&'static str, String)> {
        parse(text).unwrap().into_iter().collect()
    }

    #[test]
    fn takes_spaces_quotes_and_backslashes_as_libpq_does() {
        assert_eq!(pairs("host = a  port=5433"), [("host", "a".into()), ("port", "5433".into())]);
        assert_eq!(pairs(r"password='it\'s a \\ secret'"), [("password", r"it's a \ secret".into())]);
        assert_eq!(pairs(r"password=a\ b\'c"), [("password", "a b'c".into())]);
        assert_eq!(pairs("host=''"), [("host", String::new())]);
        assert_eq!(pairs("host= port=1"), [("host", "port=1".into())]);
        assert_eq!(pairs("host=a host=b"), [("host", "b".into())]);
        assert_eq!(pairs(" \n "), []);
    }

    #[test]
    fn names_an_unknown_keyword() {
        assert!(parse("hots=a").unwrap_err().contains("`hots`"));
    }

    #[test]
    fn shows_no_part_of_a_password_that_lacks_its_quotes() {
        for text in ["password=first second", "password='first second", "host=a password=first second third"] {
            let message = parse(text).unwrap_err();
            assert!(message.contains("`password`"), "{message}");
            assert!(!message.contains("first") && !message.contains("second"), "{message}");
        }
    }
}
