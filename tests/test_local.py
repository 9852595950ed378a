"""The command itself: how it starts, what it says, how it ends."""

import os
import select
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from client import Http2, Identity, frame
from conftest import CONFIG
from gate import COMMAND, ENVOY, Certificates, Gate, otlp_gate
from sink import GRPC_PATHS, Sink
from wire import traces


def envoy_of(gate: Gate) -> tuple[int, Path]:
    """Envoy's process, and its folder."""
    pid = gate.process.pid
    (envoy,) = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    arguments = Path(f"/proc/{envoy}/cmdline").read_text().split("\0")
    return envoy, Path(arguments[arguments.index("--config-path") + 1]).parent


def wait_until_gone(pid: int) -> None:
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([process], [], [], 10)[0], f"{pid} is still there"
    finally:
        os.close(process)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_ends_cleanly_and_leaves_nothing(start: Callable[..., Gate], tmp_path: Path, how: signal.Signals) -> None:
    gate = start().ready()
    envoy, run = envoy_of(gate)
    assert run.stat().st_mode & 0o077 == 0, "others may read what is in it"

    assert gate.stop(how) == 0

    assert gate.stdout.get(timeout=5) is None, "more than one line on stdout"
    wait_until_gone(envoy)
    assert not run.exists()


def test_envoy_does_not_outlive_it(start: Callable[..., Gate]) -> None:
    gate = start().ready()
    envoy, run = envoy_of(gate)
    gate.stop(signal.SIGKILL)
    wait_until_gone(envoy)
    # Killed like this it could not do so itself.
    shutil.rmtree(run)


def test_it_fails_when_envoy_dies(start: Callable[..., Gate]) -> None:
    gate = start().ready()
    envoy, _ = envoy_of(gate)
    os.kill(envoy, signal.SIGKILL)
    assert gate.process.wait(10) == 1
    assert "envoy ended (signal: 9 (SIGKILL))" in gate.rest_of_stderr()


def test_a_taken_port_is_told_with_who_has_it(start: Callable[..., Gate]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for args in (("--grpc", address, "--http", "127.0.0.1:0"), ("--http", address, "--grpc", "127.0.0.1:0")):
            gate = start(CONFIG, *args)
            assert gate.process.wait(10) == 1
            said = gate.rest_of_stderr()
            assert f"{address} is already in use by" in said and f"(pid {os.getpid()})" in said
            assert f"hint: `{args[0]} 127.0.0.1:0` chooses a free port" in said


def test_two_gates_do_not_share_a_port(start: Callable[..., Gate]) -> None:
    first = start().ready()
    second = start(CONFIG, "--grpc", first.grpc, "--http", "127.0.0.1:0")
    assert second.process.wait(10) == 1
    assert "is already in use by envoy" in second.rest_of_stderr()


def test_the_ports_come_from_the_config_file(start: Callable[..., Gate], acme: Identity, sink: Sink) -> None:
    def free() -> int:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            return probe.getsockname()[1]

    grpc, http = free(), free()
    text = CONFIG.replace("hostname: localhost", f"hostname: localhost, listeners: {{grpc: {grpc}, http: {http}}}")
    gate = start(text, "--grpc", "127.0.0.1:0").ready()
    assert gate.http == f"0.0.0.0:{http}"
    with Http2(f"127.0.0.1:{http}", acme) as connection:
        assert connection.grpc(GRPC_PATHS["traces"], frame(traces("a"))).grpc_status == 0


def run(*args: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(
        [COMMAND, *map(str, args)], capture_output=True, text=True, timeout=60, env=os.environ | (env or {})
    )


def test_what_it_lacks_is_told_with_the_cure(config: Path, certificates: Certificates, tmp_path: Path) -> None:
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


def test_certificates_that_do_not_fit_are_told(
    config: Path, certificates: Certificates, acme: Identity, foreign: Identity, tmp_path: Path
) -> None:
    theirs = foreign.certificate.parent.parent

    def said(name: str, text: str) -> str:
        folder = tmp_path / f"certs-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        for ours in ("server.crt", "server.key", "client-ca.crt", "client.crl"):
            shutil.copy(certificates.folder / ours, folder)
        (folder / name).write_text(text)
        local = ["local", "--backend", "127.0.0.1:1", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]
        done = otlp_gate("-f", config, *local, "--certs", folder, "--envoy", ENVOY, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        return done.stderr

    assert "server.key is not the key of" in said("server.key", acme.key.read_text())
    assert "server.key: no private key" in said("server.key", "")
    assert "server.crt: expected certificates in PEM" in said("server.crt", "nothing")
    assert "is no CA" in said("client-ca.crt", acme.certificate.read_text())
    assert "no list that is signed by" in said("client.crl", (theirs / "client.crl").read_text())
