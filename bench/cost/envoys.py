"""Configurations of Envoys."""

import json

TYPE = "type.googleapis.com/envoy"
# The filter that follows the gate's own in every gate.
BUFFER = {
    "name": "buffer",
    "typed_config": {"@type": f"{TYPE}.extensions.filters.http.buffer.v3.Buffer", "max_request_bytes": 1 << 20},
}


def address(port):
    return {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}


def cluster(name, port, http2=False, **more):
    made = {
        "name": name,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": address(port)}]}]},
        **more,
    }
    if http2:
        made["typed_extension_protocol_options"] = {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        }
    return made


def http_listener(port, filters, route, **chain):
    manager = {
        "@type": f"{TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "http_filters": [
            *filters,
            {"name": "router", "typed_config": {"@type": f"{TYPE}.extensions.filters.http.router.v3.Router"}},
        ],
        "route_config": {
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **route}]}]
        },
    }
    return {
        "name": f"http-{port}",
        **address(port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}], **chain}],
    }


def sink(port, **chain):
    """A backend that reads each body to its end and then returns grpc-status 0. If it responded earlier, the measured
    Envoy would not send the rest of the body."""
    whole = {"name": "buffer", "typed_config": {**BUFFER["typed_config"], "max_request_bytes": 64 << 20}}
    headers = {"content-type": "application/grpc", "grpc-status": "0"}
    add = [
        {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        for key, value in headers.items()
    ]
    return {
        "static_resources": {
            "listeners": [
                http_listener(
                    port, [whole], {"direct_response": {"status": 200}, "response_headers_to_add": add}, **chain
                )
            ]
        }
    }


def wasm_filter(module, policy):
    value = {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": json.dumps(policy)}
    config = {
        "name": "bench",
        "root_id": "bench",
        "configuration": value,
        "vm_config": {"runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": str(module)}}},
    }
    kind = f"{TYPE}.extensions.filters.http.wasm.v3.Wasm"
    return {"name": "wasm", "typed_config": {"@type": kind, "config": config}}


def native_filter(policy):
    """The native module, which Envoy finds by its name in ENVOY_DYNAMIC_MODULES_SEARCH_PATH."""
    native = {
        "@type": f"{TYPE}.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter",
        "dynamic_module_config": {"name": "otlp_gate", "do_not_close": True},
        "filter_name": "bench",
        "filter_config": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": json.dumps(policy)},
    }
    return {"name": "native", "typed_config": native}


def gateway(port, backend, certs, filters=(), clusters=(), **to_backend):
    """The measured Envoy: accepts mTLS, forwards HTTP/2, in plain text unless `to_backend` has a transport socket."""
    listener = http_listener(
        port,
        filters,
        {"route": {"cluster": "backend", "timeout": "60s"}},
        transport_socket=mutual_tls(certs, "server", "Downstream", require_client_certificate=True),
    )
    return {
        "static_resources": {
            "listeners": [listener],
            "clusters": [cluster("backend", backend, http2=True, **to_backend), *clusters],
        }
    }


def gate(port, backend, certs, own_filter, policy, clusters=(), **to_backend):
    """A measured Envoy with otlp-gate, as Wasm or native filter, and what each gate has besides: the filter that
    follows, and the certificate in a header."""
    config = gateway(port, backend, certs, [own_filter, BUFFER], clusters, **to_backend)
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    manager.update(
        forward_client_cert_details="APPEND_FORWARD" if "trustedHops" in policy else "SANITIZE_SET",
        set_current_client_cert_details={"cert": True},
    )
    return config


def client(port, gateway, certs):
    """An Envoy that forwards plain connections over mTLS, since h2load cannot use a client certificate."""
    proxy = {
        "@type": f"{TYPE}.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "client",
        "cluster": "gateway",
    }
    chain = {"filters": [{"name": "tcp", "typed_config": proxy}]}
    wrap = mutual_tls(certs, "client", "Upstream")
    return {
        "static_resources": {
            "listeners": [{"name": "plain", **address(port), "filter_chains": [chain]}],
            "clusters": [cluster("gateway", gateway, transport_socket=wrap)],
        }
    }


def trusted_hop(port, gateway, certs):
    """An Envoy before a gate that takes the client's identity from the query of a path."""
    identity = {
        "key": "x-forwarded-client-cert",
        "value": f"Hash={'ab' * 32};URI=spiffe://many.example/%QUERY_PARAM(id)%",
    }
    route = {
        "route": {"cluster": "gateway", "timeout": "60s"},
        "request_headers_to_add": [{"header": identity, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
    }
    wrap = mutual_tls(certs, "client", "Upstream")
    return {
        "static_resources": {
            "listeners": [http_listener(port, [], route)],
            "clusters": [cluster("gateway", gateway, http2=True, transport_socket=wrap)],
        }
    }


def mutual_tls(certs, name, side, **more):
    """A transport socket that presents the certificate `name` and verifies the peer's. `side` is `Downstream` or
    `Upstream`."""
    common = {
        "alpn_protocols": ["h2"],
        "tls_certificates": [
            {
                "certificate_chain": {"filename": str(certs / f"{name}.crt")},
                "private_key": {"filename": str(certs / f"{name}.key")},
            }
        ],
        "validation_context": {"trusted_ca": {"filename": str(certs / "ca.crt")}},
    }
    kind = f"{TYPE}.extensions.transport_sockets.tls.v3.{side}TlsContext"
    return {"name": "tls", "typed_config": {"@type": kind, "common_tls_context": common, **more}}
