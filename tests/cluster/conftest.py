"""Fixtures of the tests in a cluster: a gate that is deployed with the command, and a backend on this machine to which
its Collector exports."""

import functools
import http.server
import os
import threading
from collections.abc import Callable, Iterator

import pytest

from support.cluster.installation import MACHINE, PROVIDER, Installation, Kubectl
from support.cluster.node_gateways import NodeGateways
from support.sink import Sink

MODULE = "/otlp-gate.wasm"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fails without a cluster. Starts with the tests in classes, which take longest, and with the one that deletes
    namespaces which another needs."""
    assert os.environ.get("KUBECONFIG"), "these tests need a cluster: run `cargo xtask e2e`"
    items.sort(key=lambda item: (item.cls is None, item.path.name != "test_manifests.py"))


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    return Kubectl()


@pytest.fixture(scope="session")
def backend() -> Iterator[Sink]:
    """The backend to which the Collectors export."""
    sink = Sink(host=MACHINE).start()
    yield sink
    sink.stop()


@pytest.fixture(scope="session")
def module_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the filter's module on a web server of this machine, for Envoy Gateway."""
    folder = tmp_path_factory.mktemp("module")
    Installation(folder, "unused").run("wasm", "export", str(folder / MODULE.strip("/")))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer((MACHINE, 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{MACHINE}:{server.server_port}{MODULE}"
    server.shutdown()


@pytest.fixture(scope="session")
def deploy(
    tmp_path_factory: pytest.TempPathFactory, kubectl: Kubectl, backend: Sink, module_url: str
) -> Iterator[Callable[..., Installation]]:
    """Creates a folder with a config and certificates for a gate in a namespace of its own. Does not apply it."""
    made: list[Installation] = []

    def deploy(namespace: str) -> Installation:
        kubectl.wait_until_not_terminating(namespace)
        folder = tmp_path_factory.mktemp(namespace)
        url = None if PROVIDER == "istio" else module_url
        installation = Installation(folder, namespace)
        installation.configure(f"{MACHINE}:{backend.grpc_port}", url)
        installation.run("certs", "init", "--local")
        made.append(installation)
        return installation

    yield deploy
    # Gates are deleted even if the cluster is. This process serves their modules, and an Envoy Gateway that restarts
    # tries to download the module of each gateway for seconds before it updates any other gateway.
    for installation in made:
        installation.run("delete", "--yes")
        kubectl("delete", "namespace", installation.namespace, "--ignore-not-found", "--wait=false")


@pytest.fixture(scope="session")
def gate(deploy: Callable[..., Installation], worker_id: str) -> Installation:
    """A gate that is ready. The tests of one process share it."""
    installation = deploy(f"gate-{worker_id}")
    installation.apply()
    return installation


@pytest.fixture(scope="module")
def cert_manager(kubectl: Kubectl) -> Iterator[None]:
    """The CRDs of cert-manager, without its controllers."""
    yield from crds(kubectl, os.environ["CERT_MANAGER_CRDS"], "certificates.cert-manager.io")


@pytest.fixture(scope="module")
def prometheus_operator(kubectl: Kubectl) -> Iterator[None]:
    """The CRDs of the Prometheus operator, without the operator."""
    yield from crds(kubectl, os.environ["PROMETHEUS_OPERATOR_CRDS"], "podmonitors.monitoring.coreos.com")


def crds(kubectl: Kubectl, files: str, one: str) -> Iterator[None]:
    """Adds CRDs, and removes them at the end. A cluster that has them keeps its own: deleting a CRD deletes all objects
    of its kind."""
    if kubectl("get", "crds", one, "--ignore-not-found", "-o", "name"):
        yield
        return
    kubectl("apply", "--server-side", "-f", files)
    kubectl("wait", "--for=condition=Established", "-f", files, "--timeout=30s")
    yield
    kubectl("delete", "-f", files)


@pytest.fixture(scope="session")
def nodes(kubectl: Kubectl) -> list[str]:
    """The names of two nodes."""
    names = [node["metadata"]["name"] for node in kubectl.json("get", "nodes")["items"]]
    assert len(names) >= 2, "these tests need two nodes"
    return names[:2]


@pytest.fixture(scope="module")
def node_gateways(deploy: Callable[..., Installation], kubectl: Kubectl) -> Iterator[Callable[[str], NodeGateways]]:
    """Creates configs for node-local gateways, each in a namespace of its own."""
    made: list[NodeGateways] = []

    def node_gateways(namespace: str) -> NodeGateways:
        made.append(NodeGateways(deploy(namespace), kubectl))
        return made[-1]

    yield node_gateways
    for one in made:
        one.stop()
