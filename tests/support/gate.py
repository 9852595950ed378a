"""The `otlp-gate` command: its certificates, and a gate on this machine (`otlp-gate local`)."""

import os
import queue
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

from support.client import Identity
from support.config import Config

COMMAND = os.environ["OTLP_GATE"]
ENVOY = os.environ["ENVOY"]
# The native module that all gates run; without it they run the Wasm module.
NATIVE_MODULE = os.environ.get("NATIVE_MODULE")
READY = re.compile(r"ready grpc=(\S+) http=(\S+) admin=(\S+)")
COUNTER = re.compile(r"(otlp_gate_\w+)\{(.*)\} (\d+)")


def otlp_gate(
    *args: object, cwd: Path | None = None, check: bool = True, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess:
    """Runs the command to its end, with more variables. Without a terminal its output is plain text."""
    return subprocess.run(
        [COMMAND, *map(str, args)],
        cwd=cwd,
        check=check,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(env or {})},
    )


class Certificates:
    """A folder with the CAs and certificates of `otlp-gate certs`."""

    def __init__(self, folder: Path, config: Path):
        self.folder = folder
        self.config = config

    def init(self) -> "Certificates":
        self.run("init", "--local")
        return self

    def copy(self, folder: Path) -> "Certificates":
        """The same CAs and certificates in another folder."""
        shutil.copytree(self.folder, folder)
        return Certificates(folder, self.config)

    def run(self, *args: object) -> None:
        done = otlp_gate("-f", self.config, "certs", *args, "--dir", self.folder, check=False)
        assert done.returncode == 0, done.stderr

    def client(self, name: str, *args: object) -> Identity:
        """The certificate of this name; issued at the first call."""
        certificate = self.folder / "clients" / f"{name}.crt"
        if not certificate.exists():
            # Tests also use certificates that no rule matches.
            self.run("client", name, *args, "--unchecked")
        return Identity(certificate, certificate.with_suffix(".key"), self.folder / "server-ca.crt")


class Gate:
    """A running `otlp-gate local`."""

    def __init__(self, config: Path, certificates: Path, grpc_port: int, http_port: int, *args: object):
        self.config = config
        self.certificates = certificates
        command = [COMMAND, "-f", config, "local", "--certs", certificates, "--envoy", ENVOY]
        command += ["--native", "--module", NATIVE_MODULE] if NATIVE_MODULE else []
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
        # The lines of stderr that have been read so far.
        self.log: list[str] = []

    @staticmethod
    def _read(pipe, lines: queue.Queue) -> None:
        for line in pipe:
            lines.put(line.rstrip("\n"))
        lines.put(None)

    def ready(self) -> "Gate":
        """Waits for the line on stdout that has the addresses."""
        line = self.stdout.get(timeout=60)
        if line is None:
            raise AssertionError(f"otlp-gate ended with {self.process.wait(10)}:\n{self.rest_of_log()}")
        match = READY.fullmatch(line)
        assert match, f"unexpected line on stdout: {line}"
        self.grpc, self.http, admins = match.groups()
        # One for each of its replicas.
        self.admins = admins.split(",")
        self.admin = self.admins[0]
        return self

    def wait_for_log(self, *words: str, timeout: float = 30) -> str:
        """Waits for a line on stderr that contains all of these words, and returns it."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                line = self.stderr.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no line with {words} within {timeout} s:\n" + "\n".join(self.log)) from None
            assert line is not None, f"otlp-gate ended without a line with {words}:\n" + "\n".join(self.log)
            self.log.append(line)
            if all(word in line for word in words):
                return line

    def write_config(self, config: Config | str) -> None:
        """Replaces the config file by a rename, as editors do."""
        new = self.config.with_suffix(".new")
        new.write_text(str(config))
        new.replace(self.config)

    def update_policy(self, config: Config | str) -> None:
        """Replaces the config file, and waits until the gate has sent the new policy to Envoy."""
        self.write_config(config)
        self.wait_for_log("policy updated")

    def envoy_pid(self) -> int:
        """The process ID of its Envoy."""
        pid = self.process.pid
        (envoy,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(envoy)

    def envoy_command(self) -> list[str]:
        """The command line of its Envoy."""
        return Path(f"/proc/{self.envoy_pid()}/cmdline").read_text().split("\0")

    def stats(self, name: str, admin: str | None = None) -> dict[str, int]:
        """Envoy's statistics whose names match the regular expression `name`: the first replica's, or at `admin`."""
        with urllib.request.urlopen(f"http://{admin or self.admin}/stats?filter={name}", timeout=10) as response:
            lines = response.read().decode().splitlines()
        pairs = (line.rsplit(": ", 1) for line in lines)
        return {key: int(value) for key, value in pairs if value.isdigit()}

    def counters(self) -> dict[tuple[str, frozenset], int]:
        """The filter's metrics as Prometheus reads them, by name and labels."""
        with urllib.request.urlopen(f"http://{self.admin}/stats/prometheus?filter=otlp_gate_", timeout=10) as response:
            lines = response.read().decode().splitlines()
        found = (match.groups() for match in map(COUNTER.fullmatch, lines) if match)
        return {(name, frozenset(re.findall(r'(\w+)="([^"]*)"', labels))): int(value) for name, labels, value in found}

    def results(self) -> dict[str, int]:
        """The number of requests by their result, over all clients."""
        found: dict[str, int] = {}
        for (name, labels), count in self.counters().items():
            if name == "otlp_gate_requests_total":
                result = dict(labels)["result"]
                found[result] = found.get(result, 0) + count
        return found

    def crashes(self) -> int:
        """How often its filter has failed: restarts of a VM, or panics of the native module."""
        if not NATIVE_MODULE:
            reloads = self.stats("vm_reload")
            assert reloads, "Envoy has no such statistics"
            return sum(reloads.values())
        while not self.stderr.empty():
            if (line := self.stderr.get()) is not None:
                self.log.append(line)
        return sum("panicked at" in line for line in self.log)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ends the gate and returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(20)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()

    def rest_of_log(self) -> str:
        """All of stderr; waits for its end."""
        while (line := self.stderr.get(timeout=10)) is not None:
            self.log.append(line)
        return "\n".join(self.log)
