"""`otlp-gate local`: how it starts, its messages, and how it ends."""

import os
import select
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.client import Http2, Identity, frame
from support.config import SHARED
from support.gate import COMMAND, ENVOY, Certificates, Gate, otlp_gate
from support.ports import ReservedPort
from support.protobuf import traces
from support.sink import GRPC_PATHS, Sink


def envoy_of(gate: Gate) -> tuple[int, Path]:
    """The process ID of Envoy, and its folder."""
    arguments = gate.envoy_command()
    return gate.envoy_pid(), Path(arguments[arguments.index("--config-path") + 1]).parent


def wait_for_end(pid: int) -> None:
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([process], [], [], 30)[0], f"process {pid} is still running"
    finally:
        os.close(process)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_and_removes_its_files(
    start: Callable[..., Gate], tmp_path: Path, how: signal.Signals
) -> None:
    gate = start().ready()
    envoy, run = envoy_of(gate)
    assert run.stat().st_mode & 0o077 == 0, "other users may read the folder"

    assert gate.stop(how) == 0

    assert gate.stdout.get(timeout=5) is None, "more than one line on stdout"
    wait_for_end(envoy)
    assert not run.exists()


def test_envoy_ends_when_it_is_killed(start: Callable[..., Gate]) -> None:
    gate = start().ready()
    envoy, run = envoy_of(gate)
    gate.stop(signal.SIGKILL)
    wait_for_end(envoy)
    # A process that is killed cannot remove its files.
    shutil.rmtree(run)


def test_it_fails_when_envoy_dies(start: Callable[..., Gate]) -> None:
    gate = start().ready()
    envoy, _ = envoy_of(gate)
    os.kill(envoy, signal.SIGKILL)
    assert gate.process.wait(30) == 1
    assert "envoy ended (signal: 9 (SIGKILL))" in gate.rest_of_log()


def test_a_port_in_use_is_an_error_that_names_the_process(start: Callable[..., Gate]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for args in (("--grpc", address, "--http", "127.0.0.1:0"), ("--http", address, "--grpc", "127.0.0.1:0")):
            gate = start(SHARED, *args)
            assert gate.process.wait(30) == 1
            log = gate.rest_of_log()
            assert f"{address} is already in use by" in log and f"(pid {os.getpid()})" in log
            assert f"hint: `{args[0]} 127.0.0.1:0` chooses a free port" in log


def test_two_gates_do_not_share_a_port(start: Callable[..., Gate]) -> None:
    first = start().ready()
    second = start(SHARED, "--grpc", first.grpc, "--http", "127.0.0.1:0")
    assert second.process.wait(30) == 1
    assert "is already in use by envoy" in second.rest_of_log()


def test_the_ports_come_from_the_config_file(start: Callable[..., Gate], acme: Identity, sink: Sink) -> None:
    with ReservedPort("0.0.0.0") as grpc, ReservedPort("0.0.0.0") as http:
        listeners = {"grpc": grpc.number, "http": http.number}
        config = SHARED.replace(gateway={**SHARED["gateway"], "listeners": listeners})
        gate = start(config, "--grpc", "127.0.0.1:0").ready()
        assert gate.http == http.address
        with Http2(f"127.0.0.1:{http.number}", acme) as connection:
            assert connection.grpc(GRPC_PATHS["traces"], frame(traces("a"))).grpc_status == 0


def test_it_listens_on_ipv6_and_verify_finds_it_there(
    start: Callable[..., Gate], acme: Identity, sink: Sink, config: Path, certificates: Certificates
) -> None:
    gate = start(SHARED, "--grpc", "[::]:0", "--http", "[::1]:0").ready()
    port = gate.grpc.rsplit(":", 1)[1]
    # `[::]` is every address of the machine.
    for address in (f"[::1]:{port}", f"127.0.0.1:{port}", gate.http):
        with Http2(address, acme) as connection:
            assert connection.grpc(GRPC_PATHS["traces"], frame(traces("a"))).grpc_status == 0
    args = ["--certs", certificates.folder, "--no-cluster", "-o", "json"]
    for address in (["--address", f"[::1]:{port}", "--http", gate.http],):
        done = otlp_gate("-f", config, "verify", *address, *args, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def run(*args: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(
        [COMMAND, *map(str, args)], capture_output=True, text=True, timeout=60, env=os.environ | (env or {})
    )


def test_missing_files_and_bad_arguments_are_errors_with_a_hint(
    config: Path, certificates: Certificates, tmp_path: Path
) -> None:
    local = ["-f", config, "local", "--backend", "127.0.0.1:1", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    certs = ["--certs", certificates.folder]
    for args, env, code, *words in (
        (
            [*local, *certs],
            {"PATH": "", "OTLP_GATE_CACHE": str(tmp_path)},
            1,
            "envoy is not on PATH",
            "hint:",
            "--envoy",
        ),
        ([*local, *certs, "--envoy", "/nowhere"], {}, 1, "no Envoy binary at /nowhere"),
        ([*local, "--certs", tmp_path, "--envoy", ENVOY], {}, 1, f"{tmp_path}/server.crt", "otlp-gate certs init"),
        (["-f", tmp_path / "none.yaml", *local[2:]], {}, 1, "none.yaml", "otlp-gate init"),
        ([*local[:4], "localhost"], {}, 2, "HOST:PORT"),
        ([*local[:4], "http://localhost:4317"], {}, 2, "a URL", "HOST:PORT"),
        ([*local, "--http", "4318"], {}, 2, "--http"),
        (local[:3], {}, 2, "--backend"),
    ):
        done = run(*args, env=env)
        assert done.returncode == code, done
        assert done.stdout == ""
        for word in words:
            assert word in done.stderr


def test_certificates_that_do_not_belong_together_are_errors(
    config: Path, certificates: Certificates, acme: Identity, foreign: Identity, tmp_path: Path
) -> None:
    other_ca = foreign.certificate.parent.parent

    def error(name: str, text: str) -> str:
        """The error where this file has this content."""
        folder = tmp_path / f"certs-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        for file in ("server.crt", "server.key", "client-ca.crt", "client.crl"):
            shutil.copy(certificates.folder / file, folder)
        (folder / name).write_text(text)
        local = ["local", "--backend", "127.0.0.1:1", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]
        done = otlp_gate("-f", config, *local, "--certs", folder, "--envoy", ENVOY, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        return done.stderr

    assert "server.key is not the key of" in error("server.key", acme.key.read_text())
    assert "server.key: no private key" in error("server.key", "")
    assert "server.crt: expected certificates in PEM" in error("server.crt", "nothing")
    assert "is not a CA" in error("client-ca.crt", acme.certificate.read_text())
    assert "no revocation list of" in error("client.crl", (other_ca / "client.crl").read_text())
