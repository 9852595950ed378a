"""The Collector that otlp-gate deploys: its configuration in a real Collector."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_forged import FORGED, NAME, SPELLINGS
from test_verify import results, verify

from support.client import Identity, frame
from support.collector import OTELCOL, PROFILES, Collector, extracted, rendered, validate
from support.config import Config, config, rule
from support.gate import Certificates, Gate, otlp_gate
from support.protobuf import ITEMS, attribute, field, profile, request, resource, scope, string
from support.sink import GRPC_PATHS, Sink

pytestmark = pytest.mark.skipif(not OTELCOL, reason="no Collector")
SIGNALS = {**ITEMS, "profiles": profile}
MANIFESTS = Path(__file__).parents[1] / "manifests"


@pytest.mark.parametrize("config_map", sorted(MANIFESTS.glob("*/configmap-*.yaml")), ids=lambda it: f"{it.parent.name}")
def test_the_collector_accepts_every_rendered_configuration(tmp_path: Path, config_map: Path) -> None:
    if "config.yaml: |" in config_map.read_text():
        done = validate(extracted(config_map, tmp_path / "collector.yaml"), env={"KUBE_NODE_NAME": "node"})
        assert done.returncode == 0, done.stderr


# Many keys at once: what is merged must still be a valid configuration.
MANY = {
    "processors": {
        "filter/health": {"traces": {"span": ['name == "GET /healthz"']}},
        "transform/region": {"log_statements": ['set(resource.attributes["region"], "eu")']},
    },
    "connectors": {"routing/mine": {"table": [{"condition": "true", "pipelines": ["traces/errors"]}]}},
    "extensions": {"file_storage/own": {"directory": "/tmp"}},
    "exporters": {
        "otlp_http": {"endpoint": "https://a.example", "headers": {"authorization": "Bearer ${env:TOKEN}"}},
        "otlp_grpc/acme": {"endpoint": "acme.example:4317"},
        "otlp_grpc/both": {"endpoint": "both.example:4317", "sending_queue": {"storage": "file_storage/own"}},
        "loadbalancing": {"resolver": {"static": {"hostnames": ["a:4317"]}}},
        "debug/errors": None,
    },
    "pipelines": {
        "traces": {"processors": ["filter/health"], "exporters": ["otlp_http", "routing/mine", "loadbalancing"]},
        "traces/errors": {"receivers": ["routing/mine"], "exporters": ["debug/errors"]},
        "logs": {"processors": ["transform/region"]},
        "profiles": {"processors": ["filter/health"], "exporters": ["otlp_http"]},
    },
    "profiles": True,
    "routes": [
        {"match": {"tenant.id": "acme", "otlp_gate.client": ["a", 'b"$\\']}, "exporters": ["otlp_grpc/acme"]},
        {"match": {"tenant.id": "globex"}, "signals": ["logs", "traces"], "exporters": ["otlp_grpc/both"]},
    ],
    "env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "backend", "key": "token"}}}],
}


def gate_with(**collector: object) -> Config:
    """A gate whose clients are tenants by their names."""
    client = rule("{word}", {"spiffe": "spiffe://routes.example/{word}"}, tenant="{word}")
    keys = {"attributes": {"otlp_gate.client": "{name}"}}
    return config(client, **keys).replace(backend={"collector": collector})


def test_the_collector_accepts_what_is_merged(tmp_path: Path) -> None:
    file = rendered(tmp_path, gate_with(**MANY))
    done = validate(file, PROFILES, env={"TOKEN": "x"})
    assert done.returncode == 0, done.stderr + file.read_text()
    assert "Bearer ${env:TOKEN}" in file.read_text()


# Takes the arguments of `docker run`, and runs a Collector of this machine for the image.
RUNTIME = """#!/bin/sh
[ "$*" = "run --rm --interactive --network=none --env=GOMEMLIMIT=1600MiB --env=TOKEN=- {image} \
validate --config=file:/dev/stdin" ] || {{ echo "unexpected arguments: $*" >&2; exit 9; }}
exec {otelcol} validate --config=file:/dev/stdin
"""


@pytest.mark.parametrize(
    ("what", "collector", "says"),
    [
        ("valid", {"exporters": {"otlp_http": {"endpoint": "https://a.example"}}}, "accepts the configuration"),
        (
            "unknown setting",
            {"exporters": {"otlp_http": {"endpoint": "https://a.example", "endpiont": "x"}}},
            "has invalid keys: endpiont",
        ),
        (
            "unknown component",
            {"exporters": {"no_such": {"sending_queue": {"enabled": False}}}},
            'unknown type: "no_such"',
        ),
    ],
)
@pytest.mark.parametrize("by", ["program", "runtime"])
def test_a_configuration_is_checked_before_it_is_used(
    tmp_path: Path, what: str, collector: dict, says: str, by: str
) -> None:
    file = tmp_path / "otlp-gate.yaml"
    image = "registry.example/otelcol:1"
    file.write_text(str(gate_with(image=image, env=[{"name": "TOKEN", "value": "-"}], **collector)))
    runtime = tmp_path / "docker"
    runtime.write_text(RUNTIME.format(image=image, otelcol=OTELCOL))
    runtime.chmod(0o755)
    options = ["--otelcol", OTELCOL] if by == "program" else ["--otelcol-runtime", runtime]
    done = otlp_gate("-f", file, "render", *options, check=False)
    assert (done.returncode == 0) == (what == "valid"), done.stderr
    assert says in done.stderr
    if what != "valid":
        assert done.stdout == ""
        assert "error: the Collector rejects the configuration in configmap/otel-gateway-collector" in done.stderr
        assert "hint: correct `backend.collector`" in done.stderr


@pytest.fixture(scope="module")
def tenants() -> Iterator[dict[str, Sink]]:
    """A backend for each tenant with a route, and one for the rest."""
    sinks = {name: Sink().start() for name in ("acme", "globex", "rest")}
    yield sinks
    for sink in sinks.values():
        sink.stop()


@pytest.fixture(scope="module")
def routing_gate(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates, tenants: dict[str, Sink]
) -> Iterator[Gate]:
    """A gate with a Collector behind it that sends each tenant's telemetry to the tenant's backend."""
    folder = tmp_path_factory.mktemp("routes")
    exporters = {
        f"otlp_grpc/{name}": {
            "endpoint": f"127.0.0.1:{sink.grpc_port}",
            "tls": {"insecure": True},
            "compression": "none",
            "sending_queue": {"enabled": False},
        }
        for name, sink in tenants.items()
    }
    routes = [{"match": {"tenant.id": name}, "exporters": [f"otlp_grpc/{name}"]} for name in ("acme", "globex")]
    file = rendered(folder, gate_with(exporters=exporters, routes=routes, profiles=True))
    collector = Collector(folder, file, PROFILES)
    gate = Gate(folder / "otlp-gate.yaml", certificates.folder, collector.grpc_port, collector.http_port).ready()
    yield gate
    gate.stop()
    collector.stop()


@pytest.fixture
def connect_as(routing_gate: Gate, certificates: Certificates, connect: Callable) -> Callable:
    """A connection of this tenant's client."""

    def connect_as(tenant: str):
        return connect(client(certificates, tenant), routing_gate.grpc)

    return connect_as


