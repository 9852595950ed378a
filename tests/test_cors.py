"""Web pages that may send: browsers are told so before they send and with every answer, and pages of other origins are not."""

from collections.abc import Callable, Iterator

import pytest

from client import Answer, Http2, Identity, http1
from gate import Gate
from sink import GRPC_PATHS, HTTP_PATHS, Sink
from wire import traces

V1_TRACES = HTTP_PATHS["traces"]
SHOP, LOCAL, EVIL = "https://shop.example.com", "http://localhost:3000", "https://shop.example.com.evil.example"
CONFIG = """\
apiVersion: otlp-gate/v1
clients:
  - name: "shop-{till}"
    match: {spiffe: "spiffe://acme.example/edge/{till}"}
    attributes: {tenant.id: shop}
corsOrigins: ["https://*.example.com", "http://localhost:*"]
quotas: {tiers: {default: {spans: 1/s, burst: 20s}}}
"""
# As Chromium sends it for a page of the JavaScript SDK.
ASKS = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, certificates, one_sink: Sink) -> Iterator[Gate]:
    file = tmp_path_factory.mktemp("cors") / "otlp-gate.yaml"
    file.write_text(CONFIG)
    gate = Gate(file, certificates.folder, one_sink.grpc_port, one_sink.http_port).ready()
    yield gate
    assert gate.stop() == 0, gate.rest_of_stderr()


@pytest.fixture
def connection(shop: Gate, connect: Callable, acme: Identity) -> Http2:
    return connect(acme, shop.http)


def cors(answer: Answer) -> dict[str, str]:
    prefix = "access-control-"
    return {name.removeprefix(prefix): value for name, value in answer.headers.items() if name.startswith(prefix)}


def may_read(origin: str) -> dict[str, str]:
    return {"allow-origin": origin, "allow-credentials": "true", "expose-headers": "retry-after"}


def preflight(connection: Http2, path: str, headers: dict[str, str]) -> Answer:
    return connection.request(path, b"", headers, method="OPTIONS")


def test_a_browser_is_told_that_a_page_may_send(shop: Gate, connection: Http2, acme: Identity, sink: Sink) -> None:
    allowed = {"allow-methods": "POST", "allow-headers": "content-type", "max-age": "7200"}
    for path in HTTP_PATHS.values():
        for origin in (SHOP, LOCAL):
            answer = preflight(connection, path, ASKS | {"origin": origin})
            assert (answer.status, answer.body) == (204, b"")
            assert cors(answer) == allowed | may_read(origin)
            assert answer.headers["vary"] == "origin"
    head = f"OPTIONS {V1_TRACES} HTTP/1.1\nhost: localhost\norigin: {SHOP}\naccess-control-request-method: POST\n"
    answer = http1(shop.http, acme, head)
    assert (answer.status, cors(answer)) == (204, {"allow-methods": "POST", "max-age": "7200"} | may_read(SHOP))
    assert shop.counters()["otlp_gate_requests_total", frozenset({("result", "preflight")})] == 9
    assert sink.rest() == []


def test_whoever_else_asks_is_told_nothing(
    connection: Http2, acme: Identity, gate: Gate, connect: Callable, sink: Sink
) -> None:
    for path, headers, status in (
        (V1_TRACES, ASKS | {"origin": EVIL}, 405),
        (V1_TRACES, ASKS | {"origin": "null"}, 405),
        (V1_TRACES, ASKS, 405),
        ("/", ASKS | {"origin": EVIL}, 404),
    ):
        answer = preflight(connection, path, headers)
        assert (answer.status, cors(answer)) == (status, {}), headers
    # What is no preflight of an export is refused; a page of ours may read why.
    for path, headers, status in (
        (V1_TRACES, {"origin": SHOP}, 405),
        ("/", ASKS | {"origin": SHOP}, 404),
        (GRPC_PATHS["traces"], ASKS | {"origin": SHOP}, 404),
    ):
        answer = preflight(connection, path, headers)
        assert (answer.status, cors(answer)) == (status, may_read(SHOP)), headers
    # By default there is no such page.
    answer = preflight(connect(acme, gate.http), V1_TRACES, ASKS | {"origin": SHOP})
    assert (answer.status, cors(answer)) == (405, {})
    assert sink.rest() == []


def test_a_page_may_read_every_answer_to_what_it_sent(
    shop: Gate, connection: Http2, connect: Callable, stranger: Identity, sink: Sink
) -> None:
    origin = {"origin": SHOP}
    for path, body, headers, status in (
        (V1_TRACES, traces("a"), {}, 200),
        (V1_TRACES, b"rubbish", {}, 400),
        (V1_TRACES, traces("a"), {"content-encoding": "br"}, 415),
        ("/v1/nothing", traces("a"), {}, 404),
        (V1_TRACES, traces(*"a" * 21), {}, 413),
        (V1_TRACES, traces(*"a" * 19), {}, 200),
    ):
        answer = connection.http(path, body, headers | origin)
        assert (answer.status, cors(answer)) == (status, may_read(SHOP)), answer
        assert answer.headers["vary"] == "origin"
    answer = connection.http(V1_TRACES, traces(*"a" * 3), origin)
    assert (answer.status, cors(answer)) == (429, may_read(SHOP)), answer
    assert int(answer.headers["retry-after"]) >= 1
    answer = connect(stranger, shop.http).http(V1_TRACES, traces("a"), origin)
    assert (answer.status, cors(answer)) == (403, may_read(SHOP)), answer
    # Pages from elsewhere may not read it.
    answer = connection.http(V1_TRACES, b"", {"origin": EVIL})
    assert (answer.status, cors(answer)) == (429, {}), answer
    assert [len(request.names()) for request in sink.rest()] == [1, 19]


def test_what_the_backend_says_of_origins_is_replaced(shop: Gate, connect: Callable, certificates, sink: Sink) -> None:
    identity = certificates.client("shop-2", "--spiffe", "spiffe://acme.example/edge/2")
    sink.says = {"access-control-allow-origin": "*", "access-control-expose-headers": "x", "vary": "accept-encoding"}
    try:
        answer = connect(identity, shop.http).http(V1_TRACES, traces(), {"origin": SHOP})
    finally:
        sink.says = {}
    assert (answer.status, cors(answer)) == (200, may_read(SHOP))
    assert answer.headers["vary"] == "accept-encoding,origin"
