"""A worker's VM ends in the middle of a request: nothing gets past the gate meanwhile, and it comes back."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from client import Answer, Http2, Identity, frame
from conftest import CONFIG
from gate import Certificates, Gate, otlp_gate
from sink import GRPC_PATHS, Sink
from test_listener_updates import Proxy, eventually
from trap import trapped
from wire import attribute, field, request, resource, scope, span, traces

TRACES = GRPC_PATHS["traces"]
GRPC = {"content-type": "application/grpc", "te": "trailers"}
# The size of the piece of a body, or the number of headers, that ends the VM.
BODY, HEADERS = 7777, 40
WAYS = [("proxy_on_request_body", BODY), ("proxy_on_request_headers", HEADERS)]


def forged(name: str, size: int = 0) -> bytes:
    """What shows whether it went past the gate."""
    return frame(request(resource(attribute("tenant.id", "forged")), scope(span(name, field(1999, bytes(size))))))


def kill(connection: Http2, how: str) -> Answer:
    """Ends the VM of the worker that has this connection; what that request is answered."""
    if how == "proxy_on_request_body":
        size = BODY - len(forged("fatal", BODY)) + BODY
        assert len(forged("fatal", size)) == BODY
        return connection.grpc(TRACES, forged("fatal", size))
    for count in range(HEADERS):
        # Envoy adds some of its own.
        answer = connection.grpc(TRACES, forged("harmless"), {f"x-{number}": "x" for number in range(count)})
        if answer.grpc_status != 0:
            return answer
    raise AssertionError("no number of headers is fatal")


def trap(gate: Gate, how: str, number: int, config: str = CONFIG) -> None:
    """Gives the gate's Envoy the module with a trap, which a change of the policy makes it read again."""
    (envoy,) = Path(f"/proc/{gate.process.pid}/task/{gate.process.pid}/children").read_text().split()
    words = Path(f"/proc/{envoy}/cmdline").read_text().split("\0")
    (module,) = {path for word in words if word[:1] == "/" for path in Path(word).parent.glob("otlp-gate.wasm")}
    module.write_bytes(trapped(module.read_bytes(), how, number))
    gate.write_config(config.replace("{tenant.id: acme}", "{tenant.id: acme, trap: is set}"))
    gate.says("policy updated")


def is_set(sink: Sink) -> bool:
    """Whether what arrived last came through the module with the trap."""
    return "trap" in sink.take().resources()[0]


def unstamped(sink: Sink) -> list[dict[str, str]]:
    """The Resources that arrived and do not say what the policy says."""
    found = [resource for request in sink.rest() for resource in request.resources()]
    return [
        stamp for stamp in found if stamp.get("tenant.id") != "acme" or stamp.get("otlp_gate.client") != "acme-edge"
    ]


@pytest.mark.parametrize("how, number", WAYS)
def test_a_vm_that_ended_starts_anew_and_nothing_gets_past_it_meanwhile(
    start: Callable[..., Gate], acme: Identity, sink: Sink, how: str, number: int
) -> None:
    gate = start(CONFIG, "--concurrency", 1).ready()
    trap(gate, how, number)
    with Http2(gate.grpc, acme) as connection:
        send = lambda: connection.grpc(TRACES, forged("good")).grpc_status
        eventually(lambda: send() == 0 and is_set(sink))
        assert kill(connection, how).grpc_status == 14
        died = time.monotonic()
        while (status := send()) == 14:
            assert time.monotonic() < died + 10
        # Envoy lets a second pass before it starts one anew.
        print(f"it came back after {time.monotonic() - died:.1f} s")
        assert status == 0
    assert unstamped(sink) == []
    assert gate.stats("vm_reload_success$") == {"wasm.otlp_gate.vm_reload_success": 1}


def test_what_was_under_way_is_told_to_come_again_and_what_was_spent_is_spent(
    start: Callable[..., Gate], acme: Identity, certificates: Certificates, sink: Sink
) -> None:
    gate = start(CONFIG, "--concurrency", 1).ready()
    trap(gate, "proxy_on_request_body", BODY)
    few = certificates.client("few-death", "--spiffe", "spiffe://few.example/death")
    with Http2(gate.grpc, acme) as connection, Http2(gate.grpc, few) as spender:
        eventually(lambda: connection.grpc(TRACES, forged("good")).grpc_status == 0 and is_set(sink))
        spans = frame(request(resource(), scope(*[span("few")] * 20)))
        assert spender.grpc(TRACES, spans).grpc_status == 0
        sink.rest()
        sink.answers.clear()
        # One is with the backend, of another one half has come.
        waiting = connection.open(TRACES, GRPC)
        connection.h2.send_data(waiting, forged("waiting"), end_stream=True)
        half = connection.open(TRACES, GRPC)
        connection.h2.send_data(half, forged("half")[:20])
        connection.flush()
        assert sink.take().names() == ["waiting"]
        with Http2(gate.grpc, acme) as killer:
            assert kill(killer, "proxy_on_request_body").grpc_status == 14
        sink.answers.set()
        for stream, rest in [(waiting, b""), (half, forged("half")[20:])]:
            assert connection.finish(stream, rest).grpc_status == 14
        eventually(lambda: connection.grpc(TRACES, forged("good")).grpc_status == 0)
        assert spender.grpc(TRACES, spans).grpc_status == 8
    assert unstamped(sink) == []


@pytest.mark.parametrize("how, number", WAYS)
def test_where_a_vm_is_not_started_anew_nobody_is_let_in_until_the_next_policy(
    tmp_path: Path, certificates: Certificates, acme: Identity, sink: Sink, how: str, number: int
) -> None:
    """Envoy's default, which is what Envoy Gateway sets."""
    proxy = Proxy(tmp_path, certificates.folder, sink.grpc_port, lambda module: trapped(module, how, number))
    try:
        eventually(lambda: proxy.status(acme) == 204)
        with Http2(f"127.0.0.1:{proxy.port}", acme) as connection:
            assert connection.grpc(TRACES, forged("good")).grpc_status == 0
            assert kill(connection, how).grpc_status == 14
            sink.rest()
            # Longer than where it is started anew.
            until = time.monotonic() + 3
            while time.monotonic() < until:
                assert connection.grpc(TRACES, forged("late")).grpc_status == 14
                time.sleep(0.05)
        assert sink.rest() == []
        proxy.policy("acme", version="2")
        eventually(lambda: proxy.stat("listener_in_place_updated") > 0)
        # On all workers, so also on the one whose VM ended.
        eventually(lambda: all(proxy.status(acme) == 204 for _ in range(16)))
    finally:
        proxy.stop()
