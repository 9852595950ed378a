"""The native module: which file and which Envoy it runs with, and what it cannot do. All other tests run with it where
NATIVE_MODULE is set."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.client import Http2, Identity, frame
from support.config import SHARED
from support.gate import ENVOY, NATIVE_MODULE, Certificates, Gate, otlp_gate
from support.protobuf import traces
from support.sink import GRPC_PATHS, Sink

pytestmark = pytest.mark.skipif(NATIVE_MODULE is None, reason="NATIVE_MODULE is not set")

TRACES = GRPC_PATHS["traces"]


def local(
    config: Path, certificates: Certificates, *args: object, envoy: object = ENVOY
) -> subprocess.CompletedProcess:
    """Starts a gate that fails at once."""
    command = ["-f", config, "local", "--backend", "127.0.0.1:9", "--certs", certificates.folder, "--envoy", envoy]
    return otlp_gate(*command, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", *args, check=False)


def test_envoy_runs_the_module_and_no_vm(start: Callable[..., Gate], acme: Identity, sink: Sink) -> None:
    gate = start().ready()
    with Http2(gate.grpc, acme) as connection:
        assert connection.grpc(TRACES, frame(traces("a"))).grpc_status == 0
    assert sink.take().resources()[0]["tenant.id"] == "acme"
    assert "libotlp_gate.so" in Path(f"/proc/{gate.envoy_pid()}/maps").read_text()
    assert gate.stats("wasm") == {}


def test_the_module_needs_no_library_but_the_c_library() -> None:
    """Envoy's own images have no other."""
    needed = subprocess.run(["ldd", NATIVE_MODULE], check=True, capture_output=True, text=True).stdout
    libraries = {Path(line.split()[0]).name.split(".")[0] for line in needed.splitlines()}
    assert {name for name in libraries if not name.startswith(("linux-vdso", "ld-linux"))} == {"libc"}, needed


def test_the_module_beside_the_command_is_the_default(tmp_path: Path, config: Path, certificates: Certificates) -> None:
    command = tmp_path / "otlp-gate"
    shutil.copy(os.environ["OTLP_GATE"], command)
    args = ["-f", config, "local", "--backend", "127.0.0.1:9", "--certs", certificates.folder, "--native"]
    missing = subprocess.run([command, *args], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    assert missing.returncode == 1
    assert f"cannot read the native module {tmp_path}/libotlp_gate.so" in missing.stderr
    assert "cargo xtask build-native" in missing.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x7fELF", "is not a native module of otlp-gate"),
        (b"\x7fELF otlp-gate native module 0.0.1\0", "is not of version"),
    ],
)
def test_another_file_is_refused(
    tmp_path: Path, config: Path, certificates: Certificates, content: bytes, words: str
) -> None:
    module = tmp_path / "libother.so"
    module.write_bytes(content)
    done = local(config, certificates, "--native", "--module", module)
    assert done.returncode == 1 and words in done.stderr, done.stderr


@pytest.mark.parametrize("version", ["1.39.2", "1.42.0"])
def test_an_envoy_of_another_abi_is_refused_before_it_starts(
    tmp_path: Path, config: Path, certificates: Certificates, version: str
) -> None:
    envoy = tmp_path / "envoy"
    started = tmp_path / "started"
    answer = f"envoy  version: 0123/{version}/Clean/RELEASE/BoringSSL"
    envoy.write_text(f'#!/bin/sh\n[ "$1" = --version ] || touch {started}\necho "{answer}"\n')
    envoy.chmod(0o755)
    done = local(config, certificates, "--native", "--module", NATIVE_MODULE, envoy=envoy)
    assert done.returncode == 1
    assert f"fits Envoy 1.40 and 1.41, and {envoy} is Envoy {version.rpartition('.')[0]}" in done.stderr
    assert not started.exists()


def test_an_engine_of_shared_quotas_is_refused(config: Path, certificates: Certificates) -> None:
    done = local(config, certificates, "--native", "--module", NATIVE_MODULE, "--engine", "127.0.0.1:6379")
    assert done.returncode == 1 and "cannot share quotas with other gates" in done.stderr, done.stderr
    done = local(config, certificates, "--module", NATIVE_MODULE)
    assert done.returncode == 2 and "--native" in done.stderr, done.stderr


def test_an_update_that_needs_an_engine_is_refused_and_changes_nothing(
    start: Callable[..., Gate], acme: Identity, sink: Sink
) -> None:
    gate = start().ready()
    gate.write_config(SHARED.quotas(engine={"address": "127.0.0.1:6379", "tls": "off"}))
    gate.wait_for_log("cannot share quotas with other gates")
    gate.wait_for_log("the previous policy stays in use")
    with Http2(gate.grpc, acme) as connection:
        assert connection.grpc(TRACES, frame(traces("a"))).grpc_status == 0


def test_counters_live_on_when_the_policy_changes(start: Callable[..., Gate], acme: Identity, sink: Sink) -> None:
    gate = start().ready()
    accepted = (
        "otlp_gate_requests_total",
        frozenset({("client", "acme-edge"), ("signal", "traces"), ("result", "accepted")}),
    )
    with Http2(gate.grpc, acme) as connection:
        for count in (1, 2, 3):
            assert connection.grpc(TRACES, frame(traces("a"))).grpc_status == 0
            assert gate.counters()[accepted] == count
            gate.update_policy(SHARED.client("acme-edge", attributes={"tenant.id": f"acme-{count}"}))
            assert gate.counters()[accepted] == count
