"""Envoys beside the gate's own: backends, and whatever stands before them."""

import json
import subprocess
import time
import urllib.request
from pathlib import Path

from gate import ENVOY

# Where one listens that is free to choose.
ANYWHERE = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}}


class Envoy:
    """One with this bootstrap, in a folder of its own."""

    def __init__(self, folder: Path, bootstrap: dict, *args: str):
        self.admin = folder / "admin"
        file = folder / "bootstrap.json"
        file.write_text(json.dumps({"node": {"id": "test", "cluster": "test"}, "admin": ANYWHERE, **bootstrap}))
        command = [ENVOY, "-c", file, "--admin-address-path", self.admin, "--use-dynamic-base-id", "-l", "error", *args]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def listens(self) -> int:
        """The port of its first listener, once it has one."""
        deadline = time.monotonic() + 20
        while True:
            try:
                listeners = json.loads(self.ask("listeners?format=json"))["listener_statuses"]
                return listeners[0]["local_address"]["socket_address"]["port_value"]
            except (OSError, ValueError, KeyError, IndexError):
                assert time.monotonic() < deadline and self.process.poll() is None
                time.sleep(0.05)

    def stat(self, name: str) -> int:
        """One of its statistics."""
        return int(self.ask(f"stats?filter={name}").rsplit(": ", 1)[1])

    def ask(self, path: str) -> str:
        """What its admin interface has there."""
        with urllib.request.urlopen(f"http://{self.admin.read_text()}/{path}", timeout=10) as answer:
            return answer.read().decode()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)
