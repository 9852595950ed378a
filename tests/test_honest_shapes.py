"""Messages of well-behaved clients during an incident are accepted: batches that compress well, nest deeply or repeat
one record."""

import gzip
import json
import zlib
from collections.abc import Callable

import pytest
import zstandard

from support.client import Http2, Identity, frame
from support.protobuf import attribute, field, log_record, request, resource, scope, span, string
from support.sink import GRPC_PATHS, Sink

STACK = "java.lang.IllegalStateException: pool is empty\n" + "\tat com.example.shop.Cart.take(Cart.java:42)\n" * 90
COMPRESS = {"gzip": gzip.compress, "zstd": zstandard.compress, "deflate": zlib.compress}


def logs(count: int, text: str) -> bytes:
    """A batch of equal records."""
    record = field(2, field(5, string(text)))
    return request(resource(attribute("service.name", "shop")), field(2, record * count))


@pytest.mark.parametrize("encoding", COMPRESS)
@pytest.mark.parametrize(
    ("count", "text"),
    [(512, STACK), (8192, "connection refused"), (8192, STACK[:1000])],
    ids=["512 x 4 KiB", "8192", "8192 x 1 KiB"],
)
def test_a_batch_that_compresses_hundreds_of_times_arrives(
    connect: Callable[..., Http2], gate, acme: Identity, sink: Sink, encoding: str, count: int, text: str
) -> None:
    body = logs(count, text)
    packed = COMPRESS[encoding](body)
    assert len(body) > 100 * len(packed)
    answer = connect(acme, gate.http).http("/v1/logs", packed, {"content-encoding": encoding})
    assert answer.status == 200, answer
    assert sink.take().body.count(text.encode()) == count
    if encoding != "deflate":
        answer = connect(acme).grpc(GRPC_PATHS["logs"], frame(packed, compressed=True), {"grpc-encoding": encoding})
        assert answer.grpc_status == 0, answer
        sink.take()


@pytest.mark.parametrize("encoding", [None, *COMPRESS])
def test_values_nested_as_deeply_as_sdks_nest_them_arrive(
    connect: Callable[..., Http2], gate, acme: Identity, sink: Sink, encoding: str | None
) -> None:
    value: dict = {"stringValue": "leaf"}
    for level in range(64):
        value = {"kvlistValue": {"values": [{"key": f"level.{level}", "value": value}]}}
    spans = [
        {
            "traceId": "0af7651916cd43dd8448eb211c80319c",
            "spanId": "b7ad6b7169203331",
            "name": "deep",
            "attributes": [{"key": "state", "value": value}],
        }
    ]
    message = {
        "resourceSpans": [
            {"resource": {"attributes": [{"key": "state", "value": value}]}, "scopeSpans": [{"spans": spans}]}
        ]
    }
    body = json.dumps(message).encode()
    headers = {"content-encoding": encoding} if encoding else {}
    answer = connect(acme, gate.http).json("/v1/traces", COMPRESS[encoding](body) if encoding else body, headers)
    assert answer.status == 200, answer
    assert json.loads(sink.take().body)["resourceSpans"][0]["scopeSpans"][0]["spans"] == spans


def test_as_many_resources_as_items_arrive(connect: Callable[..., Http2], gate, acme: Identity, sink: Sink) -> None:
    entry = request(
        resource(attribute("service.name", "shop"), attribute("host.name", "h")), scope(span("x"), log_record("y"))
    )
    answer = connect(acme, gate.http).http("/v1/logs", gzip.compress(entry * 8192), {"content-encoding": "gzip"})
    assert answer.status == 200, answer
    assert sink.take().body.count(b"tenant.id") == 8192
