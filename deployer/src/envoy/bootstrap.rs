//! What Envoy is told at its start: two listeners, the filter, two clusters.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use serde_json::{Value, json};

use super::bounds::{
    BREAKER, BUFFER, CONNECTION_WINDOW, CONNECTIONS, HANDSHAKE, HEADERS_KIB, IDLE, REQUEST, STREAM_IDLE,
    STREAMS,
};
use super::dynamic::{Dynamic, FILTER, WASM};
use crate::address::Address;

/// The parts of Envoy's bootstrap that differ from gate to gate.
#[derive(Debug)]
pub struct Bootstrap<'a> {
    /// Where the OTLP/gRPC listener binds; port 0 takes a free one.
    pub grpc: SocketAddr,
    /// Where the OTLP/HTTP listener binds; port 0 takes a free one.
    pub http: SocketAddr,
    /// Where gRPC goes.
    pub backend: &'a Address,
    /// Where HTTP goes.
    pub backend_http: &'a Address,
    /// The folder that holds the files that change while Envoy runs.
    pub run: &'a Path,
}

/// The tags that the filter writes into the names of its metrics (`client=.=acme;.;…`) and that become labels.
const TAGS: [&str; 3] = ["client", "signal", "result"];

impl Bootstrap<'_> {
    /// The bootstrap as Envoy reads it (`envoy.config.bootstrap.v3.Bootstrap` as JSON).
    pub fn to_json(&self) -> Value {
        json!({
            "node": {"id": "otlp-gate", "cluster": "otlp-gate"},
            "admin": {"address": socket(SocketAddr::from(([127, 0, 0, 1], 0)))},
            "stats_config": {"stats_tags": TAGS.map(|tag| json!({
                // Istio's form: the first group is cut out of the name, the second is the value.
                "tag_name": tag, "regex": format!("({tag}=\\.=(.*?);\\.;)"),
            }))},
            "overload_manager": {"resource_monitors": [{
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3\
                              .DownstreamConnectionsConfig",
                    "max_active_downstream_connections": CONNECTIONS,
                },
            }]},
            "static_resources": {
                "listeners": [self.listener("grpc", self.grpc), self.listener("http", self.http)],
                "clusters": [cluster("grpc", self.backend), cluster("http", self.backend_http)],
            },
        })
    }

    fn listener(&self, name: &str, address: SocketAddr) -> Value {
        json!({
            "name": name,
            "address": socket(address),
            "per_connection_buffer_limit_bytes": BUFFER,
            "filter_chains": [{
                "transport_socket": self.mutual_tls(),
                "transport_socket_connect_timeout": HANDSHAKE,
                "filters": [{"name": "http", "typed_config": self.connection_manager(name)}],
            }],
        })
    }

    fn mutual_tls(&self) -> Value {
        let secret = |of: Dynamic| json!({"name": of.name(), "sds_config": of.source(self.run)});
        json!({
            "name": "tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "require_client_certificate": true,
                // A resumed session would skip the look at the client's certificate: expired or revoked, it would
                // stay in. OTLP connections live long, so full handshakes cost little.
                "disable_stateless_session_resumption": true,
                "disable_stateful_session_resumption": true,
                "common_tls_context": {
                    "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                    "alpn_protocols": ["h2", "http/1.1"],
                    "tls_certificate_sds_secret_configs": [secret(Dynamic::Server)],
                    "validation_context_sds_secret_config": secret(Dynamic::Clients),
                },
            },
        })
    }

    fn connection_manager(&self, name: &str) -> Value {
        json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3\
                      .HttpConnectionManager",
            "stat_prefix": name,
            "codec_type": "AUTO",
            "use_remote_address": true,
            // The filter reads the client's certificate there, which comes last, and before it what trusted hops say of their
            // clients; it lets nobody's through.
            "forward_client_cert_details": "APPEND_FORWARD",
            "set_current_client_cert_details": {"cert": true},
            "server_header_transformation": "PASS_THROUGH",
            "generate_request_id": false,
            "max_request_headers_kb": HEADERS_KIB,
            "request_timeout": REQUEST,
            "stream_idle_timeout": STREAM_IDLE,
            "common_http_protocol_options": {"idle_timeout": IDLE},
            "http2_protocol_options": {
                "max_concurrent_streams": STREAMS,
                "initial_stream_window_size": BUFFER,
                "initial_connection_window_size": CONNECTION_WINDOW,
            },
            // What is gRPC and what is HTTP goes by the request, so either kind may come to either port.
            "route_config": {"virtual_hosts": [{"name": "otlp", "domains": ["*"], "routes": [
                {"match": {"prefix": "/", "grpc": {}}, "route": {"cluster": "grpc", "timeout": "300s"}},
                {"match": {"prefix": "/"}, "route": {"cluster": "http", "timeout": "300s"}},
            ]}]},
            "http_filters": [
                {"name": FILTER, "config_discovery": {
                    "config_source": Dynamic::Policy.source(self.run), "type_urls": [WASM],
                }},
                // Keeps the headers back until the filter lets the body through. Else each request that is refused by its
                // body would have opened a stream to the backend, and reset it: an Envoy there takes many of those for
                // an attack, and closes the connection that all clients share.
                {"name": "buffer", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer",
                    // It gets the body in one piece, of any size: what it may gather never counts.
                    "max_request_bytes": BUFFER,
                }},
                {"name": "router", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                    "suppress_envoy_headers": true,
                }},
            ],
        })
    }
}

fn cluster(name: &str, backend: &Address) -> Value {
    let protocol = if name == "grpc" { "http2_protocol_options" } else { "http_protocol_options" };
    let kind = if backend.host.parse::<IpAddr>().is_ok() { "STATIC" } else { "STRICT_DNS" };
    let address = json!({"socket_address": {"address": backend.host, "port_value": backend.port}});
    json!({
        "name": name,
        "type": kind,
        "connect_timeout": "2s",
        "per_connection_buffer_limit_bytes": BUFFER,
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {protocol: {}},
        }},
        "circuit_breakers": {"thresholds": [{
            "max_connections": BREAKER, "max_pending_requests": BREAKER, "max_requests": BREAKER, "max_retries": BREAKER,
        }]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": address}},
        ]}]},
    })
}

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_resolved_and_addresses_are_not() {
        let kind = |backend: &str| cluster("grpc", &backend.parse().unwrap()).get("type").unwrap().clone();
        assert_eq!(kind("collector:4317"), "STRICT_DNS");
        assert_eq!(kind("10.0.0.1:4317"), "STATIC");
        assert_eq!(kind("[::1]:4317"), "STATIC");
    }
}
