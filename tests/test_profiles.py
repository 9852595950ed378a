"""Profiles may refer to keys and values by index into a table of strings that comes later in the message."""

from collections.abc import Callable

import pytest

from support.client import Identity, frame
from support.protobuf import attribute, field, request, resource, string, uint
from support.sink import GRPC_PATHS, HTTP_PATHS, Sink

OWNED = {"tenant.id": "acme", "otlp_gate.client": "acme-edge"}
SCOPE = field(2, field(2, field(2, uint(1, 0))))


def dictionary(*strings: str) -> bytes:
    """A ProfilesDictionary as a field of the request, with these strings (string_table, 5)."""
    return field(2, b"".join(field(5, text.encode()) for text in strings))


def by_index(key: int, value: bytes) -> bytes:
    """A KeyValue whose key is an index (key_strindex, 3)."""
    return field(1, uint(3, key) + field(2, value))


def test_profiles_get_the_clients_attributes(connect: Callable, acme: Identity, sink: Sink) -> None:
    body = request(resource(attribute("service.name", "s"), attribute("tenant.id", "forged")), SCOPE) + dictionary("")
    connection = connect(acme)
    assert connection.grpc(GRPC_PATHS["profiles"], frame(body)).grpc_status == 0
    assert connection.http(HTTP_PATHS["profiles"], body).status == 200
    for _ in range(2):
        received = sink.take()
        assert received.resources() == [{"service.name": "s"} | OWNED]
        # The keys are added to the dictionary that is there: decoders read two dictionaries differently.
        assert SCOPE in received.body and received.body.endswith(dictionary("", *sorted(OWNED)))


def test_a_table_whose_first_string_is_not_empty_is_rejected(connect: Callable, acme: Identity, sink: Sink) -> None:
    # The Collector reads index 0 (no index) as an index: all plain keys would become the table's first string.
    entry = request(resource(attribute("harmless", "forged")), SCOPE)
    for body in (dictionary("tenant.id") + entry, entry + dictionary("tenant.id", "")):
        answer = connect(acme).grpc(GRPC_PATHS["profiles"], frame(body))
        assert answer.grpc_status == 3, answer
        assert "string table" in answer.grpc_message
    assert sink.rest() == []


@pytest.mark.parametrize("where", ["before", "after", "in two parts"])
def test_a_key_by_index_forges_nothing(connect: Callable, acme: Identity, sink: Sink, where: str) -> None:
    entry = request(resource(attribute("service.name", "s"), by_index(1, string("forged"))), SCOPE)
    body = {
        "before": dictionary("", "tenant.id") + entry,
        "after": entry + dictionary("", "tenant.id"),
        # Some decoders merge two dictionaries, others read the last one only.
        "in two parts": dictionary("") + entry + dictionary("tenant.id"),
    }[where]

    answer = connect(acme).grpc(GRPC_PATHS["profiles"], frame(body))

    # The attribute is removed or the message is rejected.
    assert answer.grpc_status in (0, 3), answer
    for received in sink.rest():
        strings = list(received.decode().dictionary.string_table)
        for entry in received.decode().resource_profiles:
            keys = [attribute.key or strings[attribute.key_strindex] for attribute in entry.resource.attributes]
            assert keys.count("tenant.id") == 1
            assert b"forged" not in received.body
