"""Node-local gateways and Istio's mesh: a sidecar with mTLS if the backend is in the mesh, else no sidecar."""

import json
from collections.abc import Callable, Iterator

import grpc
import pytest

from support.client import secure_channel
from support.cluster.installation import MACHINE, PROVIDER, Installation, Kubectl, wait_until
from support.cluster.node_gateways import NAME, NodeGateways, arrival, outside, to
from support.cluster.pods import IMAGE, Sender
from support.protobuf import attribute, field, request, resource, scope, span, string, traces
from support.sink import GRPC_PATHS, Sink

pytestmark = pytest.mark.skipif(PROVIDER != "istio", reason="the cluster has no Istio")

PROXY = "istio-proxy"


@pytest.fixture(scope="module")
def meshed(kubectl: Kubectl, backend: Sink) -> Iterator[str]:
    """A backend in the mesh that accepts mTLS only. It forwards to the tests' backend, with the sender's identity (from
    its sidecar) in the attribute `peer`."""
    peer = {"key": "peer", "action": "upsert", "from_context": "metadata.x-forwarded-client-cert"}
    config = {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": ":4317", "include_metadata": True}}}},
        "processors": {"resource": {"attributes": [peer]}},
        "exporters": {
            "otlp_grpc": {
                "endpoint": f"{MACHINE}:{backend.grpc_port}",
                "tls": {"insecure": True},
                "sending_queue": {"enabled": False},
            }
        },
        "service": {
            "pipelines": {"traces": {"receivers": ["otlp"], "processors": ["resource"], "exporters": ["otlp_grpc"]}}
        },
    }
    labels = {"app": "backend"}
    metadata = {"name": "backend", "namespace": "meshed"}
    container = {"name": "backend", "image": IMAGE, "args": [f"--config=yaml:{json.dumps(config)}"]}
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "meshed", "labels": {"istio-injection": "enabled"}},
        },
        {
            "apiVersion": "security.istio.io/v1",
            "kind": "PeerAuthentication",
            "metadata": metadata,
            "spec": {"mtls": {"mode": "STRICT"}},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"name": "grpc", "port": 4317, "appProtocol": "grpc"}]},
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**metadata, "labels": labels},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
        },
    )
    kubectl("wait", "--for=condition=Ready", "pod/backend", "-n", "meshed", "--timeout=90s")
    yield "backend.meshed.svc:4317"
    kubectl("delete", "namespace", "meshed", "--wait=false")


@pytest.fixture(scope="module")
def mesh(node_gateways: Callable[[str], NodeGateways]) -> NodeGateways:
    return node_gateways("mesh")


def containers(pod: dict) -> list[str]:
    return [one["name"] for one in pod["spec"]["containers"] + pod["spec"].get("initContainers", [])]


def test_a_backend_outside_of_the_mesh_is_reached_without_a_sidecar(
    mesh: NodeGateways, nodes: list[str], backend: Sink
) -> None:
    mesh.configure(outside(backend))
    output = mesh.installation.run("apply").stderr
    assert "istiod in istio-system with a sidecar injector; the node-local gateway is not in the mesh" in output, output
    assert [containers(pod) for pod in mesh.pods().values()] == [["collector"]] * len(nodes)


def test_a_pod_with_a_sidecar_reaches_the_gateway_of_its_node(
    mesh: NodeGateways, kubectl: Kubectl, nodes: list[str], backend: Sink
) -> None:
    """The sidecar chooses the endpoint, by the Service's traffic policy."""
    labels = {"sidecar.istio.io/inject": "true"}
    annotations = {
        "proxy.istio.io/config": "holdApplicationUntilProxyStarts: true",
        # The test's own requests to the pod bypass its sidecar.
        "traffic.sidecar.istio.io/includeInboundPorts": "",
    }
    for node in nodes:
        sender = Sender.start(kubectl, "team-mesh", node, mesh.target, labels, annotations)
        assert PROXY in sender.containers()
        wait_until(lambda: sender.sent("warm"), "the pod can send")
        before = {it: mesh.accepted(it) for it in nodes}
        backend.rest()
        assert all(sender.sent(f"{node} {number}") for number in range(5))
        assert {it: mesh.accepted(it) - before[it] for it in nodes} == {it: 5 * (it == node) for it in nodes}
        assert arrival(backend, f"{node} 0")["tenant.id"] == "mesh"
        sender.stop()


def test_the_meshs_own_traces_of_exports_are_dropped(mesh: NodeGateways, nodes: list[str], backend: Sink) -> None:
    def tag(key: str, value: str) -> bytes:
        return field(9, field(1, key.encode()) + field(2, string(value)))

    def proxy_span(name: str, path: str) -> bytes:
        return span(name, tag("component", "proxy"), tag("http.url", f"http://otel:4317{path}"))

    sender = mesh.ready_sender("team-a", nodes[0])
    backend.rest()
    noise = (proxy_span("noise", GRPC_PATHS["traces"]), proxy_span("noise too", "/v1/traces"))
    spans = (*noise, proxy_span("kept", "/v1/orders"))
    with sender.channel() as channel:
        export = channel.unary_unary(GRPC_PATHS["traces"], request_serializer=None, response_deserializer=None)
        export(request(resource(attribute("service.name", "proxy")), scope(*spans)), timeout=10)
    arrival(backend, "kept")
    assert sender.sent("after it")
    seen = []
    while "after it" not in seen:
        seen += backend.take(20).names()
    assert not [name for name in seen if name.startswith("noise")]


