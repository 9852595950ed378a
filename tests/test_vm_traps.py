"""A worker's VM traps in the middle of a request: nothing gets past the filter, and the VM restarts if configured."""

from collections.abc import Callable
from pathlib import Path

import pytest
from h2.exceptions import ProtocolError

from support.client import GRPC, Answer, Http2, Identity, frame
from support.config import BURST, SHARED
from support.gate import Certificates, Gate
from support.inline_policy import InlinePolicyEnvoy
from support.protobuf import attribute, field, request, resource, scope, span, traces
from support.sink import GRPC_PATHS, Sink
from support.waiting import wait_until
from support.wasm_patch import with_trap

pytestmark = pytest.mark.wasm_only("a native module has no VM that can trap")

TRACES = GRPC_PATHS["traces"]
# The size of the piece of a body, or the number of headers, at which the VM traps.
BODY, HEADERS = 7777, 40
TRAPS = [("proxy_on_request_body", BODY), ("proxy_on_request_headers", HEADERS)]


def forged(name: str, size: int = 0) -> bytes:
    """A message with a forged attribute, which shows whether it got past the filter."""
    return frame(request(resource(attribute("tenant.id", "forged")), scope(span(name, field(1999, bytes(size))))))


def trigger(connection: Http2, callback: str) -> Answer:
    """Makes the VM of this connection's worker trap; returns the answer to that request."""
    if callback == "proxy_on_request_body":
        size = BODY - len(forged("fatal", BODY)) + BODY
        assert len(forged("fatal", size)) == BODY
        return connection.grpc(TRACES, forged("fatal", size))
    for count in range(HEADERS):
        # Envoy adds some headers, so the number is found by trying.
        answer = connection.grpc(TRACES, forged("harmless"), {f"x-{number}": "x" for number in range(count)})
        if answer.grpc_status != 0:
            return answer
    raise AssertionError("the VM did not trap at any number of headers")


def install_trap(gate: Gate, callback: str, number: int) -> None:
    """Replaces the module of the gate's Envoy by one with a trap. A new policy makes Envoy load it."""
    arguments = [word for word in gate.envoy_command() if word.startswith("/")]
    (module,) = {path for word in arguments for path in Path(word).parent.glob("otlp-gate.wasm")}
    module.write_bytes(with_trap(module.read_bytes(), callback, number))
    gate.update_policy(SHARED.client("acme-edge", attributes={"tenant.id": "acme", "trap": "installed"}))


def is_installed(sink: Sink) -> bool:
    """Whether the next request that arrives was handled by the module with the trap."""
    return "trap" in sink.take().resources()[0]


def unprotected(sink: Sink) -> list[dict[str, str]]:
    """The Resources that have arrived without the attributes of the policy."""
    expected = {"tenant.id": "acme", "otlp_gate.client": "acme-edge"}
    found = [attributes for received in sink.rest() for attributes in received.resources()]
    return [attributes for attributes in found if not expected.items() <= attributes.items()]


@pytest.mark.parametrize(("callback", "number"), TRAPS)
def test_a_vm_that_traps_is_restarted_and_nothing_gets_past_the_filter(
    start: Callable[..., Gate], acme: Identity, sink: Sink, callback: str, number: int
) -> None:
    gate = start(SHARED, "--concurrency", 1).ready()
    install_trap(gate, callback, number)
    with Http2(gate.grpc, acme) as connection:

        def send() -> int:
            return connection.grpc(TRACES, forged("good")).grpc_status

        wait_until(lambda: send() == 0 and is_installed(sink), "the module with the trap is loaded")
        assert trigger(connection, callback).grpc_status == 14
        # Envoy waits a second before it restarts a VM.
        statuses = [send()]
        wait_until(lambda: statuses.append(send()) or statuses[-1] == 0, "the VM is restarted")
        assert set(statuses) == {0, 14}
    assert unprotected(sink) == []
    assert gate.stats("vm_reload_success$") == {"wasm.otlp_gate.vm_reload_success": 1}


