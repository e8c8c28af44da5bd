//! Values of WAL-G in our words.

/// What gives a value of WAL-G in our words, or says why there is none.
pub(super) type Translate = fn(&str) -> Result<String, String>;

#[expect(clippy::unnecessary_wraps, reason = "all translations have one signature")]
pub(super) fn same(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

/// What Go takes for a truth value.
pub(super) fn flag(text: &str) -> Result<String, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok("true".to_owned()),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok("false".to_owned()),
        _ => Err("it is neither `true` nor `false`".to_owned()),
    }
}

/// WAL-G's client takes a host without a scheme for one with `https://`.
#[expect(clippy::unnecessary_wraps, reason = "all translations have one signature")]
pub(super) fn endpoint(text: &str) -> Result<String, String> {
    Ok(if text.contains("://") { text.to_owned() } else { format!("https://{text}") })
}

/// Attempts are retries and the first one.
pub(super) fn attempts(text: &str) -> Result<String, String> {
    number(text, 0, 99).map(|retries| (retries + 1).to_string())
}

pub(super) fn workers(text: &str) -> Result<String, String> {
    number(text, 1, 64).map(|number| number.to_string())
}

pub(super) fn push_ahead(text: &str) -> Result<String, String> {
    number(text, 0, 1000).map(|number| number.to_string())
}

/// With one stream WAL-G fetches nothing ahead.
pub(super) fn fetch_ahead(text: &str) -> Result<String, String> {
    number(text, 1, 256).map(|number| if number == 1 { "0".to_owned() } else { number.to_string() })
}

/// More than our bound is the bound: it is a wish for speed and no promise.
fn number(text: &str, least: u64, most: u64) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(number) if number >= least => Ok(number.min(most)),
        _ => Err(format!("`{text}` is not a whole number from {least}")),
    }
}

pub(super) fn compression(text: &str) -> Result<String, String> {
    match text {
        "brotli" | "lzma" => Err(format!("new WAL is not compressed with `{text}`: choose `zstd`, `lz4` or `none`")),
        _ => Ok(text.to_owned()),
    }
}

pub(super) fn encryption(text: &str) -> Result<String, String> {
    match text {
        "AES256" | "aws:kms" => Ok(text.to_owned()),
        _ => Err("the store is asked for `AES256` or `aws:kms` only".to_owned()),
    }
}

/// A folder of our own, for everything in a spool is ours to remove.
#[expect(clippy::unnecessary_wraps, reason = "all translations have one signature")]
pub(super) fn spool(text: &str) -> Result<String, String> {
    Ok(format!("{}/stillframe", text.trim_end_matches('/')))
}
