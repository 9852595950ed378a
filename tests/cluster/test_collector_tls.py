"""The connection from the gateway to the Collector: encrypted, and for the gateway only."""

import base64
import json
import os
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from support.client import Identity, secure_channel
from support.cluster.admin import admin
from support.cluster.capture import Capture
from support.cluster.installation import MACHINE, PROVIDER, Installation, Kubectl, wait_until
from support.cluster.pods import IMAGE, Sender
from support.protobuf import traces
from support.sink import GRPC_PATHS, Sink

COLLECTOR = "otel-gateway-collector"
# A record of application data in TLS 1.2 and 1.3 (RFC 8446 section 5.1).
TLS_RECORD = b"\x17\x03\x03"


def code(channel: grpc.Channel, name: str) -> grpc.StatusCode:
    """The answer to a span of this name."""
    with channel:
        export = channel.unary_unary(GRPC_PATHS["traces"], request_serializer=None, response_deserializer=None)
        return export.future(traces(name), timeout=5).code()


def pod(kubectl: Kubectl, gate: Installation) -> dict:
    """The Collector's only pod."""
    found = kubectl.json("get", "pods", "-n", gate.namespace, "-l", "app.kubernetes.io/name=opentelemetry-collector")
    (one,) = [one for one in found["items"] if "deletionTimestamp" not in one["metadata"]]
    assert one["status"].get("containerStatuses", [{}])[0].get("ready")
    return one


def identity(gate: Installation, certificate: str, ca: str = "internal-ca") -> Identity:
    """A certificate of the gate's folder, which trusts the Collector."""
    certs = gate.folder / "certs"
    return Identity(certs / f"{certificate}.crt", certs / f"{certificate}.key", certs / f"{ca}.crt")


def address_of(kubectl: Kubectl, gate: Installation) -> str:
    """The address of the Collector's Service."""
    return kubectl.json("get", "service", COLLECTOR, "-n", gate.namespace)["spec"]["clusterIP"]


def test_only_the_gateway_can_connect_to_the_collector(
    gate: Installation, kubectl: Kubectl, backend: Sink, nodes: list[str]
) -> None:
    address, host = f"{address_of(kubectl, gate)}:4317", f"{COLLECTOR}.{gate.namespace}.svc"

    def channel(certificate: str | None) -> grpc.Channel:
        presented = identity(gate, certificate or "gateway")
        only_ca = grpc.ssl_channel_credentials(presented.ca.read_bytes())
        options = [("grpc.ssl_target_name_override", host), ("grpc.use_local_subchannel_pool", 1)]
        return grpc.secure_channel(address, presented.credentials() if certificate else only_ca, options=options)

    gate.acme()
    backend.rest()
    # The network of the recipe's cluster does not enforce NetworkPolicies: only TLS keeps these out.
    assert code(channel("gateway"), "with the gateway's certificate") == grpc.StatusCode.OK
    for what, attempt in {
        "plain text": grpc.insecure_channel(address),
        "no certificate": channel(None),
        "a client's certificate": channel("clients/acme"),
        "the server's certificate": channel("server"),
        "the Collector's own certificate": channel("collector"),
    }.items():
        assert code(attempt, what) == grpc.StatusCode.UNAVAILABLE, what
    # A pod in the gate's own namespace has no more rights.
    sender = Sender.start(kubectl, gate.namespace, nodes[0], f"{COLLECTOR}.{gate.namespace}:4317")
    assert sender.send("from a pod") == grpc.StatusCode.UNAVAILABLE
    sender.stop()
    names = {name for received in backend.rest() for name in received.names()}
    assert names == {"with the gateway's certificate"}


def pods(gate: Installation, kubectl: Kubectl) -> set[tuple[str, int]]:
    """The Collector's and the gateway's pods, and how often their containers have restarted."""
    found = [pod(kubectl, gate), *kubectl.json("get", "pods", *gate.proxies())["items"]]
    restarts = lambda one: sum(it["restartCount"] for it in one["status"]["containerStatuses"])
    return {(one["metadata"]["uid"], restarts(one)) for one in found}


def test_a_renewed_certificate_is_used_without_a_restart(gate: Installation, kubectl: Kubectl) -> None:
    host = f"{COLLECTOR}.{gate.namespace}.svc"

    def serial(file: str) -> int:
        (entry,) = [it for it in gate.json("certs", "list") if it["file"] == file]
        return int(entry["serial"], 16)

    def served() -> int:
        """The serial number of the certificate that the Collector presents."""
        context = identity(gate, "gateway").context()
        with (
            socket.create_connection((address_of(kubectl, gate), 4317), 5) as connection,
            context.wrap_socket(connection, server_hostname=host) as encrypted,
        ):
            return int(encrypted.getpeercert()["serialNumber"], 16)

    def loaded() -> set[int]:
        """The serial numbers of all certificates that the gateway's proxy has."""
        with admin(gate, kubectl) as at, urllib.request.urlopen(f"http://{at}/certs", timeout=10) as response:
            certificates = json.load(response)["certificates"]
        return {int(it["serial_number"], 16) for one in certificates for it in one.get("cert_chain", [])}

    before, old = pods(gate, kubectl), serial("gateway.crt")
    assert (served(), old in loaded()) == (serial("collector.crt"), True)
    gate.run("certs", "renew", "internal", "--new-key")
    gate.apply()
    # The kubelet updates files in running pods within a minute or two.
    wait_until(lambda: serial("gateway.crt") in loaded(), "the gateway has its new certificate", 180)
    wait_until(lambda: served() == serial("collector.crt"), "the Collector presents its new certificate", 180)
    assert old not in loaded()
    assert pods(gate, kubectl) == before
    wait_until(lambda: gate.verify()["ok"], "verify passes")


