//! `postgresql://user:password@host:port,host:port/dbname?keyword=value`, as libpq takes it.
//!
//! No message quotes the URI: it may hold a password.

use super::{Values, keyword};

const PREFIXES: [&str; 2] = ["postgresql://", "postgres://"];

/// Whether the connection string is a URI.
pub(super) fn is_uri(text: &str) -> bool {
    PREFIXES.iter().any(|prefix| text.starts_with(prefix))
}

/// Parses a URI.
pub(super) fn parse(text: &str) -> Result<Values, String> {
    let rest = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text);
    let mut values = Values::new();
    let rest = user(rest, &mut values)?;
    let hosts_end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host_list, rest) = rest.split_at(hosts_end);
    hosts(host_list, &mut values)?;
    let (path, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let database = decode(path.strip_prefix('/').unwrap_or(path))?;
    if !database.is_empty() {
        values.insert("dbname", database);
    }
    for parameter in parameters.split('&').filter(|_| !parameters.is_empty()) {
        set_parameter(parameter, &mut values)?;
    }
    Ok(values)
}

/// Takes `user:password@` off.
fn user<'a>(text: &'a str, values: &mut Values) -> Result<&'a str, String> {
    let end = text.find(['@', '/']).filter(|position| text[*position..].starts_with('@'));
    let Some(end) = end else { return Ok(text) };
    let (user, password) = text[..end].split_once(':').unwrap_or((&text[..end], ""));
    for (keyword, value) in [("user", user), ("password", password)] {
        if !value.is_empty() {
            values.insert(keyword, decode(value)?);
        }
    }
    Ok(&text[end + 1..])
}

fn hosts(list: &str, values: &mut Values) -> Result<(), String> {
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in list.split(',') {
        let (name, port) = match host.strip_prefix('[') {
            Some(address) => {
                let (address, rest) = address.split_once(']').ok_or("an IPv6 address in the URI has no `]`")?;
                if !rest.is_empty() && !rest.starts_with(':') {
                    return Err("an IPv6 address in the URI is followed by neither a port nor the end".to_owned());
                }
                (address, rest.strip_prefix(':').unwrap_or(""))
            }
            None => host.split_once(':').unwrap_or((host, "")),
        };
        names.push(decode(name)?);
        ports.push(decode(port)?);
    }
    for (keyword, list) in [("host", names.join(",")), ("port", ports.join(","))] {
        if !list.is_empty() {
            values.insert(keyword, list);
        }
    }
    Ok(())
}

fn set_parameter(parameter: &str, values: &mut Values) -> Result<(), String> {
    let Some((name, value)) = parameter.split_once('=') else {
        return Err("a parameter of the URI has no `=`".to_owned());
    };
    if value.contains('=') {
        return Err(format!("the parameter `{}` of the URI has more than one `=`", decode(name)?));
    }
    let (name, value) = (decode(name)?, decode(value)?);
    // As JDBC spells it; libpq takes it too.
    if name == "ssl" && value == "true" {
        values.insert("sslmode", "require".to_owned());
    } else {
        values.insert(keyword::known(&name)?, value);
    }
    Ok(())
}

/// Decodes `%41` to `A`.
fn decode(text: &str) -> Result<String, String> {
    let invalid = || "the URI holds a `%` that is not followed by two hexadecimal digits".to_owned();
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16)).ok_or_else(invalid);
        let value = digit()? * 16 + digit()?;
        if value == 0 {
            return Err("the URI holds `%00`".to_owned());
        }
        decoded.push(u8::try_from(value).map_err(|_| invalid())?);
    }
    String::from_utf8(decoded).map_err(|_| "the URI does not decode to UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn text(uri: &str) -> String {
        let pairs: Vec<_> = parse(uri).unwrap().into_iter().map(|(keyword, value)| format!("{keyword}={value}")).collect();
        pairs.join(" ")
    }

    #[test]
    fn takes_every_part_as_libpq_does() {
        assert_eq!(text("postgresql://"), "");
        assert_eq!(text("postgres://u:p%40@h:1/d?sslmode=disable"), "dbname=d host=h password=p@ port=1 sslmode=disable user=u");
        assert_eq!(text("postgresql://a:1,b:2/"), "host=a,b port=1,2");
        assert_eq!(text("postgresql://[::1]:5433,[fe80::1]"), "host=::1,fe80::1 port=5433,");
        assert_eq!(text("postgresql://%2Fvar%2Frun/db"), "dbname=db host=/var/run");
        assert_eq!(text("postgresql:///db?host=/tmp&user=x"), "dbname=db host=/tmp user=x");
        assert_eq!(text("postgresql://h?ssl=true"), "host=h sslmode=require");
        assert_eq!(text("postgresql://u@/db@x"), "dbname=db@x user=u");
    }

    #[test]
    fn refuses_bad_forms_without_quoting_the_password() {
        for uri in [
            "postgresql://u:hidden%4@h",
            "postgresql://u:hidden%00@h",
            "postgresql://u:hidden@[::1",
            "postgresql://u:hidden@[::1]x",
            "postgresql://u:hidden@h?nonsense",
            "postgresql://u:hidden@h?nonsense=1",
            "postgresql://u:hidden@h?port=1=2",
        ] {
            let message = parse(uri).unwrap_err();
            assert!(!message.contains("hidden"), "{message}");
        }
    }
}
