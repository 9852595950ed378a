"""Owned attributes that a client forges, in every encoding that a backend would read, are removed; all else is kept."""

import gzip
import random
import re
from collections.abc import Callable

import pytest

from support.client import Identity, frame
from support.protobuf import ITEMS, attribute, field, request, resource, scope, span, string, uint, varint
from support.sink import GRPC_PATHS, HTTP_PATHS, REQUESTS, Sink

OWNED = {"tenant.id": "acme", "otlp_gate.client": "acme-edge"}
FORGED = attribute("tenant.id", "forged")
NAME = attribute("service.name", "s")
# Unknown fields in every wire type.
UNKNOWN = field(1999, b"kept") + uint(1998, 7) + varint(1997 << 3 | 5) + b"\1\2\3\4" + varint(1996 << 3 | 1) + b"\1" * 8


def inside(*path: str) -> bytes:
    """An AnyValue: maps in maps with these keys, and a string in the innermost."""
    inner = inside(*path[1:]) if path[1:] else string("forged")
    return field(6, field(1, field(1, path[0].encode()) + field(2, inner)))


def nested(key: str, *path: str) -> bytes:
    """An attribute with a value of maps in maps."""
    return field(1, field(1, key.encode()) + field(2, inside(*path)))


SPELLINGS: dict[str, Callable[[bytes, bytes], bytes]] = {
    "plainly": lambda a, _: request(resource(NAME, FORGED), a),
    "twice": lambda a, _: request(resource(FORGED, NAME, FORGED), a),
    "after the scopes": lambda a, b: request(a, b, resource(NAME, FORGED)),
    "in non-minimal varints": lambda a, _: request(
        resource(attribute("service.name", "s", width=3), attribute("tenant.id", "forged", width=5), width=4),
        a,
        width=5,
    ),
    "value before key": lambda a, _: request(
        resource(NAME, field(1, field(2, string("forged")) + field(1, b"tenant.id"))), a
    ),
    "in other spellings": lambda a, _: request(
        resource(NAME, *(attribute(key, "forged") for key in ("tenant_id", "TENANT-ID", "tenant.id ", "Tenant/Id"))), a
    ),
    "in a map": lambda a, _: request(resource(NAME, nested("tenant", "id")), a),
    "in a map in a map": lambda a, _: request(resource(NAME, nested("OTLP", "gate", "client")), a),
    "in a map in a list": lambda a, _: request(
        resource(NAME, field(1, field(1, b"tenant") + field(2, field(5, field(1, inside("id")))))), a
    ),
    "as a number": lambda a, _: request(resource(NAME, field(1, field(1, b"tenant.id") + field(2, uint(3, 42)))), a),
    "without a value": lambda a, _: request(resource(NAME, field(1, field(1, b"tenant.id"))), a),
    "among unknown fields": lambda a, _: request(
        resource(UNKNOWN, NAME, UNKNOWN, field(1, UNKNOWN + field(1, b"tenant.id") + field(2, string("x")) + UNKNOWN)),
        UNKNOWN,
        a,
    ),
    "in the second of two entries": lambda a, b: request(resource(NAME), a) + request(resource(NAME, FORGED), b),
}


@pytest.mark.parametrize("signal", ITEMS)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_forged_attributes_are_removed(
    connect: Callable, acme: Identity, sink: Sink, spelling: str, signal: str
) -> None:
    item = ITEMS[signal]
    message = SPELLINGS[spelling](scope(item("a")), scope(item("b")))
    assert re.search(b"tenant|otlp", message, re.IGNORECASE), "the message has no forged attribute"

    answer = connect(acme).grpc(GRPC_PATHS[signal], frame(message))

    assert answer.grpc_status == 0, answer
    received = sink.take()
    assert received.names() == [name for name in ("a", "b") if item(name) in message]
    for attributes in received.resources():
        assert attributes == {"service.name": "s"} | OWNED


# Decoders read these differently: the first, the last or all of the fields that occur twice.
TWICE: dict[str, Callable[[bytes], bytes]] = {
    "a second Resource": lambda a: request(resource(NAME), a, resource(FORGED)),
    "a first Resource that is empty": lambda a: request(resource(), resource(NAME), a),
    "a second key": lambda a: request(
        resource(NAME, field(1, field(1, b"tenant.id") + field(2, string("forged")) + field(1, b"x"))), a
    ),
    "a second value": lambda a: request(
        resource(field(1, field(1, b"tenant") + field(2, inside("id")) + field(2, string("x")))), a
    ),
    "a value of two kinds": lambda a: request(
        resource(field(1, field(1, b"tenant") + field(2, inside("id") + string("x")))), a
    ),
    "a second key in a map": lambda a: request(
        resource(field(1, field(1, b"tenant") + field(2, field(6, field(1, field(1, b"id") + field(1, b"x")))))), a
    ),
    "a key with a NUL": lambda a: request(resource(attribute("tenant.id\0x", "forged")), a),
}


