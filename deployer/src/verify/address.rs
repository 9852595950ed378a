//! The address of a gate: given by the user, from the DNS, or from the cluster.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::address::Address;
use crate::cluster::{Cluster, gateway_address};
use crate::error::Error;
use crate::model::Names;
use crate::output;

/// How long a name lookup may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(3);

/// A host with or without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GateAddress {
    /// A name or an IP address; an IPv6 address has brackets.
    host: String,
    port: Option<String>,
}

impl GateAddress {
    /// Reads `host:port`, `host`, or an IPv6 address with or without brackets. Accepts any text.
    fn new(text: &str) -> Self {
        if text.parse::<std::net::Ipv6Addr>().is_ok() {
            return GateAddress { host: format!("[{text}]"), port: None };
        }
        match text.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => {
                GateAddress { host: host.to_owned(), port: Some(port.to_owned()) }
            }
            _ => GateAddress { host: text.to_owned(), port: None },
        }
    }

    /// `host:port`, with this port if the address has none.
    pub(super) fn with_port(&self, default: NonZeroU16) -> String {
        match &self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.with_other_port(default),
        }
    }

    /// `host:port` with this port, whatever port the address has.
    pub(super) fn with_other_port(&self, port: NonZeroU16) -> String {
        format!("{}:{port}", self.host)
    }
}

/// Accepts what [`GateAddress::new`] reads, but no URL, no invalid host and no port outside 1 to 65535.
impl FromStr for GateAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = GateAddress::new(text);
        let without_port =
            address.port.is_none() && (address.host.starts_with('[') || !address.host.contains(':'));
        let complete = if without_port { format!("{}:1", address.host) } else { text.to_owned() };
        complete.parse::<Address>().map(|_| address)
    }
}

impl fmt::Display for GateAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.port.as_ref().map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// The gate's address where the user gave none: its hostname if that resolves, else the Gateway's address in the
/// cluster.
pub(super) async fn locate(
    hostname: &str,
    cluster: Option<&Cluster>,
    names: &Names,
) -> Result<GateAddress, Error> {
    if let Ok(Ok(mut addresses)) = timeout(LOOKUP_TIMEOUT, lookup_host((hostname, 443))).await
        && addresses.next().is_some()
    {
        return Ok(GateAddress::new(hostname));
    }
    let hint = "pass the gate's address with `--address HOST`";
    let Some(cluster) = cluster else {
        return Err(Error::failed(format_args!("cannot resolve {hostname}")).hint(hint));
    };
    match gateway_address(cluster, names).await? {
        Some(address) => {
            output::say(format_args!(
                "cannot resolve {hostname}, using the Gateway's address in the cluster: {address}"
            ));
            Ok(GateAddress::new(&address))
        }
        None => Err(Error::failed(format_args!(
            "cannot resolve {hostname}, and Gateway {} in namespace {} does not exist or has no address",
            names.gateway, names.namespace
        ))
        .hint(format_args!("{hint}; `otlp-gate apply` creates the Gateway"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_and_without_ports() {
        for (text, host, port) in [
            ("localhost", "localhost", None),
            ("localhost:4317", "localhost", Some("4317")),
            ("203.0.113.7", "203.0.113.7", None),
            ("203.0.113.7:1", "203.0.113.7", Some("1")),
            ("::1", "[::1]", None),
            ("2001:db8::4317", "[2001:db8::4317]", None),
            ("[::1]:4317", "[::1]", Some("4317")),
        ] {
            let address = GateAddress { host: host.to_owned(), port: port.map(str::to_owned) };
            assert_eq!(text.parse(), Ok(address), "{text}");
        }
    }

    #[test]
    fn the_port_of_an_address_is_used_for_grpc_only() {
        let address: GateAddress = "[::1]:9".parse().unwrap();
        let port = NonZeroU16::new(4318).unwrap();
        assert_eq!(address.with_port(port), "[::1]:9");
        assert_eq!(address.with_other_port(port), "[::1]:4318");
        assert_eq!(address.to_string(), "[::1]:9");
    }

    #[test]
    fn invalid_addresses_are_rejected() {
        for (text, reason) in [
            ("", "the host is missing"),
            ("localhost:", "the port must be"),
            ("localhost:x", "the port must be"),
            ("localhost:70000", "the port must be"),
            ("https://localhost", "a URL"),
            ("a b", "the host is missing"),
        ] {
            let error = text.parse::<GateAddress>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
