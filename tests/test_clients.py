"""Which client a certificate is, and which attributes it gets."""

from collections.abc import Callable

import pytest

from support.client import frame
from support.config import config, rule
from support.gate import Certificates, Gate
from support.protobuf import attribute, traces
from support.sink import GRPC_PATHS, HTTP_PATHS, Sink

CLIENTS = {
    "by its URI": (
        ("--spiffe", "spiffe://acme.example/edge/7"),
        {"tenant.id": "acme", "otlp_gate.client": "acme-edge"},
    ),
    "by captures of its DNS name": (
        ("--dns", "berlin.globex.partners.example"),
        {"tenant.id": "globex", "site.id": "berlin", "otlp_gate.client": "partner.globex.berlin"},
    ),
    "by its subject": (
        ("--org", "Acme, Inc.", "--cn", "legacy"),
        {"tenant.id": "old", "otlp_gate.client": "legacy"},
    ),
}


@pytest.mark.parametrize("how", CLIENTS)
def test_a_client_gets_the_attributes_of_its_rule(
    connect: Callable, certificates: Certificates, sink: Sink, how: str
) -> None:
    args, attributes = CLIENTS[how]
    identity = certificates.client(how.replace(" ", "-"), *args)
    connection = connect(identity)
    forged = tuple(attribute(key, "forged") for key in ("tenant.id", "site.id", "otlp_gate.client"))
    message = traces("a", attributes=forged)

    assert connection.grpc(GRPC_PATHS["traces"], frame(message)).grpc_status == 0
    assert connection.http(HTTP_PATHS["traces"], message).status == 200

    for _ in range(2):
        received = sink.take()
        # `site.id` is an owned key for all clients: it is removed also where this client's rule does not set it.
        assert received.resources() == [{"service.name": "test"} | attributes]
        assert received.headers["x-scope-orgid"] == attributes["tenant.id"]


@pytest.mark.parametrize(
    "name", ["berlin.globex.partners.example.com", "x.berlin.globex.partners.example", "globex.partners.example"]
)
def test_a_name_that_only_resembles_a_clients_matches_no_rule(
    connect: Callable, certificates: Certificates, sink: Sink, name: str
) -> None:
    connection = connect(certificates.client(f"similar-{name}", "--dns", name))
    assert connection.grpc(GRPC_PATHS["traces"], frame(traces("a"))).grpc_status == 7
    assert sink.rest() == []


UNSAFE = [
    "a;.;client=.=acme-edge",
    "a\r\nx-scope-orgid: acme",
    'a"b\\',
    "{tenant.id}",
    "a b",
    "a,O=b",
    "\u00e4",
    "a" * 64,
]


def test_a_capture_with_other_characters_than_those_of_plain_names_matches_no_rule(
    start: Callable[..., Gate], connect: Callable, certificates: Certificates, sink: Sink
) -> None:
    by_name = rule("{word}", {"subject": {"O": "words", "CN": "{word}"}}, tenant="{word}")
    gate = start(config(by_name, headers={"x-scope-orgid": "{word}"})).ready()
    for number, word in enumerate([*UNSAFE, "B_c-9"]):
        identity = certificates.client(f"capture-{number}", "--org", "words", "--cn", word)
        status = connect(identity, gate.grpc).grpc(GRPC_PATHS["traces"], frame(traces("a"))).grpc_status
        assert status == (7 if word in UNSAFE else 0), word
    (received,) = sink.rest()
    assert (received.resources()[0]["tenant.id"], received.headers["x-scope-orgid"]) == ("B_c-9", "B_c-9")
    # No metric has a label with such a value.
    labels = {label for _, labels in gate.counters() for label in labels}
    assert labels <= {("client", "other"), ("signal", "traces"), ("result", "unknown_client"), ("result", "accepted")}
