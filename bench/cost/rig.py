"""The programs of one part: what is measured, and what it needs."""

import contextlib
import dataclasses
import json
import pathlib

from . import collectors, envoys, processes
from .policies import POLICY

# The columns of what is measured.
NONE, NOOP, COPY = "no filter", "no-op filter", "copying filter"
WASM, NATIVE, EARLIER = "Wasm", "native", "earlier Wasm"
RECEIVER, HOP = "Collector", "Collector hop"
GATES = (WASM, NATIVE)


@dataclasses.dataclass(frozen=True)
class Measured:
    """A running program: its process, and the ports by which plain requests reach it."""

    pid: int
    port: int
    json_port: int


class Rig(contextlib.ExitStack):
    """Starts programs, which end with the rig."""

    def __init__(self, options, folder):
        super().__init__()
        self.options, self.folder = options, folder
        self.modules = {NOOP: options.noop, COPY: options.copy, WASM: options.gate, NATIVE: options.native}
        if options.earlier:
            self.modules[EARLIER] = options.earlier
        self.backend = self.sink("sink")

    @property
    def rounds(self):
        return 3 if self.options.quick else 7

    def fewer(self, requests):
        return max(30, requests // (4 if self.options.quick else 1))

    def sink(self, name, **chain):
        """Starts a backend, and returns its port."""
        port = processes.free_port()
        self.envoy(envoys.sink(port, **chain), name)
        return port

    def gateway(self, column):
        """An Envoy without a filter, or with one that is not otlp-gate."""
        filters = [envoys.wasm_filter(self.modules[column], None)] if column in self.modules else []
        port, name = processes.free_port(), file_name(column)
        pid = self.envoy(envoys.gateway(port, self.backend, self.folder, filters), name)
        return self.client(pid, port, name)

    def gate(self, column, name=None, policy=POLICY, **more):
        """An Envoy with otlp-gate as it is in this column."""
        name = file_name(name or column)
        pid, port = self.bare_gate(column, name, policy, **more)
        return self.client(pid, port, name)

    def gate_behind_hop(self, column, name, policy, clusters=()):
        """An Envoy with otlp-gate, and a trusted hop before it."""
        name = file_name(name)
        pid, port = self.bare_gate(column, name, policy, clusters=clusters)
        plain = processes.free_port()
        self.envoy(envoys.trusted_hop(plain, port, self.folder), f"hop-of-{name}")
        return Measured(pid, plain, plain)

    def bare_gate(self, column, name, policy, workers=1, backend=None, **more):
        module = self.modules[column]
        own = envoys.native_filter(policy) if column == NATIVE else envoys.wasm_filter(module, policy)
        port = processes.free_port()
        config = envoys.gate(port, backend or self.backend, self.folder, own, policy, **more)
        return self.envoy(config, name, workers), port

    def client(self, pid, port, name):
        plain = processes.free_port()
        self.envoy(envoys.client(plain, port, self.folder), f"client-of-{name}")
        return Measured(pid, plain, plain)

    def collectors(self):
        """A Collector that receives, and one that forwards to it; none without a Collector's binary."""
        if not self.options.otelcol:
            return {}
        receiver, hop = ((processes.free_port(), processes.free_port()) for _ in range(2))
        configs = {
            RECEIVER: (receiver, collectors.receiver(*receiver)),
            HOP: (hop, collectors.hop(*hop, receiver[0])),
        }
        return {
            name: Measured(self.collector(config, ports, file_name(name)), *ports)
            for name, (ports, config) in configs.items()
        }

    def collector(self, config, ports, name):
        command = [self.options.otelcol, "--config", self.written(config, name)]
        return self.enter_context(processes.running(command, ports, self.folder, name))

    def envoy(self, config, name, workers=1):
        file = self.written(config, name)
        command = [self.options.envoy, "-c", file, "--concurrency", workers, "--disable-hot-restart", "-l", "error"]
        ports = [it["address"]["socket_address"]["port_value"] for it in config["static_resources"]["listeners"]]
        modules = {"ENVOY_DYNAMIC_MODULES_SEARCH_PATH": str(pathlib.Path(self.options.native).parent)}
        return self.enter_context(processes.running(command, ports, self.folder, name, modules))

    def written(self, config, name):
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps(config))
        return file


def file_name(text):
    return text.replace(" ", "-")
