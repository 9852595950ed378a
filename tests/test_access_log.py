"""The access log of a gate: who sent, what became of it, and why."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from support.client import Http2, Identity, frame
from support.config import BURST, SHARED
from support.gate import Certificates, Gate
from support.protobuf import traces
from support.sink import GRPC_PATHS, Sink

TRACES = GRPC_PATHS["traces"]


def entries(file: Path, number: int) -> list[dict]:
    """The first entries. Envoy writes them every second."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) >= number:
            return [json.loads(line) for line in lines]
        time.sleep(0.1)
    raise AssertionError(f"{len(lines)} of {number} entries: {lines}")


def test_it_names_the_client_the_result_and_the_reason(
    start: Callable[..., Gate],
    connect: Callable[..., Http2],
    acme: Identity,
    stranger: Identity,
    certificates: Certificates,
    sink: Sink,
    tmp_path: Path,
) -> None:
    file = tmp_path / "access.log"
    gate = start(SHARED, "--access-log", file).ready()
    few = certificates.client("few-log", "--spiffe", "spiffe://few.example/log")
    for client, message in (
        (acme, frame(traces("a"))),
        (acme, frame(b"\xff")),
        (few, frame(traces(*"a" * (BURST + 1)))),
        (stranger, frame(traces("a"))),
    ):
        connect(client, gate.grpc).grpc(TRACES, message)
    # What a client writes cannot become a line or a field of its own.
    forged = 'x"}\\n{"client":"acme-edge","result":"accepted"}'
    assert connect(acme, gate.grpc).grpc(TRACES, frame(traces("a")), {"user-agent": forged}).grpc_status == 0
    accepted, invalid, over, unknown, agent = entries(file, 5)
    assert (accepted["client"], accepted["result"]) == ("acme-edge", "accepted") and "reason" not in accepted
    assert accepted["status"] == 200 and accepted["path"] == TRACES and accepted["upstream"]
    assert (invalid["client"], invalid["result"], invalid["grpc_status"]) == ("acme-edge", "invalid", 3)
    assert (over["client"], over["result"], over["grpc_status"]) == ("few-log", "over_quota", 8)
    assert "spans" in over["reason"] and over["details"] == "otlp_gate"
    assert "client" not in unknown and unknown["result"] == "unknown_client" and unknown["reason"]
    assert unknown["certificate_uri"] == "spiffe://stranger.example/x"
    assert agent["user_agent"] == forged and agent["client"] == "acme-edge"


def test_it_can_have_rejected_requests_only(
    start: Callable[..., Gate],
    connect: Callable[..., Http2],
    acme: Identity,
    stranger: Identity,
    sink: Sink,
    tmp_path: Path,
) -> None:
    file = tmp_path / "access.log"
    gateway = {**SHARED["gateway"], "accessLog": "rejected"}
    gate = start(SHARED.replace(gateway=gateway), "--access-log", file).ready()
    connection = connect(acme, gate.grpc)
    assert connection.grpc(TRACES, frame(traces("a"))).grpc_status == 0
    assert connection.http("/v1/traces", traces("a")).status == 200
    connect(stranger, gate.grpc).grpc(TRACES, frame(traces("a")))
    assert connection.http("/v1/traces", b"\xff").status == 400
    # The backend's own rejection, which has status 200 in gRPC.
    sink.fail = (grpc.StatusCode.INVALID_ARGUMENT, 400)
    assert connection.grpc(TRACES, frame(traces("a"))).grpc_status != 0
    results = [entry["result"] for entry in entries(file, 3)]
    assert results == ["unknown_client", "invalid", "backend_refused"]


@pytest.mark.parametrize("log", ["all", "off"])
def test_it_can_be_on_standard_output(
    start: Callable[..., Gate], connect: Callable[..., Http2], acme: Identity, sink: Sink, log: str
) -> None:
    gateway = {**SHARED["gateway"], "accessLog": log}
    gate = start(SHARED.replace(gateway=gateway), "--access-log", "-").ready()
    connect(acme, gate.grpc).grpc(TRACES, frame(traces("a")))
    line = json.loads(gate.stdout.get(timeout=30))
    assert (line["client"], line["result"]) == ("acme-edge", "accepted")


def test_a_file_that_cannot_be_written_is_an_error(start: Callable[..., Gate], tmp_path: Path) -> None:
    gate = start(SHARED, "--access-log", tmp_path / "missing" / "access.log")
    assert gate.process.wait(30) == 1
    assert "cannot write" in gate.rest_of_log()