def test_open_requests_are_answered_with_unavailable_and_quotas_survive_a_restart(
    start: Callable[..., Gate], acme: Identity, certificates: Certificates, sink: Sink
) -> None:
    gate = start(SHARED, "--concurrency", 1).ready()
    install_trap(gate, "proxy_on_request_body", BODY)
    few = certificates.client("few-restart", "--spiffe", "spiffe://few.example/restart")
    with Http2(gate.grpc, acme) as connection, Http2(gate.grpc, few) as limited:

        def send() -> int:
            return connection.grpc(TRACES, forged("good")).grpc_status

        wait_until(lambda: send() == 0 and is_installed(sink), "the module with the trap is loaded")
        assert limited.grpc(TRACES, frame(traces(*"a" * BURST))).grpc_status == 0
        sink.rest()
        sink.answering.clear()
        # The backend has one request, and half of another one has arrived at the gate.
        waiting = connection.open(TRACES, GRPC)
        connection.h2.send_data(waiting, forged("waiting"), end_stream=True)
        half = connection.open(TRACES, GRPC)
        connection.h2.send_data(half, forged("half")[:20])
        connection.flush()
        assert sink.take().names() == ["waiting"]
        with Http2(gate.grpc, acme) as other:
            assert trigger(other, "proxy_on_request_body").grpc_status == 14
        sink.answering.set()
        for stream, rest in [(waiting, b""), (half, forged("half")[20:])]:
            assert connection.finish(stream, rest).grpc_status == 14
        wait_until(lambda: send() == 0, "the VM is restarted")
        assert limited.grpc(TRACES, frame(traces(*"a" * (BURST // 2)))).grpc_status == 8
    assert unprotected(sink) == []


@pytest.mark.parametrize(("callback", "number"), TRAPS)
def test_without_restarts_all_requests_are_rejected_until_the_next_policy(
    start: Callable[..., Gate],
    tmp_path: Path,
    certificates: Certificates,
    acme: Identity,
    sink: Sink,
    callback: str,
    number: int,
) -> None:
    """Envoy's default, which Envoy Gateway uses."""
    # A gate that restarts its VM shows when that would have happened.
    restarting = start(SHARED, "--concurrency", 1).ready()
    install_trap(restarting, callback, number)
    folder = tmp_path / "proxy"
    folder.mkdir()
    proxy = InlinePolicyEnvoy(
        folder, certificates.folder, sink.grpc_port, lambda module: with_trap(module, callback, number)
    )
    retry_on = (OSError, ProtocolError)
    try:
        wait_until(lambda: proxy.status(acme) == 204, "the policy applies", retry_on=retry_on)
        with Http2(proxy.address, acme) as connection, Http2(restarting.grpc, acme) as reference:

            def reference_status() -> int:
                return reference.grpc(TRACES, forged("good")).grpc_status

            wait_until(lambda: reference_status() == 0 and is_installed(sink), "the module with the trap is loaded")
            assert connection.grpc(TRACES, forged("good")).grpc_status == 0
            assert trigger(connection, callback).grpc_status == 14
            assert trigger(reference, callback).grpc_status == 14
            sink.rest()

            def restarted() -> bool:
                if connection.grpc(TRACES, forged("late")).grpc_status != 14:
                    pytest.fail("a request is accepted after the trap")
                return reference_status() == 0

            wait_until(restarted, "the other gate has restarted its VM")
            assert connection.grpc(TRACES, forged("late")).grpc_status == 14
        assert [names for received in sink.rest() if "late" in (names := received.names())] == []
        proxy.allow("acme", version="2")
        wait_until(lambda: proxy.stat("listener_in_place_updated") > 0, "the listener is updated")
        # New connections are spread over both workers, so also to the one whose VM trapped.
        wait_until(
            lambda: all(proxy.status(acme) == 204 for _ in range(16)), "all workers accept requests", retry_on=retry_on
        )
    finally:
        proxy.stop()