@pytest.mark.skipif(PROVIDER != "istio", reason="the cluster has no Istio")
def test_a_mesh_that_requires_mtls_changes_nothing(gate: Installation, kubectl: Kubectl) -> None:
    """The Collector is not in the mesh, and its certificates are not the mesh's."""
    strict = {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "strict", "namespace": gate.namespace},
        "spec": {"mtls": {"mode": "STRICT"}},
    }
    kubectl("label", "namespace", gate.namespace, "istio-injection=enabled")
    kubectl.apply(strict)
    try:
        old = pod(kubectl, gate)["metadata"]["name"]
        kubectl("delete", "pod", old, "-n", gate.namespace, "--wait=false")
        wait_until(lambda: pod(kubectl, gate)["metadata"]["name"] != old, "the Collector has a new pod")
        containers = pod(kubectl, gate)["spec"]["containers"]
        assert [it["name"] for it in containers] == ["collector"]
        wait_until(lambda: gate.verify()["ok"], "verify passes")
    finally:
        kubectl("delete", "peerauthentication", "strict", "-n", gate.namespace)
        kubectl("label", "namespace", gate.namespace, "istio-injection-")


@pytest.fixture
def own_backend(gate: Installation, kubectl: Kubectl, backend: Sink) -> Iterator[str]:
    """A Service of the user's own, in a namespace of its own, that demands a client certificate. It forwards to the
    tests' backend. Its CA and certificates are the gate's internal ones, under other names."""
    namespace = f"{gate.namespace}-own"
    kubectl.ensure_namespace(namespace)
    certs = gate.folder / "certs"
    base64_of = lambda name: base64.b64encode((certs / name).read_bytes()).decode()

    def secret(name: str, namespace: str, files: str) -> dict:
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "type": "kubernetes.io/tls",
            "data": {
                "tls.crt": base64_of(f"{files}.crt"),
                "tls.key": base64_of(f"{files}.key"),
                "ca.crt": base64_of("internal-ca.crt"),
            },
        }

    ca_namespace = gate.namespace if PROVIDER == "istio" else namespace
    ca = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "own-ca", "namespace": ca_namespace},
        "data": {"ca.crt": (certs / "internal-ca.crt").read_text()},
    }
    files = {"cert_file": "/tls/tls.crt", "key_file": "/tls/tls.key", "client_ca_file": "/tls/ca.crt"}
    protocols = {name: {"endpoint": f":{port}", "tls": files} for name, port in (("grpc", 4317), ("http", 4318))}
    exporter = {
        "endpoint": f"{MACHINE}:{backend.grpc_port}",
        "tls": {"insecure": True},
        "sending_queue": {"enabled": False},
    }
    config = {
        "receivers": {"otlp": {"protocols": protocols}},
        "exporters": {"otlp_grpc": exporter},
        "service": {"pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["otlp_grpc"]}}},
    }
    metadata = {"name": "own", "namespace": namespace, "labels": {"app": "own"}}
    container = {
        "name": "collector",
        "image": IMAGE,
        "args": [f"--config=yaml:{json.dumps(config)}"],
        "volumeMounts": [{"name": "tls", "mountPath": "/tls"}],
    }
    spec = {
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": [{"name": "tls", "secret": {"secretName": "own"}}],
    }
    ports = [
        {"name": "grpc", "port": 4317, "appProtocol": "kubernetes.io/h2c" if PROVIDER != "istio" else "grpc"},
        {"name": "http", "port": 4318},
    ]
    kubectl.apply(
        secret("own", namespace, "collector"),
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": {"app": "own"}, "ports": ports},
        },
    )
    kubectl("wait", "--for=condition=Ready", "pod/own", "-n", namespace, "--timeout=90s")
    before = gate.config
    tls = {"caConfigMap": "own-ca", "clientSecret": "own-client", "serverName": f"{COLLECTOR}.{gate.namespace}.svc"}
    service = {"name": "own", "namespace": namespace, "tls": tls}
    gate.change(lambda config: config.update(backend={"service": service}))
    # Each object that is missing is reported, before anything is changed.
    message = gate.run("apply", code=1).stderr
    assert "backend.service.tls.caConfigMap" in message and f"-n {ca_namespace} --from-file=ca.crt" in message, message
    kubectl.apply(ca)
    message = gate.run("apply", code=1).stderr
    assert "backend.service.tls.clientSecret" in message and "caConfigMap" not in message, message
    kubectl.apply(secret("own-client", gate.namespace, "gateway"))
    yield namespace
    gate.config = before
    gate.apply()
    kubectl("delete", "namespace", namespace, "--wait=false")
    wait_until(lambda: gate.verify()["ok"], "verify passes")


