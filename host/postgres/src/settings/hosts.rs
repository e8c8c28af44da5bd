//! Where the servers may be: `host`, `hostaddr` and `port`, each of which may be a list.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use super::Values;

const DEFAULT_PORT: u16 = 5432;

/// One place to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) endpoint: Endpoint,
    pub(crate) port: u16,
}

/// How a place is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A Unix socket in this directory.
    Socket(PathBuf),
    /// Over the network.
    Network {
        /// The name; certificates are checked against it.
        name: Option<String>,
        /// The address, when it is given and need not be looked up.
        address: Option<IpAddr>,
    },
}

impl Endpoint {
    /// Where servers keep their sockets: Debian and most packages, then upstream's default.
    pub(crate) const DEFAULT_SOCKETS: [&str; 2] = ["/var/run/postgresql", "/tmp"];
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port;
        match &self.endpoint {
            Endpoint::Socket(directory) => write!(formatter, "{}:{port}", directory.display()),
            Endpoint::Network { name: Some(name), .. } if name.contains(':') => write!(formatter, "[{name}]:{port}"),
            Endpoint::Network { name: Some(name), .. } => write!(formatter, "{name}:{port}"),
            Endpoint::Network { address: Some(IpAddr::V6(address)), .. } => write!(formatter, "[{address}]:{port}"),
            Endpoint::Network { address: Some(address), .. } => write!(formatter, "{address}:{port}"),
            Endpoint::Network { name: None, address: None } => write!(formatter, "?:{port}"),
        }
    }
}

/// Lists the places to try, in order.
pub(super) fn list(values: &Values) -> Result<Vec<Host>, String> {
    let names = items(values, "host");
    let addresses = items(values, "hostaddr");
    let ports = items(values, "port");
    if let (Some(names), Some(addresses)) = (&names, &addresses)
        && names.len() != addresses.len()
    {
        return Err(format!("`host` names {} hosts and `hostaddr` {}", names.len(), addresses.len()));
    }
    let number = names.as_ref().or(addresses.as_ref()).map_or(1, Vec::len);
    let ports = ports.unwrap_or_default();
    if ports.len() > 1 && ports.len() != number {
        return Err(format!("`port` lists {} ports for {number} hosts", ports.len()));
    }
    let at = |list: &Option<Vec<&str>>, index: usize| {
        list.as_ref().and_then(|list| list.get(index).copied()).filter(|item| !item.is_empty()).map(str::to_owned)
    };
    let mut hosts = Vec::new();
    for index in 0..number {
        let port = port(ports.get(index).or(ports.first()).copied().unwrap_or_default())?;
        let address = at(&addresses, index).map(|text| address(&text)).transpose()?;
        hosts.extend(endpoints(at(&names, index), address)?.into_iter().map(|endpoint| Host { endpoint, port }));
    }
    Ok(hosts)
}

fn items<'a>(values: &'a Values, keyword: &str) -> Option<Vec<&'a str>> {
    values.get(keyword).filter(|list| !list.is_empty()).map(|list| list.split(',').map(str::trim).collect())
}

fn port(text: &str) -> Result<u16, String> {
    if text.is_empty() {
        return Ok(DEFAULT_PORT);
    }
    let number = text.parse::<u16>().ok().filter(|port| *port > 0);
    number.ok_or_else(|| format!("`{text}` is not a port: it is a number from 1 to 65535"))
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is not a network address, which `hostaddr` takes; names go into `host`"))
}

fn endpoints(name: Option<String>, address: Option<IpAddr>) -> Result<Vec<Endpoint>, String> {
    match (name, address) {
        (name, Some(_)) => Ok(vec![Endpoint::Network { name, address }]),
        (Some(name), None) if name.starts_with('/') => Ok(vec![Endpoint::Socket(name.into())]),
        (Some(name), None) if name.starts_with('@') => Err(format!("`{name}` is an abstract socket, which is not supported")),
        (Some(name), None) => Ok(vec![Endpoint::Network { name: Some(name), address: None }]),
        (None, None) => Ok(Endpoint::DEFAULT_SOCKETS.iter().map(|directory| Endpoint::Socket(directory.into())).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Values, list};

    fn hosts(pairs: &[(&'static str, &str)]) -> Result<String, String> {
        let values: Values = pairs.iter().map(|(keyword, value)| (*keyword, (*value).to_owned())).collect();
        Ok(list(&values)?.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn pairs_hosts_with_ports_as_libpq_does() {
        assert_eq!(hosts(&[]).unwrap(), "/var/run/postgresql:5432 /tmp:5432");
        assert_eq!(hosts(&[("host", "a,b"), ("port", "1")]).unwrap(), "a:1 b:1");
        assert_eq!(hosts(&[("host", "a,/s"), ("port", "1,")]).unwrap(), "a:1 /s:5432");
        assert_eq!(hosts(&[("host", "a"), ("hostaddr", "::1")]).unwrap(), "a:5432");
        assert_eq!(hosts(&[("hostaddr", "::1")]).unwrap(), "[::1]:5432");
        assert_eq!(hosts(&[("host", ""), ("port", "7")]).unwrap(), "/var/run/postgresql:7 /tmp:7");
    }

    #[test]
    fn refuses_lists_that_do_not_match_and_ports_out_of_range() {
        for pairs in [
            [("host", "a,b"), ("port", "1,2,3")],
            [("host", "a,b"), ("hostaddr", "::1")],
            [("host", "a"), ("hostaddr", "b")],
            [("host", "a"), ("port", "0")],
            [("host", "a"), ("port", "65536")],
            [("host", "a"), ("port", "x")],
            [("host", "@abstract"), ("port", "1")],
        ] {
            assert!(hosts(&pairs).is_err(), "{pairs:?}");
        }
    }
}