def test_a_backend_in_the_mesh_is_reached_by_mtls(
    mesh: NodeGateways, meshed: str, kubectl: Kubectl, nodes: list[str], backend: Sink
) -> None:
    pod = kubectl.json("get", "pod", "backend", "-n", "meshed")
    assert PROXY in containers(pod)
    with grpc.insecure_channel(f"{pod['status']['podIP']}:4317") as channel:
        export = channel.unary_unary(GRPC_PATHS["traces"], request_serializer=None, response_deserializer=None)
        plain = export.future(traces("plain"), timeout=10).code()
    assert plain == grpc.StatusCode.UNAVAILABLE, "the backend must accept mTLS only"
    mesh.configure(to(meshed))
    output = mesh.installation.run("apply").stderr
    assert "the node-local gateway sends through a sidecar" in output, output
    assert all(PROXY in containers(pod) for pod in mesh.pods().values())
    sender = mesh.ready_sender("team-a", nodes[1])
    backend.rest()
    assert sender.sent("in the mesh", attributes=(attribute("tenant.id", "b"),))
    resource = arrival(backend, "in the mesh")
    assert resource["tenant.id"] == "a"
    assert f"URI=spiffe://cluster.local/ns/{mesh.namespace}/sa/{NAME}" in resource["peer"]


def test_the_gateway_sends_to_a_backend_in_the_mesh_by_mtls(
    gate: Installation, kubectl: Kubectl, meshed: str, backend: Sink
) -> None:
    before = gate.config
    service = {"name": "backend", "namespace": "meshed", "http": 4317, "tls": {"mesh": True}}
    gate.change(lambda config: config.update(backend={"service": service}))
    gate.apply()
    try:
        acme = gate.acme().credentials()

        def sent() -> bool:
            with secure_channel(f"{gate.address()}:4317", acme) as channel:
                export = channel.unary_unary(GRPC_PATHS["traces"], request_serializer=None, response_deserializer=None)
                return export.future(traces("by the gateway"), timeout=5).code() == grpc.StatusCode.OK

        backend.rest()
        wait_until(sent, "the gateway can send")
        resource = arrival(backend, "by the gateway")
        assert resource["tenant.id"] == "acme"
        assert f"URI=spiffe://cluster.local/ns/{gate.namespace}/sa/otel-gateway-istio" in resource["peer"]
    finally:
        gate.config = before
        gate.apply()


def test_with_mesh_off_a_backend_in_the_mesh_is_unreachable(
    mesh: NodeGateways, meshed: str, nodes: list[str], backend: Sink
) -> None:
    mesh.configure(to(meshed), mesh="off", acknowledge="delivered")
    mesh.installation.apply()
    assert not any(PROXY in containers(pod) for pod in mesh.pods().values())
    sender = mesh.sender("team-a", nodes[1])
    backend.rest()
    assert [sender.sent("plain") for _ in range(3)] == [False] * 3
    assert not [it for it in backend.rest() if "plain" in it.names()]


@pytest.mark.alone
def test_a_mesh_without_istiod_is_ignored_until_istiod_returns(
    mesh: NodeGateways, meshed: str, kubectl: Kubectl, nodes: list[str], backend: Sink
) -> None:
    istiod = ("deployment/istiod", "-n", "istio-system")
    sender = mesh.sender("team-a", nodes[1])
    kubectl("scale", *istiod, "--replicas=0")
    try:
        istiod_pods = lambda: kubectl("get", "pods", "-n", "istio-system", "-l", "app=istiod", "-o", "name")
        wait_until(lambda: not istiod_pods(), "istiod has ended")
        mesh.configure(outside(backend))
        output = mesh.installation.run("apply").stderr
        assert "mesh: no istiod runs" in output, output
        assert not any(PROXY in containers(pod) for pod in mesh.pods().values())
        assert not kubectl("get", "destinationrules", "-n", mesh.namespace, "-o", "name")
        backend.rest()
        wait_until(lambda: sender.sent("without a mesh"), "the pod can send")
        assert arrival(backend, "without a mesh")["tenant.id"] == "a"
    finally:
        kubectl("scale", *istiod, "--replicas=1")
        kubectl("rollout", "status", *istiod, "--timeout=100s")
    mesh.configure(to(meshed))
    output = mesh.installation.run("apply").stderr
    assert "the node-local gateway sends through a sidecar" in output, output
    wait_until(lambda: sender.sent("in the mesh again"), "the pod can send")
    assert "spiffe://" in arrival(backend, "in the mesh again")["peer"]
