"""Policies in the listener itself, as Envoy Gateway sends them: each update adds a filter chain."""

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from h2.exceptions import ProtocolError

from support.client import Identity, call, secure_channel
from support.gate import Certificates
from support.inline_policy import InlinePolicyEnvoy
from support.protobuf import traces
from support.sink import GRPC_PATHS, Received, Sink
from support.waiting import wait_until

# A connection of the former policy may be asked to end while a request is sent.
RETRY_ON = (OSError, ProtocolError)


@pytest.fixture
def proxy(tmp_path: Path, certificates: Certificates, sink: Sink) -> Iterator[InlinePolicyEnvoy]:
    proxy = InlinePolicyEnvoy(tmp_path, certificates.folder, sink.grpc_port)
    yield proxy
    proxy.stop()


def test_a_policy_that_returns_while_its_connections_are_open_applies_again(
    proxy: InlinePolicyEnvoy, acme: Identity
) -> None:
    """Envoy reuses the plugin that it still has, and does not configure it again."""

    def answers(status: int) -> None:
        wait_until(lambda: proxy.status(acme) == status, f"the answer is {status}", retry_on=RETRY_ON)

    answers(204)
    proxy.allow("another")
    answers(403)
    assert proxy.revision() == len("another")
    proxy.allow("acme")
    answers(204)
    # The metric follows when the connections of the other policy have ended.
    wait_until(lambda: proxy.revision() == len("acme"), "the revision is that of the first policy")
    assert proxy.status(acme) == 204


def test_clients_that_send_during_policy_updates_lose_nothing(
    proxy: InlinePolicyEnvoy, acme: Identity, sink: Sink
) -> None:
    """Connections end and clients reconnect. Python's gRPC library gets exactly one answer to each call."""
    wait_until(lambda: proxy.status(acme) == 204, "the first policy applies", retry_on=RETRY_ON)
    acknowledged: list[str] = []
    errors: list[object] = []
    stopped = threading.Event()

    def send(number: int) -> None:
        with secure_channel(proxy.address, acme.credentials()) as channel:
            for count in itertools.count():
                if stopped.is_set():
                    return
                span = f"{number} {count}"
                error = call(channel, GRPC_PATHS["traces"], traces(span), wait_for_ready=True)
                errors.append(error) if error else acknowledged.append(span)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    arrived: list[Received] = []

    def applies(version: str) -> Callable[[], bool]:
        def last_has_version() -> bool:
            arrived.extend(sink.rest())
            return bool(errors) or (bool(arrived) and arrived[-1].resources()[0].get("version") == version)

        return last_has_version

    for version in map(str, range(8)):
        proxy.allow("acme", version=version)
        wait_until(applies(version), f"version {version} of the policy applies")
    stopped.set()
    for thread in threads:
        thread.join(30)
    arrived.extend(sink.rest())
    assert errors == []
    names = [name for request in arrived for name in request.names()]
    assert sorted(names) == sorted(acknowledged)
