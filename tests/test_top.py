"""`otlp-gate top`: what each client sends, live in a terminal, as a table, and as JSON."""

import http.server
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator
from fcntl import ioctl
from pathlib import Path

import pyte
import pytest

from support.client import Http2, Identity, frame
from support.config import SHARED, config, rule
from support.gate import COMMAND, Certificates, Gate, otlp_gate
from support.protobuf import attribute, request, resource, scope, span, traces
from support.screenshot import svg
from support.sink import GRPC_PATHS, Sink

TRACES = GRPC_PATHS["traces"]


class Load:
    """Clients that send as long as it is entered."""

    def __init__(self, *senders: Callable[[], object]):
        self.senders = senders
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self._send, args=(sender,)) for sender in senders]

    def _send(self, sender: Callable[[], object]) -> None:
        while not self.ended.wait(0.05):
            sender()

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()


class Terminal:
    """A command in a terminal, and the screen that it draws."""

    def __init__(self, *args: object, columns: int = 140, lines: int = 20):
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.written = b""
        self.master, terminal = pty.openpty()
        ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.before = termios.tcgetattr(terminal)
        self.terminal = terminal
        self.process = subprocess.Popen(
            [COMMAND, *map(str, args)],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env={**os.environ, "TERM": "xterm-256color"},
            start_new_session=True,
        )

    def read(self, seconds: float) -> None:
        if select.select([self.master], [], [], seconds)[0]:
            written = os.read(self.master, 65536)
            self.written += written
            self.stream.feed(written)

    def wait_for(self, pattern: str, timeout: float = 20) -> re.Match:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if match := re.search(pattern, "\n".join(self.screen.display)):
                return match
            self.read(0.2)
        raise AssertionError(f"no {pattern!r} on the screen:\n" + "\n".join(self.screen.display))

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def end(self) -> int:
        """Waits for its end. The terminal must be as it was before."""
        deadline = time.monotonic() + 10
        while self.process.poll() is None and time.monotonic() < deadline:
            self.read(0.1)
        self.read(0.2)
        assert termios.tcgetattr(self.terminal) == self.before
        # The alternate screen is left, and the cursor is shown.
        assert self.written.count(b"\x1b[?1049h") == self.written.count(b"\x1b[?1049l")
        hidden, shown = (self.written.rfind(sequence) for sequence in (b"\x1b[?25l", b"\x1b[?25h"))
        assert hidden == -1 or shown > hidden
        return self.process.wait(1)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.terminal)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def terminal(*args: object, **size: int) -> Terminal:
        opened.append(Terminal(*args, **size))
        return opened[-1]

    yield terminal
    for one in opened:
        one.close()


@pytest.fixture
def busy(
    start: Callable[..., Gate], connect: Callable[..., Http2], acme: Identity, stranger: Identity, sink: Sink
) -> Iterator[Gate]:
    """A gate with a client that sends and forges, and one that is rejected."""
    limited = SHARED.client("acme-edge", quota="gold").tier("gold", spans="1000/s", burst="10s")
    gate = start(limited).ready()
    message = frame(request(resource(attribute("tenant.id", "x")), scope(*(span("a") for _ in range(20)))))
    known, unknown = connect(acme, gate.grpc), connect(stranger, gate.grpc)
    with Load(lambda: known.grpc(TRACES, message), lambda: unknown.grpc(TRACES, message)):
        yield gate


def test_json_has_one_sample_of_what_the_clients_send(busy: Gate, tmp_path: Path) -> None:
    done = otlp_gate("top", "--admin", busy.admin, "-o", "json", cwd=tmp_path)
    sample = json.loads(done.stdout)
    assert sample["replicas"] == [{"name": busy.admin}]
    assert 1.9 < sample["seconds"] < 10
    acme, unknown = sample["clients"]
    # About 20 requests a second of 20 spans; a busy machine sends fewer.
    rate = acme["requests"]["accepted"]
    assert acme["client"] == "acme-edge" and 1 < rate < 21, acme
    assert acme["items"] == {"traces": pytest.approx(20 * rate), "metrics": 0, "logs": 0, "profiles": 0}
    assert acme["forgedAttributes"] == pytest.approx(rate)
    assert acme["bytes"] > 20 * rate
    quota = acme["quota"]
    assert quota["limit"] == "spans" and quota["limits"] == {"spans": 1000} and not quota["shared"]
    assert quota["percent"] == pytest.approx(acme["items"]["traces"] / 10)
    assert unknown["client"] is None and unknown["requests"].keys() == {"unknown_client"}


