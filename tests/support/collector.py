"""A real Collector with the configuration that `otlp-gate render` writes for it."""

import os
import subprocess
import textwrap
from pathlib import Path

from support.gate import otlp_gate
from support.ports import ReservedPort
from support.waiting import wait_until

# The Collector of the test cluster. Its name is also the first word of its commands.
OTELCOL = os.environ.get("OTELCOL", "")
# Without this feature gate it has no pipelines for profiles.
PROFILES = "--feature-gates=service.profilesSupport"


def rendered(folder: Path, config: object) -> Path:
    """The Collector's configuration for a gate with this config."""
    file = folder / "otlp-gate.yaml"
    file.write_text(str(config))
    out = folder / "rendered"
    otlp_gate("-f", file, "render", "--out", out)
    return extracted(out / "configmap-otel-gateway-collector.yaml", folder / "collector.yaml")


def extracted(config_map: Path, to: Path) -> Path:
    """The Collector's configuration in a ConfigMap: a block of text, indented by more than its key."""
    _, _, block = config_map.read_text().partition("  config.yaml: |")
    lines = block.split("\n")[1:]
    inside = [line for line in lines if not line or line.startswith("    ")]
    assert inside, f"no configuration in {config_map}"
    to.write_text(textwrap.dedent("\n".join(lines[: len(inside)])))
    return to


def validate(config: Path, *args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    """The Collector's own check of a configuration."""
    command = [OTELCOL, "validate", f"--config={config}", *args]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**os.environ, **(env or {})}, check=False
    )


class Collector:
    """A running Collector. It listens on ports of its own, in plain text; all else is as in its configuration, with
    `settings` on top: paths such as `exporters::otlp_grpc::endpoint`, and their values."""

    def __init__(self, folder: Path, config: Path, *args: str, env: dict[str, str] | None = None, **settings: object):
        self.log = folder / "collector.log"
        self.env = {**os.environ, **(env or {})}
        with ReservedPort() as grpc, ReservedPort() as http, ReservedPort() as health:
            self.grpc_port, self.http_port, self._health = grpc.number, http.number, health
            settings = {
                "receivers::otlp::protocols::grpc::endpoint": grpc.address,
                "receivers::otlp::protocols::http::endpoint": http.address,
                "receivers::otlp::protocols::grpc::tls": "null",
                "receivers::otlp::protocols::http::tls": "null",
                "extensions::health_check::endpoint": health.address,
                "service::telemetry::metrics::level": "none",
                **settings,
            }
            self.command = [OTELCOL, f"--config={config}", *args]
            self.command += [f"--config=yaml:{path}: {value}" for path, value in settings.items()]
            self.start()

    def start(self) -> "Collector":
        """Starts it, on the same ports as before."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, env=self.env, stdout=log, stderr=log)
        wait_until(self._ready, f"the Collector is ready: {self.log}", 30, retry_on=(OSError,))
        return self

    def _ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        return "Everything is ready" in self.log.read_text()

    def kill(self) -> None:
        """Ends it at once, as the kernel does without memory."""
        self.process.kill()
        self.process.wait(10)
        self.log.write_text("")

    def stop(self) -> None:
        """Ends it as Kubernetes does."""
        self.process.terminate()
        self.process.wait(30)
        self.log.write_text("")
