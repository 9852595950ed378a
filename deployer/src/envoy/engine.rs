//! Envoy's cluster of the engine of shared quotas.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::address::Address;

/// The cluster of this name. The body of a request to it is what Envoy sends over TCP, and what comes back is the body of
/// the response. Every request has a connection of its own.
///
/// Of several addresses the first is used: an engine is one process, and the proxies must have the same.
pub(crate) fn engine_cluster(name: &str, engine: &Address, transport_socket: Option<Value>) -> Value {
    let address = json!({"socket_address": {"address": engine.host, "port_value": engine.port}});
    let mut cluster = json!({
        "name": name,
        "type": "STATIC",
        // Less than a call may take.
        "connect_timeout": "0.3s",
        "upstream_config": {"name": "envoy.upstreams.http.tcp", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.tcp.v3.TcpConnectionPoolProto",
        }},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    });
    if let Some(cluster) = cluster.as_object_mut() {
        if engine.host.parse::<IpAddr>().is_err() {
            // It is resolved every 5 s, Envoy's default. Managed primaries fail over by DNS.
            let dns = [("type", "LOGICAL_DNS"), ("dns_lookup_family", "V4_PREFERRED")];
            cluster.extend(dns.map(|(key, value)| (key.to_owned(), value.into())));
        }
        cluster.extend(transport_socket.map(|it| ("transport_socket".to_owned(), it)));
    }
    cluster
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_resolved_and_addresses_are_not() {
        let cluster = |engine: &str| engine_cluster("engine", &engine.parse().unwrap(), None);
        assert_eq!(cluster("valkey.example:6379")["type"], "LOGICAL_DNS");
        for address in ["10.0.0.1:6379", "[::1]:6379"] {
            let cluster = cluster(address);
            assert_eq!(cluster["type"], "STATIC");
            assert_eq!(cluster["dns_lookup_family"], Value::Null);
        }
    }
}
