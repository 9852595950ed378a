"""Writes trace requests of 10, 100, 1000 and 8192 spans, each as a gRPC message (plain, gzip and zstd) and as JSON.

Usage: payloads.py DIR
"""

import base64
import gzip
import json
import pathlib
import random
import struct
import sys

import zstandard
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

# Spans of a request, and the number of Resources that they are spread over.
SHAPES = {10: 1, 100: 1, 1000: 10, 8192: 50}


def attributes(message, values):
    for key, value in values.items():
        attribute = message.attributes.add(key=key)
        if isinstance(value, int):
            attribute.value.int_value = value
        else:
            attribute.value.string_value = value


def traces(spans, resources):
    rng = random.Random(spans)
    message = ExportTraceServiceRequest()
    for number in range(resources):
        container = message.resource_spans.add()
        attributes(
            container.resource,
            {
                "service.name": f"shop-{number}",
                "host.name": "edge-01",
                "telemetry.sdk.language": "go",
                "k8s.pod.name": "shop-7c9f",
            },
        )
        scope = container.scope_spans.add()
        scope.scope.name = "shop"
        for _ in range(spans // resources):
            span = scope.spans.add(
                trace_id=rng.randbytes(16),
                span_id=rng.randbytes(8),
                parent_span_id=rng.randbytes(8),
                name="GET /api/v1/items",
                kind=2,
                start_time_unix_nano=1795314654815535126,
                end_time_unix_nano=1795314654815535126 + rng.randrange(10**9),
            )
            attributes(
                span,
                {
                    "http.request.method": "GET",
                    "url.path": f"/api/v1/items/{rng.randrange(10**6)}",
                    "http.response.status_code": 200,
                    "server.address": "items.example.com",
                    "user_agent.original": "curl/8.5.0",
                    "client.address": "10.2.3.4",
                    "thread.id": rng.randrange(1, 64),
                },
            )
    return message


def as_json(message):
    """OTLP's JSON encoding: IDs in hexadecimal, enums as numbers (OTLP specification, "JSON Protobuf Encoding")."""
    found = json_format.MessageToDict(message, use_integers_for_enums=True)
    for span in (span for entry in found["resourceSpans"] for scope in entry["scopeSpans"] for span in scope["spans"]):
        for key in ("traceId", "spanId", "parentSpanId"):
            span[key] = base64.b64decode(span[key]).hex()
    return json.dumps(found, separators=(",", ":")).encode()


def request_of_spans(spans, count):
    """A request with one Resource and `spans` spans of `count` attributes each."""
    rng = random.Random(count)
    message = ExportTraceServiceRequest()
    container = message.resource_spans.add()
    attributes(container.resource, {"service.name": "shop"})
    scope = container.scope_spans.add()
    for _ in range(spans):
        span = scope.spans.add(
            trace_id=rng.randbytes(16),
            span_id=rng.randbytes(8),
            name="GET /api/v1/items",
            kind=2,
            start_time_unix_nano=1795314654815535126,
            end_time_unix_nano=1795314654815535126 + rng.randrange(10**9),
        )
        attributes(span, {f"app.attribute.{number:02}": f"{rng.randrange(10**12):012}" for number in range(count)})
    return message.SerializeToString(deterministic=True)


def framed(message, compressed):
    return struct.pack(">BI", compressed, len(message)) + message


def main(out):
    for spans, resources in SHAPES.items():
        request = traces(spans, resources)
        message = request.SerializeToString(deterministic=True)
        (out / f"{spans}.json").write_bytes(as_json(request))
        (out / f"{spans}.plain").write_bytes(framed(message, 0))
        (out / f"{spans}.gzip").write_bytes(framed(gzip.compress(message, 6, mtime=0), 1))
        (out / f"{spans}.zstd").write_bytes(framed(zstandard.compress(message), 1))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
