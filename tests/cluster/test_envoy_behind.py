"""A gate in front of a backend with a sidecar, which counts the requests that reach it."""

import gzip
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.client import frame
from support.cluster.installation import MACHINE, Installation, Kubectl
from support.protobuf import field, request, resource, scope, span, traces
from support.sidecar import Sidecar
from support.sink import GRPC_PATHS, HTTP_PATHS, Sink

NAME = "sidecar"
REJECTED = 1000


@pytest.fixture
def sidecar(tmp_path: Path, backend: Sink, kubectl: Kubectl) -> Iterator[Sidecar]:
    """A sidecar on this machine, and a Service for it."""
    sidecar = Sidecar(tmp_path, backend)
    port = {"name": "grpc", "port": 4317, "appProtocol": "kubernetes.io/h2c"}
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": NAME, "namespace": "default", "labels": {"kubernetes.io/service-name": NAME}},
        "addressType": "IPv4",
        "ports": [{**port, "port": sidecar.port}],
        "endpoints": [{"addresses": [MACHINE], "conditions": {"ready": True}}],
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME, "namespace": "default"},
        "spec": {"ports": [{**port, "targetPort": sidecar.port}]},
    }
    kubectl.apply(service, slice_)
    yield sidecar
    kubectl("delete", f"service/{NAME}", f"endpointslice/{NAME}", "-n", "default")
    sidecar.stop()


def large(size: int) -> bytes:
    """A message of about this size, which compresses to a fiftieth: less than a decompression bomb does."""
    noise, piece = random.Random(size), 16 << 10
    fields = [field(1999, noise.randbytes(piece) * 50) for _ in range(size // (50 * piece))]
    return request(resource(), scope(span("large", *fields)))


def test_rejected_requests_do_not_reach_the_backend_and_large_ones_do(
    deploy: Callable[..., Installation], backend: Sink, sidecar: Sidecar
) -> None:
    installation = deploy("behind")
    service = {"name": NAME, "namespace": "default", "grpc": 4317, "http": 4317}
    installation.change(lambda config: config.update(backend={"service": service}))
    installation.apply()
    # A client with a quota is rejected at the headers after too many rejections.
    malformed, over = frame(b"\xff"), frame(traces(*(f"span {number}" for number in range(21))))
    for identity, body, status in [(installation.acme(), malformed, 3), (installation.globex(), over, 8)]:
        for number in range(REJECTED):
            if number % 100 == 0:
                connection = installation.connect(identity)
            assert connection.grpc(GRPC_PATHS["traces"], body).grpc_status == status
    with installation.connect(installation.acme(), 4318) as connection:
        assert connection.http(HTTP_PATHS["traces"], b"\xff").status == 400
    assert sidecar.count("downstream_rq_total") == 0

    backend.rest()
    compressed = {"grpc-encoding": "gzip"}
    with installation.connect(installation.acme()) as connection:
        for body, headers in (
            (frame(large(12 << 20)), {}),
            (frame(gzip.compress(large(56 << 20)), compressed=True), compressed),
        ):
            assert connection.grpc(GRPC_PATHS["traces"], body, headers).grpc_status == 0
            assert backend.take().names() == ["large"]
    assert (sidecar.count("downstream_rq_total"), sidecar.count("downstream_rq_rx_reset")) == (2, 0)
