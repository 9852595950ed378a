"""OTLP/HTTP with JSON: what a client forges is removed in every spelling that a receiver would read, and what two receivers
could read in two ways is refused; answers are JSON."""

import gzip
import json
from collections.abc import Callable

import pytest

from client import Http2, Identity, frame, http1
from gate import Gate
from sink import GRPC_PATHS, HTTP_PATHS, Sink
from wire import traces

STAMP = {"tenant.id": "acme", "otlp_gate.client": "acme-edge"}
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
def test_what_a_client_forges_is_removed(connect: Callable, acme: Identity, sink: Sink, signal: str) -> None:
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
                assert received.resources() == [{"service.name": "s"} | STAMP]


def test_an_entry_without_a_resource_gets_one(connect: Callable, acme: Identity, sink: Sink) -> None:
    for entry in ("{}", '{"resource": {}}', '{"resource": {"attributes": []}}', '{"resource": null}'):
        assert connect(acme).json(V1_TRACES, f'{{"resourceSpans": [{entry}]}}'.encode()).status == 200
        assert sink.take().resources() == [STAMP]


def test_what_is_not_the_gates_passes_byte_for_byte(connect: Callable, acme: Identity, sink: Sink) -> None:
    before = '{ "not_otlp" : [1.50, -0e+1, "\\/\\ud83d"], "resourceSpans":[\n{"x":{"tenant.id":"mine"}, "resource":{"attributes":['
    after = '{"key":"tenant.identity"} ] , "entityRefs":[{"idKeys":["tenant.id"]}]}, "scopeSpans":[{"spans":[{"attributes":[%s]}]}]}]} '
    after %= json.dumps(FORGED)
    assert connect(acme).json(V1_TRACES, (before + after).encode()).status == 200
    body = sink.take().body.decode()
    assert body.startswith(before)
    assert body.endswith(after)
    stamped = json.loads(f"[{body[len(before) : -len(after)]}null]")
    assert {entry["key"]: entry["value"]["stringValue"] for entry in stamped[:-1]} == STAMP


REFUSED = {
    "nothing": "",
    "no object": "[]",
    "cut": '{"resourceSpans": [',
    "rubbish behind it": "{}{}",
    "a byte-order mark": "\ufeff{}",
    "a name twice": '{"resourceSpans": [{"resource": {}, "resource": {"attributes": [%s]}}]}' % json.dumps(FORGED),
    "a name in two spellings": '{"resourceSpans": [], "resource_spans": []}',
    "a name in another case": '{"resourceSpans": [{"Resource": {"attributes": [%s]}}]}' % json.dumps(FORGED),
    # The Collector's decoder takes an empty name for the end of its object.
    "an empty name": '{"resourceSpans": [{"resource": {"": {"resource": {"attributes": [%s]}}}}]}' % json.dumps(FORGED),
    "a value of two kinds": '{"resourceSpans": [{"resource": {"attributes": [{"value": {"stringValue": "a", "kvlistValue": {}}}]}}]}',
    "half a surrogate pair": r'{"resourceSpans": [{"resource": {"attributes": [{"key": "\ud800"}]}}]}',
    "nested deeply": '{"x": %s}' % ("[" * 1000 + "]" * 1000),
    "protobuf": traces("a").decode("latin1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_valid_is_refused_in_json_and_goes_nowhere(
    connect: Callable, acme: Identity, sink: Sink, case: str
) -> None:
    connection = connect(acme)
    answer = connection.json(V1_TRACES, REFUSED[case].encode())
    assert answer.status == 400, answer
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.body)["code"] == 3
    assert "not a valid OTLP request" in answer.rpc_status().message
    nothing_arrived(sink, connection)


def test_what_sdks_nest_and_what_is_not_utf8_in_a_value_passes(connect: Callable, acme: Identity, sink: Sink) -> None:
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


def test_every_refusal_is_in_json(connect: Callable, acme: Identity, stranger: Identity, sink: Sink) -> None:
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


def test_http_1_carries_json_too(gate: Gate, acme: Identity, sink: Sink) -> None:
    body = json.dumps(SIGNALS["traces"]({"attributes": [FORGED]})).encode()
    head = f"POST {V1_TRACES} HTTP/1.1\nhost: localhost\ncontent-type: application/json\ncontent-length: {len(body)}\n"
    assert http1(gate.http, acme, head, body).status == 200
    assert sink.take().resources() == [STAMP]


def nothing_arrived(sink: Sink, connection: Http2) -> None:
    """A request that is let through comes after all that were sent before it, had they been."""
    assert connection.grpc(GRPC_PATHS["traces"], frame(traces("the last"))).grpc_status == 0
    assert [request.names() for request in (sink.take(), *sink.rest())] == [["the last"]]
