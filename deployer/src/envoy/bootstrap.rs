//! Envoy's bootstrap configuration: two listeners, the filter, two clusters.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;

use serde_json::{Value, json};

use super::access_log::access_log;
use super::bounds::{
    BREAKER, BUFFER, CONNECTION_WINDOW, CONNECTIONS, HANDSHAKE, HEADERS_KIB, IDLE, REQUEST, STREAM_IDLE,
    STREAMS,
};
use super::dynamic::{DynamicResource, FILTER};
use super::engine::engine_cluster;
use super::stats::stats_tags;
use crate::address::Address;
use crate::config::{AccessLog, FilterHost};

/// Type URL of what serves HTTP on a listener.
const CONNECTION_MANAGER: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// Parameters of the bootstrap.
#[derive(Debug)]
pub(crate) struct Bootstrap<'a> {
    /// Address of the OTLP/gRPC listener; port 0 chooses a free one.
    pub(crate) grpc: SocketAddr,
    /// Address of the OTLP/HTTP listener; port 0 chooses a free one.
    pub(crate) http: SocketAddr,
    /// Backend for gRPC requests.
    pub(crate) backend: &'a Address,
    /// Backend for all other requests.
    pub(crate) backend_http: &'a Address,
    /// The engine of shared quotas, with the name of its cluster.
    pub(crate) engine: Option<(&'a str, &'a Address)>,
    /// Which requests are logged, and to which file; `None` for standard output.
    pub(crate) access_log: (AccessLog, Option<&'a str>),
    /// Whether the filter gets the certificates that a client presents besides its own.
    pub(crate) chain: bool,
    /// What the filter runs in.
    pub(crate) host: FilterHost,
    /// Envoy's folder, with the files of [`DynamicResource`].
    pub(crate) run: &'a Path,
}