def test_without_a_terminal_it_prints_one_table(busy: Gate, tmp_path: Path) -> None:
    done = otlp_gate("top", "--admin", busy.admin, "--interval", 1, cwd=tmp_path)
    header, acme, unknown = done.stdout.splitlines()
    assert header.split()[0] == "CLIENT" and "ITEMS/Sv" in header
    assert re.match(r"acme-edge .* \d+ % spans$", acme), done.stdout
    assert unknown.startswith("(unknown)") and unknown.endswith("unknown_client")
    only = otlp_gate("top", "--admin", busy.admin, "--interval", 1, "--filter", "ACME", cwd=tmp_path)
    assert len(only.stdout.splitlines()) == 2


def test_keys_sort_filter_and_end_it(busy: Gate, terminal: Callable[..., Terminal]) -> None:
    top = terminal("top", "--admin", busy.admin, "--interval", 1)
    top.wait_for(r"1 of 1 replicas")
    top.wait_for(r"ITEMS/Sv[\s\S]*acme-edge [\s\S]*\(unknown\)")
    top.type("r")
    top.wait_for(r"ITEMS/S\^[\s\S]*\(unknown\)[\s\S]*acme-edge")
    top.type("\x1b[C")
    top.wait_for(r"BYTES/S\^")
    top.type("/edge")
    top.wait_for(r"filter: edge_")
    top.type("\r")
    top.wait_for(r"clients with `edge`[\s\S]*acme-edge")
    assert "(unknown)" not in "\n".join(top.screen.display)
    top.type("q")
    assert top.end() == 0


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM"])
def test_it_ends_cleanly(busy: Gate, terminal: Callable[..., Terminal], how: str) -> None:
    top = terminal("top", "--admin", busy.admin, "--interval", 1)
    top.wait_for("acme-edge")
    if how == "Ctrl-C":
        top.type("\x03")
    else:
        top.process.send_signal(signal.SIGTERM)
    assert top.end() == 0


def test_a_gate_that_has_gone_is_shown_and_an_error_at_the_start(
    start: Callable[..., Gate], terminal: Callable[..., Terminal], sink: Sink, tmp_path: Path
) -> None:
    gate = start().ready()
    top = terminal("top", "--admin", gate.admin, "--interval", 1)
    top.wait_for("1 of 1 replicas")
    gate.stop()
    top.wait_for("cannot read the metrics of")
    top.type("q")
    assert top.end() == 0
    failed = terminal("top", "--admin", gate.admin)
    assert failed.end() == 1
    assert b"cannot read the metrics of" in failed.written and b"\x1b[?1049h" not in failed.written
    done = otlp_gate("top", "--admin", gate.admin, "-o", "json", cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout) == (1, "") and "error: cannot read the metrics of" in done.stderr


class HostileMetrics(http.server.BaseHTTPRequestHandler):
    """Metrics of a client whose name is a command to the terminal."""

    NAME = "\x1b]0;title\x07\x1b[2J\x9b31m\u202eevil\\n"

    def do_GET(self) -> None:
        name = self.NAME.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
        body = f'otlp_gate_items_total{{client="{name}",signal="logs"}} {time.time_ns()}\n'.encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_a_hostile_name_writes_nothing_to_the_terminal(terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), HostileMetrics) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        admin = f"127.0.0.1:{server.server_port}"
        escaped = r"\u{1b}]0;title\u{7}\u{1b}[2J\u{9b}31m\u{202e}evil\n"
        top = terminal("top", "--admin", admin, "--interval", 1)
        top.wait_for(re.escape(escaped))
        # Nor does the filter, which the user types.
        top.type("/\x0bx")
        top.wait_for("filter: ")
        top.type("\r")
        top.type("q")
        top.end()
        for forbidden in (b"\x1b]0", b"\x07", b"\x1b[2J", "\x9b".encode(), "\u202e".encode()):
            assert forbidden not in top.written, forbidden
        table = otlp_gate("top", "--admin", admin, "--interval", 1, cwd=tmp_path).stdout
        assert escaped in table and table.count("\n") == 2
        sample = otlp_gate("top", "--admin", admin, "--interval", 1, "-o", "json", cwd=tmp_path).stdout
        assert json.loads(sample)["clients"][0]["client"] == HostileMetrics.NAME
        assert "\x1b" not in sample and "\x07" not in sample