@pytest.mark.parametrize("signal", ITEMS)
@pytest.mark.parametrize("what", TWICE)
def test_a_message_that_decoders_read_differently_is_rejected(
    connect: Callable, acme: Identity, what: str, signal: str
) -> None:
    message = TWICE[what](scope(ITEMS[signal]("a")))
    assert connect(acme).grpc(GRPC_PATHS[signal], frame(message)).grpc_status == 3
    assert connect(acme).http(HTTP_PATHS[signal], message).status == 400


def test_an_entry_without_a_resource_gets_one(connect: Callable, acme: Identity, sink: Sink) -> None:
    for message in (request(scope(span("a"))), request(resource(), scope(span("a"))), request()):
        assert connect(acme).grpc(GRPC_PATHS["traces"], frame(message)).grpc_status == 0
        assert sink.take().resources() == [OWNED]


def test_an_empty_request_is_valid(connect: Callable, acme: Identity, sink: Sink) -> None:
    assert connect(acme).grpc(GRPC_PATHS["traces"], frame(b"")).grpc_status == 0
    assert sink.take().body == b""
    assert connect(acme).http(HTTP_PATHS["traces"], b"").status == 200
    assert sink.take().body == b""


def test_all_else_is_forwarded_byte_for_byte(connect: Callable, acme: Identity, sink: Sink) -> None:
    # Attributes of spans belong to the client, also those with owned keys.
    own = field(9, field(1, b"tenant.id") + field(2, string("mine")))
    body = scope(span("a", own, UNKNOWN), UNKNOWN, field(3, b"https://schema")) + UNKNOWN + scope(span("b"))
    # Keys that only resemble owned ones.
    alike = [nested("tenant", "identity"), nested("x", "tenant.id")]
    alike += [attribute(key, "mine") for key in ("tenant.identity", "tenantid", "tenant", "tenant.id.x", "")]
    message = request(resource(*alike, uint(2, 3), UNKNOWN), body, width=3) + UNKNOWN

    assert connect(acme).grpc(GRPC_PATHS["traces"], frame(message)).grpc_status == 0

    received = sink.take()
    assert body in received.body
    assert received.body.endswith(UNKNOWN)
    assert b"".join(alike) in received.body
    assert received.decode().resource_spans[0].resource.dropped_attributes_count == 3
    assert without_owned(received.body) == without_owned(message)


def test_random_messages_differ_only_in_owned_attributes(connect: Callable, acme: Identity, sink: Sink) -> None:
    connection = connect(acme)
    for seed in range(200):
        message = random_message(random.Random(seed))
        body, headers = message, {}
        if seed % 2:
            body, headers = gzip.compress(message), {"grpc-encoding": "gzip"}
        answer = connection.grpc(GRPC_PATHS["traces"], frame(body, compressed=bool(headers)), headers)
        assert answer.grpc_status == 0, (seed, answer)
        received = sink.take()
        for entry in received.decode().resource_spans:
            owned = sorted((a.key, a.value.string_value) for a in entry.resource.attributes if a.key in OWNED)
            assert owned == sorted(OWNED.items()), seed
        assert without_owned(received.body) == without_owned(message), seed


def without_owned(message: bytes) -> bytes:
    """The message without owned attributes, decoded and encoded by protobuf's own implementation. It keeps unknown
    fields."""
    decoded = REQUESTS["traces"].FromString(message)
    for entry in decoded.resource_spans:
        kept = [attribute for attribute in entry.resource.attributes if attribute.key not in OWNED]
        del entry.resource.attributes[:]
        entry.resource.attributes.extend(kept)
        # An empty Resource is the same as none.
        entry.resource.SetInParent()
    return decoded.SerializeToString(deterministic=True)


def random_message(dice: random.Random) -> bytes:
    def some(parts: list[Callable[[], bytes]], most: int) -> bytes:
        return b"".join(dice.choice(parts)() for _ in range(dice.randint(0, most)))

    def attribute() -> bytes:
        key = field(
            1, dice.choice([b"tenant.id", b"otlp_gate.client", b"service.name", b"x"]), width=dice.randint(1, 4)
        )
        value = field(
            2, dice.choice([string("v"), uint(3, 5), field(6, field(1, field(1, b"k") + field(2, string("v"))))])
        )
        parts = [key, value, *dice.choice([[], [UNKNOWN]])]
        dice.shuffle(parts)
        return field(1, b"".join(parts), width=dice.randint(1, 3))

    def entry() -> bytes:
        of_resource = some([attribute, lambda: uint(2, 1), lambda: UNKNOWN], 5)
        parts = [
            lambda: scope(span("a"), span("b")),
            lambda: UNKNOWN,
            lambda: field(3, b"schema"),
        ]
        resource = [b"", field(1, of_resource, width=dice.randint(1, 3))][dice.randint(0, 1)]
        return field(1, some(parts, 2) + resource + some(parts, 2), width=dice.randint(1, 3))

    return some([entry, lambda: UNKNOWN], 4)