def test_a_service_of_the_users_own_gets_the_gateways_certificate(
    gate: Installation, kubectl: Kubectl, backend: Sink, own_backend: str
) -> None:
    gate.apply()
    acme = gate.acme().credentials()
    answer = lambda name: code(secure_channel(f"{gate.address()}:4317", acme), name)
    wait_until(lambda: answer("with a certificate") == grpc.StatusCode.OK, "the backend accepts the gateway")
    assert any("with a certificate" in received.names() for received in backend.rest())
    # A backend with another name in its certificate is another one.
    gate.change(lambda config: config["backend"]["service"]["tls"].update(serverName="other.example"))
    gate.apply()
    wait_until(lambda: answer("to another") == grpc.StatusCode.UNAVAILABLE, "the gateway rejects the backend")


@pytest.fixture
def apart(gate: Installation, kubectl: Kubectl) -> None:
    """The gateway and the Collector on different nodes."""
    (proxy,) = kubectl.json("get", "pods", *gate.proxies(), "--field-selector=status.phase=Running")["items"]
    node = proxy["spec"]["nodeName"]
    if pod(kubectl, gate)["spec"]["nodeName"] == node:
        kubectl("cordon", node)
        try:
            kubectl("delete", "pod", pod(kubectl, gate)["metadata"]["name"], "-n", gate.namespace, "--wait=false")
            wait_until(lambda: pod(kubectl, gate)["spec"]["nodeName"] != node, "the Collector is on another node")
        finally:
            kubectl("uncordon", node)


@pytest.mark.alone
@pytest.mark.skipif("CLUSTER_XTASK" not in os.environ, reason="the test captures in nodes that the recipe started")
def test_no_telemetry_is_readable_between_nodes(
    gate: Installation, kubectl: Kubectl, backend: Sink, nodes: list[str], apart: None, tmp_path: Path
) -> None:
    def captured(name: str) -> list[bytes]:
        """What each node sends to the Collector, or receives for it, while a span of this name is exported."""
        wait_until(lambda: gate.verify()["ok"], "verify passes")
        with Capture(tmp_path, pod(kubectl, gate)["status"]["podIP"], len(nodes)) as capture:
            channel = secure_channel(f"{gate.address()}:4317", gate.acme().credentials())
            assert code(channel, name) == grpc.StatusCode.OK
        return capture.of_each_node()

    for data in captured("a-readable-name"):
        assert b"a-readable-name" not in data and b"tenant.id" not in data
        assert TLS_RECORD in data
    # The same capture shows plain text where there is some.
    gate.change(lambda config: config["backend"]["collector"].update(tls="off"))
    try:
        assert "plain text" in gate.run("check").stderr
        gate.apply()
        assert "plain text" in gate.run("status").stdout
        doctor = {one["subject"]: one for one in gate.json("doctor")["checks"]}
        assert doctor["connection to the Collector"]["verdict"] == "warn"
        assert any(b"a-readable-name" in data and b"tenant.id" in data for data in captured("a-readable-name"))
    finally:
        gate.change(lambda config: config["backend"]["collector"].pop("tls"))
        gate.apply()
        wait_until(lambda: gate.verify()["ok"], "verify passes")


def test_what_is_missing_is_reported_before_anything_changes(gate: Installation, kubectl: Kubectl) -> None:
    certs, secret = gate.folder / "certs", "otel-gateway-backend-client"
    kept = {file: file.read_bytes() for file in certs.glob("*.*")}
    internal = ("internal-ca", "collector", "gateway", "node")
    try:
        for file in kept:
            if file.stem in internal:
                file.unlink()
        # The Secrets in the cluster stay, and are enough.
        gate.apply()
        kubectl("delete", "secret", secret, "-n", gate.namespace)
        message = gate.run("apply", code=1).stderr
        assert f"secret/{secret} in {gate.namespace}" in message and "otlp-gate certs init" in message, message
        assert "certs init" in gate.run("check").stderr
        assert "the others are unchanged" in gate.run("certs", "init").stderr
        for file, content in kept.items():
            if file.stem not in internal and file.name != "issued.jsonl":
                assert file.read_bytes() == content, file
        # The Collector's certificate is for one Service.
        elsewhere = gate.run("--namespace", "elsewhere", "apply", code=1).stderr
        assert "collector.crt is not for otel-gateway-collector.elsewhere.svc" in elsewhere, elsewhere
    finally:
        for file, content in kept.items():
            file.write_bytes(content)
        gate.apply()
    wait_until(lambda: gate.verify()["ok"], "verify passes")