def test_several_gates_are_replicas(
    start: Callable[..., Gate], connect: Callable[..., Http2], acme: Identity, sink: Sink, tmp_path: Path
) -> None:
    gates = [start().ready(), start().ready()]
    connections = [connect(acme, gate.grpc) for gate in gates]
    senders = [lambda one=one: one.grpc(TRACES, frame(traces("a"))) for one in connections]
    admins = [word for gate in gates for word in ("--admin", gate.admin)]
    with Load(*senders):
        both = json.loads(otlp_gate("top", *admins, "-o", "json", cwd=tmp_path).stdout)
        one = json.loads(otlp_gate("top", *admins[:2], "-o", "json", cwd=tmp_path).stdout)
    assert [replica["name"] for replica in both["replicas"]] == sorted(gate.admin for gate in gates)
    (added,), (single,) = both["clients"], one["clients"]
    assert added["items"]["traces"] > 1.3 * single["items"]["traces"], (added, single)
    gates[1].stop()
    # One that cannot be read is named, and the other is shown.
    left = json.loads(otlp_gate("top", *admins, "-o", "json", cwd=tmp_path).stdout)
    errors = {replica["name"]: replica.get("error") for replica in left["replicas"]}
    assert errors[gates[0].admin] is None and errors[gates[1].admin]


PICTURE = Path(__file__).parent.parent / "docs/images/top.svg"


def test_the_picture_in_the_docs_shows_what_the_command_shows(
    start: Callable[..., Gate],
    connect: Callable[..., Http2],
    certificates: Certificates,
    stranger: Identity,
    sink: Sink,
    terminal: Callable[..., Terminal],
) -> None:
    """`OTLP_GATE_UPDATE_DOCS=1` writes the picture."""
    tenants = {"acme": "gold", "globex": "gold", "initech": "bronze"}
    rules = [
        rule(name, {"spiffe": f"spiffe://{name}.example/edge"}, name, quota=tier) for name, tier in tenants.items()
    ]
    tiers = {"gold": {"items": "2k/s", "burst": "10s"}, "bronze": {"items": "100/s", "burst": "2s"}}
    gate = start(config(*rules, quotas={"tiers": tiers})).ready()
    clients = {
        name: connect(certificates.client(f"{name}-top", "--spiffe", f"spiffe://{name}.example/edge"), gate.grpc)
        for name in tenants
    }
    unknown = connect(stranger, gate.grpc)
    forged = request(resource(attribute("tenant.id", "x")), scope(*(span("a") for _ in range(10))))
    senders = [
        lambda: clients["acme"].grpc(TRACES, frame(traces(*"a" * 60))),
        lambda: clients["globex"].grpc(TRACES, frame(forged)),
        lambda: clients["initech"].grpc(TRACES, frame(traces(*"a" * 20))),
        lambda: unknown.grpc(TRACES, frame(traces("a"))),
    ]
    with Load(*senders):
        top = terminal("top", "--admin", gate.admin, "--sort", "quota", columns=150, lines=10)
        # Throttled, forging, and unknown clients are all there.
        top.wait_for(r"initech .*over_quota[\s\S]*acme [\s\S]*globex [\s\S]*\(unknown\) .*unknown_client")
        header = re.findall(r"[A-Z/]+", top.screen.display[1])
        if os.environ.get("OTLP_GATE_UPDATE_DOCS"):
            PICTURE.parent.mkdir(exist_ok=True)
            PICTURE.write_text(svg(top.screen))
        top.type("q")
        assert top.end() == 0
    picture = PICTURE.read_text()
    missing = [title for title in header if title not in picture]
    assert not missing, f"docs/images/top.svg lacks {missing}: run this test with OTLP_GATE_UPDATE_DOCS=1"
