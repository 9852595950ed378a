"""OTLP/HTTP with JSON: forged attributes are removed in every spelling that a backend would read, messages that
backends could read differently are rejected, and answers are JSON."""

import gzip
import json
from collections.abc import Callable

import pytest

from support.client import Http2, Identity, frame, http1
from support.gate import Gate
from support.protobuf import traces
from support.sink import GRPC_PATHS, HTTP_PATHS, Sink

OWNED = {"tenant.id": "acme", "otlp_gate.client": "acme-edge"}
V1_TRACES = HTTP_PATHS["traces"]
NAME = {"key": "service.name", "value": {"stringValue": "s"}}
FORGED = {"key": "tenant.id", "value": {"stringValue": "forged"}}

SIGNALS = {
    "traces": lambda resource: {
        "resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [{"name": "a"}, {"name": "b"}]}]}]
    },
    "metrics": lambda resource: {
        "resource_metrics": [
            {
                "scope_metrics": [
                    {
                        "metrics": [
                            {"name": "a", "gauge": {"dataPoints": [{}]}},
                            {"name": "b", "sum": {"data_points": [{}]}},
                        ]
                    }
                ],
                "resource": resource,
            }
        ]
    },
    "logs": lambda resource: {
        "resourceLogs": [
            {
                "resource": resource,
                "scopeLogs": [{"log_records": [{"body": {"stringValue": "a"}}, {"body": {"stringValue": "b"}}]}],
            }
        ]
    },
}


@pytest.mark.parametrize("signal", SIGNALS)
def test_forged_attributes_are_removed(connect: Callable, acme: Identity, sink: Sink, signal: str) -> None:
    for resource in (
        {"attributes": [FORGED, NAME]},
        {"attributes": [NAME, FORGED, FORGED], "droppedAttributesCount": 1},
    ):
        message = json.dumps(SIGNALS[signal](resource))
        for spelled in (
            message,
            message.replace("tenant.id", r"ten\u0061nt\u002Eid"),
            message.replace('"key"', r'"\u006bey"'),
        ):
            for headers, body in (
                ({}, spelled.encode()),
                ({"content-encoding": "gzip"}, gzip.compress(spelled.encode())),
            ):
                answer = connect(acme).json(HTTP_PATHS[signal], body, headers)
                assert answer.status == 200, answer
                received = sink.take()
                assert received.headers["content-type"] == "application/json"
                assert received.names() == ["a", "b"]
                assert received.resources() == [{"service.name": "s"} | OWNED]


def test_an_entry_without_a_resource_gets_one(connect: Callable, acme: Identity, sink: Sink) -> None:
    for entry in ("{}", '{"resource": {}}', '{"resource": {"attributes": []}}', '{"resource": null}'):
        assert connect(acme).json(V1_TRACES, f'{{"resourceSpans": [{entry}]}}'.encode()).status == 200
        assert sink.take().resources() == [OWNED]


def test_all_else_is_forwarded_byte_for_byte(connect: Callable, acme: Identity, sink: Sink) -> None:
    before = '{ "not_otlp" : [1.50, -0e+1, "\\/\\ud83d"], "resourceSpans":[\n'
    before += '{"x":{"tenant.id":"mine"}, "resource":{"attributes":['
    after = '{"key":"tenant.identity"} ] , "entityRefs":[{"idKeys":["tenant.id"]}]}, '
    after += f'"scopeSpans":[{{"spans":[{{"attributes":[{json.dumps(FORGED)}]}}]}}]}}]}} '
    assert connect(acme).json(V1_TRACES, (before + after).encode()).status == 200
    body = sink.take().body.decode()
    assert body.startswith(before)
    assert body.endswith(after)
    written = json.loads(f"[{body[len(before) : -len(after)]}null]")
    assert {entry["key"]: entry["value"]["stringValue"] for entry in written[:-1]} == OWNED


