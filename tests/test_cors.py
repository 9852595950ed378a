"""CORS: pages of allowed origins may send and read the answers. Pages of other origins may not."""

from collections.abc import Callable, Iterator

import pytest

from support.client import Answer, Http2, Identity, http1
from support.config import BURST, config, rule
from support.gate import Certificates, Gate
from support.protobuf import traces
from support.sink import GRPC_PATHS, HTTP_PATHS, Sink

V1_TRACES = HTTP_PATHS["traces"]
SHOP, LOCAL, EVIL = "https://shop.example.com", "http://localhost:3000", "https://shop.example.com.evil.example"
CONFIG = config(
    rule("shop-{till}", {"spiffe": "spiffe://acme.example/edge/{till}"}, tenant="shop"),
    corsOrigins=["https://*.example.com", "http://localhost:*"],
    quotas={"tiers": {"default": {"spans": "1/s", "burst": f"{BURST}s"}}},
)
# As Chromium sends it for a page of the JavaScript SDK.
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates, one_sink: Sink) -> Iterator[Gate]:
    file = tmp_path_factory.mktemp("cors") / "otlp-gate.yaml"
    file.write_text(str(CONFIG))
    gate = Gate(file, certificates.folder, one_sink.grpc_port, one_sink.http_port).ready()
    yield gate
    assert gate.stop() == 0, gate.rest_of_log()


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


def test_a_preflight_of_an_allowed_origin_is_accepted(
    shop: Gate, connection: Http2, acme: Identity, sink: Sink
) -> None:
    allowed = {"allow-methods": "POST", "allow-headers": "content-type", "max-age": "7200"}
    for path in HTTP_PATHS.values():
        for origin in (SHOP, LOCAL):
            answer = preflight(connection, path, PREFLIGHT | {"origin": origin})
            assert (answer.status, answer.body) == (204, b"")
            assert cors(answer) == allowed | may_read(origin)
            assert answer.headers["vary"] == "origin"
    head = f"OPTIONS {V1_TRACES} HTTP/1.1\nhost: localhost\norigin: {SHOP}\naccess-control-request-method: POST\n"
    answer = http1(shop.http, acme, head)
    assert (answer.status, cors(answer)) == (204, {"allow-methods": "POST", "max-age": "7200"} | may_read(SHOP))
    assert shop.counters()["otlp_gate_requests_total", frozenset({("result", "preflight")})] == 9
    assert sink.rest() == []


def test_a_preflight_of_another_origin_or_path_is_rejected(
    connection: Http2, acme: Identity, gate: Gate, connect: Callable, sink: Sink
) -> None:
    for path, headers, status in (
        (V1_TRACES, PREFLIGHT | {"origin": EVIL}, 405),
        (V1_TRACES, PREFLIGHT | {"origin": "null"}, 405),
        (V1_TRACES, PREFLIGHT, 405),
        ("/", PREFLIGHT | {"origin": EVIL}, 404),
    ):
        answer = preflight(connection, path, headers)
        assert (answer.status, cors(answer)) == (status, {}), headers
    # A request that is no preflight of an export is rejected. A page of an allowed origin may read the answer.
    for path, headers, status in (
        (V1_TRACES, {"origin": SHOP}, 405),
        ("/", PREFLIGHT | {"origin": SHOP}, 404),
        (GRPC_PATHS["traces"], PREFLIGHT | {"origin": SHOP}, 404),
    ):
        answer = preflight(connection, path, headers)
        assert (answer.status, cors(answer)) == (status, may_read(SHOP)), headers
    # By default no origin is allowed.
    answer = preflight(connect(acme, gate.http), V1_TRACES, PREFLIGHT | {"origin": SHOP})
    assert (answer.status, cors(answer)) == (405, {})
    assert sink.rest() == []


def test_a_page_may_read_every_answer_to_its_exports(
    shop: Gate, connection: Http2, connect: Callable, stranger: Identity, sink: Sink
) -> None:
    origin = {"origin": SHOP}
    for path, body, headers, status in (
        (V1_TRACES, traces("a"), {}, 200),
        (V1_TRACES, b"invalid", {}, 400),
        (V1_TRACES, traces("a"), {"content-encoding": "br"}, 415),
        ("/v1/nothing", traces("a"), {}, 404),
        (V1_TRACES, traces(*"a" * (BURST + 1)), {}, 413),
        (V1_TRACES, traces(*"a" * (BURST - 1)), {}, 200),
    ):
        answer = connection.http(path, body, headers | origin)
        assert (answer.status, cors(answer)) == (status, may_read(SHOP)), answer
        assert answer.headers["vary"] == "origin"
    answer = connection.http(V1_TRACES, traces(*"a" * (BURST // 2)), origin)
    assert (answer.status, cors(answer)) == (429, may_read(SHOP)), answer
    assert int(answer.headers["retry-after"]) >= 1
    answer = connect(stranger, shop.http).http(V1_TRACES, traces("a"), origin)
    assert (answer.status, cors(answer)) == (403, may_read(SHOP)), answer
    # A page of another origin may not read the answer.
    answer = connection.http(V1_TRACES, traces(*"a" * (BURST // 2)), {"origin": EVIL})
    assert (answer.status, cors(answer)) == (429, {}), answer
    assert [len(request.names()) for request in sink.rest()] == [1, BURST - 1]


def test_cors_headers_of_the_backend_are_replaced(
    shop: Gate, connect: Callable, certificates: Certificates, sink: Sink
) -> None:
    identity = certificates.client("shop-2", "--spiffe", "spiffe://acme.example/edge/2")
    sink.http_headers = {
        "access-control-allow-origin": "*",
        "access-control-expose-headers": "x",
        "vary": "accept-encoding",
    }
    try:
        answer = connect(identity, shop.http).http(V1_TRACES, traces(), {"origin": SHOP})
    finally:
        sink.http_headers = {}
    assert (answer.status, cors(answer)) == (200, may_read(SHOP))
    assert answer.headers["vary"] == "accept-encoding,origin"
