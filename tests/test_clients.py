"""Who a certificate is, and what follows from it."""

from collections.abc import Callable

import pytest

from client import frame
from gate import Certificates, Gate
from sink import GRPC_PATHS, HTTP_PATHS, Sink
from wire import attribute, traces

CLIENTS = {
    "by its URI": (
        ("--spiffe", "spiffe://acme.example/edge/7"),
        {"tenant.id": "acme", "otlp_gate.client": "acme-edge"},
    ),
    "by what its DNS name captures": (
        ("--dns", "berlin.globex.partners.example"),
        {"tenant.id": "globex", "site.id": "berlin", "otlp_gate.client": "partner.globex.berlin"},
    ),
    "by its subject": (
        ("--org", "Acme, Inc.", "--cn", "legacy"),
        {"tenant.id": "old", "otlp_gate.client": "legacy"},
    ),
}


@pytest.mark.parametrize("how", CLIENTS)
def test_a_client_is_stamped_with_what_its_certificate_says(
    connect: Callable, certificates: Certificates, sink: Sink, how: str
) -> None:
    args, stamp = CLIENTS[how]
    identity = certificates.client(how.replace(" ", "-"), *args)
    connection = connect(identity)
    forged = tuple(attribute(key, "forged") for key in ("tenant.id", "site.id", "otlp_gate.client"))
    message = traces("a", attributes=forged)

    assert connection.grpc(GRPC_PATHS["traces"], frame(message)).grpc_status == 0
    assert connection.http(HTTP_PATHS["traces"], message).status == 200

    for _ in range(2):
        received = sink.take()
        # `site.id` is owned for everyone, so it is removed also where this client has none.
        assert received.resources() == [{"service.name": "by hand"} | stamp]
        assert received.headers["x-scope-orgid"] == stamp["tenant.id"]


@pytest.mark.parametrize(
    "name", ["berlin.globex.partners.example.com", "x.berlin.globex.partners.example", "globex.partners.example"]
)
def test_a_name_that_only_looks_alike_is_no_client(
    connect: Callable, certificates: Certificates, sink: Sink, name: str
) -> None:
    connection = connect(certificates.client(f"alike-{name}", "--dns", name))
    assert connection.grpc(GRPC_PATHS["traces"], frame(traces("a"))).grpc_status == 7
    assert sink.rest() == []


ODD = [
    "a;.;client=.=acme-edge",
    "a\r\nx-scope-orgid: acme",
    'a"b\\',
    "{tenant.id}",
    "a b",
    "a,O=b",
    "\u00e4",
    "a" * 64,
]


def test_what_a_word_captures_is_a_plain_name_or_the_certificate_is_nobodys(
    start: Callable[..., Gate], connect: Callable, certificates: Certificates, sink: Sink
) -> None:
    gate = start("""\
apiVersion: otlp-gate/v1
clients: [{name: "{word}", match: {subject: {O: words, CN: "{word}"}}, attributes: {tenant.id: "{word}"}}]
headers: {x-scope-orgid: "{word}"}
""").ready()
    for number, word in enumerate([*ODD, "B_c-9"]):
        identity = certificates.client(f"odd-{number}", "--org", "words", "--cn", word)
        status = connect(identity, gate.grpc).grpc(GRPC_PATHS["traces"], frame(traces("a"))).grpc_status
        assert status == (7 if word in ODD else 0), word
    (received,) = sink.rest()
    assert (received.resources()[0]["tenant.id"], received.headers["x-scope-orgid"]) == ("B_c-9", "B_c-9")
    # Nothing of them is in the name of a metric.
    labels = {label for _, labels in gate.counters() for label in labels}
    assert labels <= {("client", "other"), ("signal", "traces"), ("result", "unknown_client"), ("result", "accepted")}