FORGED_TEXT = json.dumps(FORGED)
TWO_KINDS = {"value": {"stringValue": "a", "kvlistValue": {}}}
INVALID = {
    "nothing": "",
    "no object": "[]",
    "cut": '{"resourceSpans": [',
    "bytes after the object": "{}{}",
    "a byte-order mark": "\ufeff{}",
    "a name twice": f'{{"resourceSpans": [{{"resource": {{}}, "resource": {{"attributes": [{FORGED_TEXT}]}}}}]}}',
    "a name in two spellings": '{"resourceSpans": [], "resource_spans": []}',
    "a name in another case": json.dumps({"resourceSpans": [{"Resource": {"attributes": [FORGED]}}]}),
    # The Collector's decoder reads an empty name as the end of the object.
    "an empty name": json.dumps({"resourceSpans": [{"resource": {"": {"resource": {"attributes": [FORGED]}}}}]}),
    "a value of two kinds": json.dumps({"resourceSpans": [{"resource": {"attributes": [TWO_KINDS]}}]}),
    "half a surrogate pair": r'{"resourceSpans": [{"resource": {"attributes": [{"key": "\ud800"}]}}]}',
    "nested deeply": f'{{"x": {"[" * 1000}{"]" * 1000}}}',
    "protobuf": traces("a").decode("latin1"),
}


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_message_is_rejected_in_json_and_not_forwarded(
    connect: Callable, acme: Identity, sink: Sink, case: str
) -> None:
    connection = connect(acme)
    answer = connection.json(V1_TRACES, INVALID[case].encode())
    assert answer.status == 400, answer
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.body)["code"] == 3
    assert "invalid OTLP request" in answer.rpc_status().message
    nothing_arrived(sink, connection)


def test_deeply_nested_values_and_invalid_utf8_in_values_are_accepted(
    connect: Callable, acme: Identity, sink: Sink
) -> None:
    value = {"intValue": "1"}
    for level in range(64):
        value = {"kvlistValue": {"values": [{"key": f"k{level}", "value": value}]}}
    span = {
        "name": "a",
        "attributes": [{"key": "deep", "value": value}, {"key": "text", "value": {"stringValue": "cut"}}],
    }
    text = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode().replace(b"cut", b"cut\xe2\x82")
    assert connect(acme).json(V1_TRACES, text).status == 200
    assert b"cut\xe2\x82" in sink.take().body
    key = text.replace(b"text", b"text\xe2").replace(b"scopeSpans", b"scopeSpans\xe2")
    assert connect(acme).json(V1_TRACES, key).status == 400


def test_every_rejection_is_in_json(connect: Callable, acme: Identity, stranger: Identity, sink: Sink) -> None:
    for identity, path, headers, status, code in (
        (stranger, V1_TRACES, {}, 403, 7),
        (acme, "/v1/nothing", {}, 404, 12),
        (acme, GRPC_PATHS["traces"], {}, 404, 12),
        (acme, V1_TRACES, {"content-encoding": "br"}, 415, 12),
        (acme, V1_TRACES, {"content-encoding": "gzip"}, 400, 3),
    ):
        answer = connect(identity).json(path, b"{}", headers)
        assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
        assert answer.rpc_status().code == code
    assert sink.rest() == []


def test_json_over_http_1(gate: Gate, acme: Identity, sink: Sink) -> None:
    body = json.dumps(SIGNALS["traces"]({"attributes": [FORGED]})).encode()
    head = f"POST {V1_TRACES} HTTP/1.1\nhost: localhost\ncontent-type: application/json\ncontent-length: {len(body)}\n"
    assert http1(gate.http, acme, head, body).status == 200
    assert sink.take().resources() == [OWNED]


def nothing_arrived(sink: Sink, connection: Http2) -> None:
    """Asserts that the backend gets a request that is sent now, and none before it."""
    assert connection.grpc(GRPC_PATHS["traces"], frame(traces("the last"))).grpc_status == 0
    sink.only("the last")