def client(certificates: Certificates, tenant: str) -> Identity:
    return certificates.client(f"routes-{tenant}", "--spiffe", f"spiffe://routes.example/{tenant}")


def all_received(tenants: dict[str, Sink]) -> dict[str, list[str]]:
    """What has arrived at each backend: the tenants of its Resources."""
    return {
        name: [it["tenant.id"] for received in sink.rest() for it in received.resources()]
        for name, sink in tenants.items()
    }


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_tenants_telemetry_reaches_only_its_backend(
    connect_as: Callable, tenants: dict[str, Sink], signal: str
) -> None:
    message = request(resource(NAME), scope(SIGNALS[signal]("a")))
    for tenant in ("acme", "globex", "other", "acme-2", "ACME"):
        assert connect_as(tenant).grpc(GRPC_PATHS[signal], frame(message)).grpc_status == 0
    assert all_received(tenants) == {"acme": ["acme"], "globex": ["globex"], "rest": ["other", "acme-2", "ACME"]}


@pytest.mark.parametrize("signal", SIGNALS)
def test_no_forgery_reaches_another_tenants_backend(
    connect_as: Callable, tenants: dict[str, Sink], signal: str
) -> None:
    item = SIGNALS[signal]
    # In the scope it stays, and decides nothing.
    of_globex = attribute("tenant.id", "globex")
    in_scope = field(2, field(1, field(3, field(1, b"tenant.id") + field(2, string("globex")))) + item("b"))
    # Both values have the same length.
    messages = [spelling(scope(item("a")), in_scope).replace(b"forged", b"globex") for spelling in SPELLINGS.values()]
    messages.append(request(resource(NAME, of_globex, FORGED), in_scope))
    acme, other = connect_as("acme"), connect_as("other")
    for message in messages:
        for connection in (acme, other):
            answer = connection.grpc(GRPC_PATHS[signal], frame(message))
            assert answer.grpc_status == 0, answer
    arrived = all_received(tenants)
    assert arrived["globex"] == []
    assert set(arrived["acme"]) == {"acme"} and set(arrived["rest"]) == {"other"}, arrived
    assert len(arrived["acme"]) == len(arrived["rest"]) >= len(messages)


def test_what_verify_sends_reaches_no_backend(routing_gate: Gate, tenants: dict[str, Sink]) -> None:
    outcome = verify(routing_gate.config, routing_gate.certificates, routing_gate)
    assert outcome["ok"], outcome
    assert ("grpc", "valid client sends profiles: accepted") in results(outcome, "pass")
    assert all(sink.rest() == [] for sink in tenants.values())
    log = (routing_gate.config.parent / "collector.log").read_text()
    logged = set(re.findall(r"otlp_gate\.run: Str\(\w+/(\w+/[\w-]+)\)", log))
    assert logged >= {*(f"grpc/{it}" for it in (*SIGNALS, "forged-attributes")), "http/traces"}
