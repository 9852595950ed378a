"""An image registry on this machine."""

import json
import os
import socket
import subprocess
from pathlib import Path

from support.cluster.installation import MACHINE, wait_until
from support.ports import ReservedPort

REGISTRY = os.environ.get("REGISTRY", "registry")


class Registry:
    """A registry without TLS, which clients accept for private addresses. `stop` keeps the images and the port."""

    def __init__(self, folder: Path) -> None:
        self._port = ReservedPort(MACHINE)
        self.address = self._port.address
        self.config = folder / "registry.json"
        # JSON is YAML.
        config = {
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": str(folder / "images")}},
            "http": {"addr": self.address},
        }
        self.config.write_text(json.dumps(config))
        self.log = folder / "registry.log"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([REGISTRY, "serve", self.config], stdout=log, stderr=log)
        connect = lambda: socket.create_connection((self._port.host, self._port.number))
        wait_until(connect, "the registry listens", 60).close()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)

    def close(self) -> None:
        """Stops, and gives up the port."""
        self.stop()
        self._port.close()
