"""The limits and settings of a running Envoy (from its `config_dump`), in the form of the table in
docs/reference/gateway-bounds.md."""

import re
from collections.abc import Iterator
from pathlib import Path

TABLE = Path(__file__).parents[2] / "docs/reference/gateway-bounds.md"
HEADERS = "envoy.reloadable_features.max_request_headers_size_kb"
MIB = 1 << 20


def documented(column: str) -> dict[str, str]:
    """A column of the table, by row."""
    lines = iter(TABLE.read_text().splitlines())
    heading = next(line for line in lines if line.startswith("| bound |"))
    place = cells(heading).index(f"`{column}`")
    assert re.fullmatch(r"[|-]+", next(lines))
    rows = {}
    for line in lines:
        if not line.startswith("|"):
            break
        rows[cells(line)[0]] = cells(line)[place]
    return rows


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


class RunningEnvoy:
    """The `config_dump` of one Envoy, and the gate's listeners and clusters in it."""

    def __init__(self, dump: dict, clusters: str):
        self.configs = {config["@type"].rsplit(".", 1)[1]: config for config in dump["configs"]}
        self.bootstrap = self.configs["BootstrapConfigDump"]["bootstrap"]
        # Istio and Envoy Gateway add listeners without TLS for metrics and probes. They are not part of the gate.
        chains = [
            (listener, chain)
            for listener in self.listeners()
            for chain in listener.get("filterChains", listener.get("filter_chains", []))
        ]
        self.chains = [(listener, chain) for listener, chain in chains if "transport_socket" in chain]
        self.clusters = [cluster for cluster in self.all_clusters() if re.search(clusters, cluster["name"])]
        assert self.chains and self.clusters

    def listeners(self) -> Iterator[dict]:
        dump = self.configs["ListenersConfigDump"]
        yield from (one["listener"] for one in dump.get("static_listeners", []))
        yield from (
            one["active_state"]["listener"] for one in dump.get("dynamic_listeners", []) if "active_state" in one
        )

    def all_clusters(self) -> Iterator[dict]:
        dump = self.configs["ClustersConfigDump"]
        for state in ("static_clusters", "dynamic_active_clusters"):
            yield from (one["cluster"] for one in dump.get(state, []))

    def answers(self) -> Iterator[str]:
        """The timeout of each route; Envoy's default is 15 s."""
        dump = self.configs["RoutesConfigDump"].get("dynamic_route_configs", [])
        dynamic = {one["route_config"]["name"]: one["route_config"] for one in dump}
        for _, chain in self.chains:
            manager = self.manager(chain)
            config = manager.get("route_config") or dynamic[manager["rds"]["route_config_name"]]
            routes = [
                route["route"]
                for host in config["virtual_hosts"]
                for route in host.get("routes", [])
                if "route" in route
            ]
            yield from (limit(route.get("timeout", "15s")) for route in routes)

    @staticmethod
    def manager(chain: dict) -> dict:
        return next(
            it["typed_config"]
            for it in chain["filters"]
            if it["typed_config"]["@type"].endswith(".HttpConnectionManager")
        )

    def rows(self) -> dict[str, str]:
        """The rows of the table. Where the gate's listeners or clusters differ, a row has all values."""
        found: dict[str, set[str]] = {}
        for listener, chain in self.chains:
            for row, value in {**self.of_tls(chain), **self.of_requests(listener, chain)}.items():
                found.setdefault(row, set()).add(value)
        for cluster in self.clusters:
            for row, value in of_cluster(cluster).items():
                found.setdefault(row, set()).add(value)
        found["an answer, once the request is with the backend"] = set(self.answers())
        found["connections of clients to one proxy"] = {self.connections()}
        return {row: ", ".join(sorted(values)) for row, values in found.items()}

    def of_tls(self, chain: dict) -> dict[str, str]:
        tls = chain["transport_socket"]["typed_config"]
        common = tls["common_tls_context"]
        params = common.get("tls_params", {})
        off = tls.get("disable_stateless_session_resumption") and tls.get("disable_stateful_session_resumption")
        least = {"TLSv1_2": "1.2", "TLSv1_3": "1.3"}[params.get("tls_minimum_protocol_version", "TLSv1_2")]
        most = {"TLS_AUTO": "1.3", "TLSv1_3": "1.3"}[params.get("tls_maximum_protocol_version", "TLS_AUTO")]
        return {
            "a client's certificate": "required" if tls.get("require_client_certificate") else "not asked for",
            "TLS session resumption": "off" if off else "on",
            "TLS versions": f"{least} to {most}",
            "ciphers of TLS 1.2": " ".join(params.get("cipher_suites", [])) or "Envoy's default",
            "ALPN": " ".join(common["alpn_protocols"]),
            "a TLS handshake": chain.get("transport_socket_connect_timeout", "no limit"),
        }

    def of_requests(self, listener: dict, chain: dict) -> dict[str, str]:
        manager = self.manager(chain)
        common, http2 = manager.get("common_http_protocol_options", {}), manager.get("http2_protocol_options", {})
        router = next(
            it["typed_config"]
            for it in manager["http_filters"]
            if it["name"] in ("router", "envoy.filters.http.router")
        )
        details = manager.get("set_current_client_cert_details", {})
        forward = manager.get("forward_client_cert_details", "SANITIZE")
        escaped_slashes = manager.get("path_with_escaped_slashes_action", "KEEP_UNCHANGED")
        paths = [
            "normalized" if manager.get("normalize_path") else "",
            "slashes merged" if manager.get("merge_slashes") else "",
            "" if escaped_slashes == "KEEP_UNCHANGED" else escaped_slashes,
        ]
        underscores = common.get("headers_with_underscores_action", "ALLOW")
        server_header = manager.get("server_header_transformation", "OVERWRITE")
        header_size = manager.get("max_request_headers_kb", self.runtime(HEADERS, 60))
        return {
            "`x-forwarded-client-cert`": f"{forward}{', Cert' if details.get('cert') else ''}",
            "a request, until it has arrived": manager.get("request_timeout", "no limit"),
            "a request without a byte": limit(manager.get("stream_idle_timeout", "300s")),
            "a connection without a request": common.get("idle_timeout", "3600s"),
            "requests at a time on a connection": str(http2.get("max_concurrent_streams", "2147483647")),
            "HTTP/2 window of a stream": size(http2.get("initial_stream_window_size", 16 * MIB)),
            "HTTP/2 window of a connection": size(http2.get("initial_connection_window_size", 24 * MIB)),
            "buffer of a client's connection": size(listener.get("per_connection_buffer_limit_bytes", MIB)),
            "headers of a request": f"{header_size} KiB, {common.get('max_headers_count', 100)}",
            "headers with `_`": "left" if underscores == "ALLOW" else underscores,
            "path": " ".join(filter(None, paths)) or "left",
            "`server` header of answers": "the backend's" if server_header == "PASS_THROUGH" else "Envoy's",
            "`x-envoy-*` headers": "none" if router.get("suppress_envoy_headers") else "added",
            "`x-request-id`": "added" if manager.get("generate_request_id", True) else "left",
            "HTTP/1.0": "accepted" if manager.get("http_protocol_options", {}).get("accept_http_10") else "rejected",
            "the client's address": "the connection's" if manager.get("use_remote_address") else "a header's",
        }

    def runtime(self, key: str, default: int) -> int:
        layers = self.bootstrap.get("layered_runtime", {}).get("layers", [])
        values = [layer["static_layer"][key] for layer in layers if key in layer.get("static_layer", {})]
        return int(values[-1]) if values else default

    def connections(self) -> str:
        monitors = self.bootstrap.get("overload_manager", {}).get("resource_monitors", [])
        config = [it["typed_config"] for it in monitors if it["name"].endswith("global_downstream_max_connections")]
        return f"{int(config[0]['max_active_downstream_connections']):,}" if config else "no limit"


def of_cluster(cluster: dict) -> dict[str, str]:
    """The rows of a cluster. A threshold that is not set has Envoy's default."""
    thresholds = [
        it
        for it in cluster.get("circuit_breakers", {}).get("thresholds", [])
        if it.get("priority", "DEFAULT") == "DEFAULT"
    ]
    (threshold,) = thresholds or [{}]
    keys = {"max_connections": 1024, "max_pending_requests": 1024, "max_requests": 1024, "max_retries": 3}
    least = min(int(threshold.get(key, default)) for key, default in keys.items())
    return {
        "circuit breaker to the backend": f"{least:,}",
        "buffer of a backend's connection": size(cluster.get("per_connection_buffer_limit_bytes", MIB)),
        "a connection to the backend": cluster.get("connect_timeout", "5s"),
    }


def limit(duration: str) -> str:
    return "no limit" if duration == "0s" else duration


def size(count: int | str) -> str:
    count = int(count)
    return f"{count // MIB} MiB" if count % MIB == 0 else f"{count // 1024} KiB"
