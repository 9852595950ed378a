//! Addresses as the command line takes them: a host and a port.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// `HOST:PORT`. An IPv6 address is written in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// A name or an IP address, without brackets.
    pub(crate) host: String,
    /// From 1 to 65535.
    pub(crate) port: u16,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let malformed = |what: &str| Err(format!("{what}; expected HOST:PORT, such as 127.0.0.1:4317"));
        if text.contains("://") {
            return malformed("it is a URL");
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return malformed("the port is missing");
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bare {
            Some(host) if host.parse::<IpAddr>().is_ok() => host,
            None if host.contains(':') => return malformed("an IPv6 address needs brackets"),
            None if !host.is_empty()
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) =>
            {
                host
            }
            _ => return malformed("the host is missing or invalid"),
        };
        match port.parse() {
            Ok(port) if port != 0 => Ok(Address { host: host.to_owned(), port }),
            _ => malformed("the port must be between 1 and 65535"),
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
    fn addresses_are_parsed_and_formatted_as_host_and_port() {
        for text in ["127.0.0.1:4317", "localhost:1", "otel-collector.observability.svc:65535", "[::1]:4317"]
        {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn malformed_addresses_are_rejected_with_a_reason() {
        for (text, wrong) in [
            ("http://localhost:4317", "it is a URL"),
            ("localhost", "the port is missing"),
            ("localhost:", "the port must be"),
            ("localhost:0", "the port must be"),
            ("localhost:65536", "the port must be"),
            (":4317", "the host is missing"),
            ("::1:4317", "an IPv6 address needs brackets"),
            ("[localhost]:4317", "the host is missing"),
            ("a b:4317", "the host is missing"),
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.starts_with(wrong), "{text}: {error}");
            assert!(error.contains("HOST:PORT"));
        }
    }
}
