"""A registry for images on this machine."""

import json
import os
import socket
import subprocess
from pathlib import Path

from deployed import MACHINE, eventually

REGISTRY = os.environ.get("REGISTRY", "registry")


class Registry:
    """Without TLS, which clients of images accept for private addresses. What is pushed outlives a stop."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server((MACHINE, 0)) as free:
            self.address = f"{MACHINE}:{free.getsockname()[1]}"
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
        host, port = self.address.split(":")
        eventually(lambda: socket.create_connection((host, int(port))).close() or True, 20)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)