impl Bootstrap<'_> {
    /// The bootstrap as Envoy reads it (`envoy.config.bootstrap.v3.Bootstrap` as JSON).
    pub(crate) fn to_json(&self) -> Value {
        let mut clusters = vec![cluster("grpc", self.backend), cluster("http", self.backend_http)];
        clusters.extend(self.engine.map(|(name, address)| engine_cluster(name, address, None)));
        json!({
            "node": {"id": "otlp-gate", "cluster": "otlp-gate"},
            "admin": {"address": socket(SocketAddr::from(([127, 0, 0, 1], 0)))},
            "stats_config": {"stats_tags": stats_tags()},
            "layered_runtime": {"layers": [{"name": "static", "static_layer": native_runtime()}]},
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
                "clusters": clusters,
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
        let secret = |of: DynamicResource| json!({"name": of.name(), "sds_config": of.source(self.run)});
        json!({
            "name": "tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "require_client_certificate": true,
                // A resumed session skips verification of the client's certificate, so an expired or revoked one would
                // still be accepted. OTLP connections are long-lived, so full handshakes cost little.
                "disable_stateless_session_resumption": true,
                "disable_stateful_session_resumption": true,
                "common_tls_context": {
                    "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                    "alpn_protocols": ["h2", "http/1.1"],
                    "tls_certificate_sds_secret_configs": [secret(DynamicResource::Server)],
                    "validation_context_sds_secret_config": secret(DynamicResource::Clients),
                },
            },
        })
    }

    fn connection_manager(&self, name: &str) -> Value {
        let (log, file) = self.access_log;
        json!({
            "@type": CONNECTION_MANAGER,
            "stat_prefix": name,
            "codec_type": "AUTO",
            "use_remote_address": true,
            "access_log": access_log(log, file).as_slice(),
            // The filter reads `x-forwarded-client-cert`: the last element is the connection's own certificate, and
            // those before it come from trusted hops. It removes the header before the request is forwarded.
            "forward_client_cert_details": "APPEND_FORWARD",
            "set_current_client_cert_details": {"cert": true, "chain": self.chain},
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
            // Routes match on the request, so gRPC and HTTP work on both ports.
            "route_config": {"virtual_hosts": [{"name": "otlp", "domains": ["*"], "routes": [
                {"match": {"prefix": "/", "grpc": {}}, "route": {"cluster": "grpc", "timeout": "300s"}},
                {"match": {"prefix": "/"}, "route": {"cluster": "http", "timeout": "300s"}},
            ]}]},
            "http_filters": [
                {"name": FILTER, "config_discovery": {
                    "config_source": DynamicResource::Policy.source(self.run), "type_urls": [self.host.type_url()],
                }},
                // Holds the headers back until the filter releases the body. Otherwise each request that is rejected
                // because of its body would have opened a stream to the backend and reset it. A backend that is an
                // Envoy treats many resets as an attack and closes the connection, which all clients share.
                {"name": "buffer", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer",
                    // The filter releases the body in one piece, so this limit never applies, whatever the body's size.
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

/// How Envoy finds the addresses of a host.
fn discovery(address: &Address) -> &'static str {
    if address.host.parse::<IpAddr>().is_ok() { "STATIC" } else { "STRICT_DNS" }
}

fn endpoint(cluster: &str, address: &Address) -> Value {
    let address = json!({"socket_address": {"address": address.host, "port_value": address.port}});
    json!({"cluster_name": cluster, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]})
}

fn cluster(name: &str, backend: &Address) -> Value {
    let protocol = if name == "grpc" { "http2_protocol_options" } else { "http_protocol_options" };
    json!({
        "name": name,
        "type": discovery(backend),
        "connect_timeout": "2s",
        "per_connection_buffer_limit_bytes": BUFFER,
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {protocol: {}},
        }},
        "circuit_breakers": {"thresholds": [{
            "max_connections": BREAKER, "max_pending_requests": BREAKER,
            "max_requests": BREAKER, "max_retries": BREAKER,
        }]},
        "load_assignment": endpoint(name, backend),
    })
}

fn socket(address: SocketAddr) -> Value {
    let mut socket = json!({"address": address.ip().to_string(), "port_value": address.port()});
    if let (true, Some(socket)) = (address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED), socket.as_object_mut())
    {
        // As for other programs, `[::]` is every address of the machine.
        socket.insert("ipv4_compat".to_owned(), json!(true));
    }
    json!({"socket_address": socket})
}

/// The flag without which Prometheus gets a dynamic module's metrics with Envoy's prefix, and a Wasm filter's without.
pub(crate) fn native_runtime() -> Value {
    json!({"envoy.reloadable_features.dynamic_modules_strip_custom_stat_prefix": true})
}

/// A configuration in which Envoy loads the native module in this file, and nothing else.
pub(crate) fn native_module_alone(file: &str) -> Value {
    let filter = json!({
        "@type": FilterHost::Native.type_url(),
        "dynamic_module_config": {"module": {"local": {"filename": file}}},
        "filter_name": FILTER,
        "filter_config": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "{}"},
    });
    let router = json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"});
    let connections = json!({
        "@type": CONNECTION_MANAGER,
        "stat_prefix": FILTER,
        "route_config": {},
        "http_filters": [
            {"name": FILTER, "typed_config": filter},
            {"name": "envoy.filters.http.router", "typed_config": router},
        ],
    });
    let filters =
        json!([{"name": "envoy.filters.network.http_connection_manager", "typed_config": connections}]);
    let listener = json!({
        "name": FILTER,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": filters}],
    });
    json!({"static_resources": {"listeners": [listener]}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unspecified_ipv6_address_is_every_address() {
        let compat =
            |address: &str| socket(address.parse().unwrap())["socket_address"]["ipv4_compat"].clone();
        assert_eq!(compat("[::]:4317"), true);
        assert_eq!([compat("[::1]:4317"), compat("0.0.0.0:4317")], [Value::Null, Value::Null]);
    }

    #[test]
    fn names_are_resolved_and_addresses_are_not() {
        let kind = |backend: &str| cluster("grpc", &backend.parse().unwrap()).get("type").unwrap().clone();
        assert_eq!(kind("collector:4317"), "STRICT_DNS");
        assert_eq!(kind("10.0.0.1:4317"), "STATIC");
        assert_eq!(kind("[::1]:4317"), "STATIC");
    }
}
