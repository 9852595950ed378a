"""Profiles may spell keys and values as indexes into a table of strings that comes after them."""

from collections.abc import Callable

import pytest

from client import Identity, frame
from sink import GRPC_PATHS, HTTP_PATHS, Sink
from wire import attribute, field, request, resource, string, uint

STAMP = {"tenant.id": "acme", "otlp_gate.client": "acme-edge"}
SCOPE = field(2, field(2, field(2, uint(1, 0))))


def dictionary(*strings: str) -> bytes:
    """A ProfilesDictionary as a field of the request, with these strings (string_table, 5)."""
    return field(2, b"".join(field(5, text.encode()) for text in strings))


def by_index(key: int, value: bytes) -> bytes:
    """A KeyValue whose key is an index (key_strindex, 3)."""
    return field(1, uint(3, key) + field(2, value))


def test_profiles_are_stamped_like_everything_else(connect: Callable, acme: Identity, sink: Sink) -> None:
    body = request(resource(attribute("service.name", "s"), attribute("tenant.id", "forged")), SCOPE) + dictionary("")
    connection = connect(acme)
    assert connection.grpc(GRPC_PATHS["profiles"], frame(body)).grpc_status == 0
    assert connection.http(HTTP_PATHS["profiles"], body).status == 200
    for _ in range(2):
        received = sink.take()
        assert received.resources() == [{"service.name": "s"} | STAMP]
        # One dictionary, with the keys behind what was there: two would be read in two ways.
        assert SCOPE in received.body and received.body.endswith(dictionary("", *sorted(STAMP)))


def test_a_table_that_would_name_attributes_without_an_index_is_refused(
    connect: Callable, acme: Identity, sink: Sink
) -> None:
    # The Collector takes index 0, which is no index, for one: all plain keys would become the table's first string.
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
        # To some decoders two dictionaries are one whose tables follow each other, to others the last one is all.
        "in two parts": dictionary("") + entry + dictionary("tenant.id"),
    }[where]

    answer = connect(acme).grpc(GRPC_PATHS["profiles"], frame(body))

    # Resolved and removed, or refused: never passed on.
    assert answer.grpc_status in (0, 3), answer
    for received in sink.rest():
        strings = list(received.decode().dictionary.string_table)
        for entry in received.decode().resource_profiles:
            keys = [attribute.key or strings[attribute.key_strindex] for attribute in entry.resource.attributes]
            assert keys.count("tenant.id") == 1
            assert b"forged" not in received.body
