"""The `otlp-gate` command: its certificates, and a gate on this machine."""

import os
import queue
import re
import signal
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

from client import Identity

COMMAND = os.environ["OTLP_GATE"]
ENVOY = os.environ["ENVOY"]
READY = re.compile(r"ready grpc=(\S+) http=(\S+) admin=(\S+)")
COUNTER = re.compile(r"(otlp_gate_\w+)\{(.*)\} (\d+)")


def otlp_gate(*args: object, cwd: Path | None = None, check: bool = True) -> subprocess.CompletedProcess:
    """Runs the command to its end. `NO_COLOR` and no terminal: what it says is plain text."""
    return subprocess.run(
        [COMMAND, *map(str, args)],
        cwd=cwd,
        check=check,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


class Certificates:
    """A folder with CAs and certificates that `otlp-gate certs` makes."""

    def __init__(self, folder: Path, config: Path):
        self.folder = folder
        self.config = config

    def make(self) -> "Certificates":
        self.run("init", "--local")
        return self

    def run(self, *args: object) -> None:
        done = otlp_gate("-f", self.config, "certs", *args, "--dir", self.folder, check=False)
        assert done.returncode == 0, done.stderr

    def client(self, name: str, *args: object) -> Identity:
        """A client's certificate; made at the first call."""
        certificate = self.folder / "clients" / f"{name}.crt"
        if not certificate.exists():
            # Tests make what they like, also what the config has no client for.
            self.run("client", name, *args, "--unchecked")
        return Identity(certificate, certificate.with_suffix(".key"), self.folder / "server-ca.crt")


class Gate:
    """`otlp-gate local`, from its start to its end."""

    def __init__(self, config: Path, certificates: Path, grpc_port: int, http_port: int, *args: object):
        self.config = config
        command = [COMMAND, "-f", config, "local", "--certs", certificates, "--envoy", ENVOY]
        command += [] if "--concurrency" in args else ["--concurrency", "2"]
        command += [] if "--backend" in args else ["--backend", f"127.0.0.1:{grpc_port}"]
        command += ["--backend-http", f"127.0.0.1:{http_port}"]
        command += args if "--grpc" in args else ["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", *args]
        self.process = subprocess.Popen(
            [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.stdout: queue.Queue[str | None] = queue.Queue()
        self.stderr: queue.Queue[str | None] = queue.Queue()
        for pipe, lines in ((self.process.stdout, self.stdout), (self.process.stderr, self.stderr)):
            threading.Thread(target=self._read, args=(pipe, lines), daemon=True).start()
        self.said: list[str] = []

    @staticmethod
    def _read(pipe, lines: queue.Queue) -> None:
        for line in pipe:
            lines.put(line.rstrip("\n"))
        lines.put(None)

    def ready(self) -> "Gate":
        """Waits for the one line on stdout."""
        line = self.stdout.get(timeout=40)
        if line is None:
            raise AssertionError(f"it ended with {self.process.wait(10)}:\n{self.rest_of_stderr()}")
        match = READY.fullmatch(line)
        assert match, f"not the line that it should print: {line}"
        self.grpc, self.http, self.admin = match.groups()
        return self

    def says(self, *words: str, timeout: float = 15) -> str:
        """Waits for a line on stderr that contains all of these words."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                line = self.stderr.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"it never said {words}, but:\n" + "\n".join(self.said)) from None
            assert line is not None, f"it ended and never said {words}, but:\n" + "\n".join(self.said)
            self.said.append(line)
            if all(word in line for word in words):
                return line

    def write_config(self, text: str) -> None:
        """Replaces the config file as editors do: by a rename."""
        new = self.config.with_suffix(".new")
        new.write_text(text)
        new.replace(self.config)

    def stats(self, name: str) -> dict[str, int]:
        """Envoy's statistics whose names contain `name`."""
        with urllib.request.urlopen(f"http://{self.admin}/stats?filter={name}", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rsplit(": ", 1) for line in lines)
        return {key: int(value) for key, value in pairs if value.isdigit()}

    def counters(self) -> dict[tuple[str, frozenset], int]:
        """Our counters as Prometheus reads them, by name and labels."""
        with urllib.request.urlopen(f"http://{self.admin}/stats/prometheus?filter=otlp_gate_", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        found = (match.groups() for match in map(COUNTER.fullmatch, lines) if match)
        return {(name, frozenset(re.findall(r'(\w+)="([^"]*)"', labels))): int(value) for name, labels, value in found}

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ends it and gives its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(20)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()

    def rest_of_stderr(self) -> str:
        while (line := self.stderr.get(timeout=10)) is not None:
            self.said.append(line)
        return "\n".join(self.said)
