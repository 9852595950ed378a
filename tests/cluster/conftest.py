"""A gate in a real cluster, deployed by the command as a user does it, with a backend on this machine behind its Collector."""

import functools
import http.server
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deployed import MACHINE, PROVIDER, Deployed, Kubectl
from on_nodes import OnNodes
from sink import Sink

MODULE = "/otlp-gate.wasm"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Nothing here means anything without a cluster: that there is none is a failure, not a skipped test."""
    assert os.environ.get("KUBECONFIG"), "these tests need a cluster: cargo xtask e2e"
    # Those in classes take longest.
    items.sort(key=lambda item: item.cls is None)


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    return Kubectl()


@pytest.fixture(scope="session")
def backend() -> Iterator[Sink]:
    """Where the Collectors export to."""
    sink = Sink(host=MACHINE).start()
    yield sink
    sink.stop()


@pytest.fixture(scope="session")
def module_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A web server that has the filter's module, for those who do not take it from a ConfigMap."""
    folder = tmp_path_factory.mktemp("module")
    place = Deployed(folder, "unused")
    place.run("wasm", "export", str(folder / MODULE.strip("/")))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer((MACHINE, 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{MACHINE}:{server.server_port}{MODULE}"
    server.shutdown()


@pytest.fixture(scope="session")
def deploy(
    tmp_path_factory: pytest.TempPathFactory, kubectl: Kubectl, backend: Sink, module_url: str
) -> Iterator[Callable[..., Deployed]]:
    """Makes folders with a config and certificates for a gate in a namespace of its own; applies nothing."""
    made: list[Deployed] = []

    def deploy(namespace: str) -> Deployed:
        folder = tmp_path_factory.mktemp(namespace)
        url = None if PROVIDER == "istio" else module_url
        place = Deployed(folder, namespace)
        place.configure(f"{MACHINE}:{backend.grpc_port}", url)
        place.run("certs", "init", "--local")
        made.append(place)
        return place

    yield deploy
    # Also where the cluster goes as a whole: modules go with this process, and Envoy Gateway, if it is restarted, asks for those
    # of its gateways one after the other, each for seconds, before it does anything for another one.
    for place in made:
        place.run("delete", "--yes")
        kubectl("delete", "namespace", place.namespace, "--ignore-not-found", "--wait=false")


@pytest.fixture(scope="session")
def gate(deploy: Callable[..., Deployed], worker_id: str) -> Deployed:
    """A gate that is up, and that the tests of one process share."""
    place = deploy(f"gate-{worker_id}")
    place.apply()
    return place


@pytest.fixture(scope="module")
def cert_manager(kubectl: Kubectl) -> Iterator[None]:
    """The kinds of cert-manager, without its controllers; as they are where the cluster has them, since all of a kind goes with it."""
    crds = os.environ["CERT_MANAGER_CRDS"]
    if kubectl("get", "crds", "certificates.cert-manager.io", "--ignore-not-found", "-o", "name"):
        yield
        return
    kubectl("apply", "--server-side", "-f", crds)
    kubectl("wait", "--for=condition=Established", "-f", crds, "--timeout=30s")
    yield
    kubectl("delete", "-f", crds)


@pytest.fixture(scope="session")
def nodes(kubectl: Kubectl) -> list[str]:
    """The names of two nodes."""
    names = [node["metadata"]["name"] for node in kubectl.json("get", "nodes")["items"]]
    assert len(names) >= 2, "these tests need two nodes: cargo xtask e2e --nodes 2"
    return names[:2]


@pytest.fixture(scope="module")
def on_nodes(deploy: Callable[..., Deployed], kubectl: Kubectl) -> Iterator[Callable[[str], OnNodes]]:
    made: list[OnNodes] = []

    def on_nodes(namespace: str) -> OnNodes:
        made.append(OnNodes(deploy(namespace), kubectl))
        return made[-1]

    yield on_nodes
    for one in made:
        one.stop()
