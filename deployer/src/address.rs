//! Addresses as people write them: a host and a port.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// `HOST:PORT`, where an IPv6 address has its brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// Not 0.
    pub port: u16,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let malformed = |what: &str| Err(format!("{what}; expected HOST:PORT, as in 127.0.0.1:4317"));
        if text.contains("://") {
            return malformed("a URL");
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return malformed("no port");
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bare {
            Some(host) if host.parse::<IpAddr>().is_ok() => host,
            None if host.contains(':') => return malformed("an IPv6 address without its brackets"),
            None if !host.is_empty()
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) =>
            {
                host
            }
            _ => return malformed("no host"),
        };
        match port.parse() {
            Ok(port) if port != 0 => Ok(Address { host: host.to_owned(), port }),
            _ => malformed("no port between 1 and 65535"),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Address { host: address.ip().to_string(), port: address.port() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_as_host_and_port() {
        for text in ["127.0.0.1:4317", "localhost:1", "otel-collector.observability.svc:65535", "[::1]:4317"]
        {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn malformed_addresses_are_refused_with_what_is_wrong() {
        for (text, wrong) in [
            ("http://localhost:4317", "a URL"),
            ("localhost", "no port"),
            ("localhost:", "no port between"),
            ("localhost:0", "no port between"),
            ("localhost:65536", "no port between"),
            (":4317", "no host"),
            ("::1:4317", "brackets"),
            ("[localhost]:4317", "no host"),
            ("a b:4317", "no host"),
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.starts_with(wrong) || error.contains(wrong), "{text}: {error}");
            assert!(error.contains("HOST:PORT"));
        }
    }
}
