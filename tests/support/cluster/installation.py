"""Gates in a cluster, deployed with the `otlp-gate` command."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from support import waiting
from support.client import Http2, Identity, handshake_fails
from support.gate import COMMAND

PROVIDER = os.environ.get("OTLP_GATE_PROVIDER", "istio")
# The address at which pods reach this machine.
MACHINE = os.environ.get("OTLP_GATE_MACHINE", "10.244.255.1")
KUBECTL = os.environ.get("KUBECTL", "kubectl")
# Seconds that a change in the cluster may take on a loaded machine.
TIMEOUT = 180
# A name in certificates that no rule matches.
STRANGER = "spiffe://stranger.example/1"
T = TypeVar("T")

# Namespace and label selector of the control plane's pods, and of a gateway's proxies and their Deployment.
CONTROL_PLANE, PROXIES = {
    "istio": (
        ("istio-system", "app=istiod"),
        ("{namespace}", "gateway.networking.k8s.io/gateway-name={name}"),
    ),
    "envoy-gateway": (
        ("envoy-gateway-system", "control-plane=envoy-gateway"),
        (
            "envoy-gateway-system",
            "gateway.envoyproxy.io/owning-gateway-name={name},"
            "gateway.envoyproxy.io/owning-gateway-namespace={namespace}",
        ),
    ),
}[PROVIDER]


class Kubectl:
    """kubectl. If it fails, the test fails."""

    def __call__(self, *args: str, stdin: str | None = None) -> str:
        done = self.attempt(*args, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(args)}: {done.stderr}"
        return done.stdout

    def attempt(self, *args: str, stdin: str | None = None) -> subprocess.CompletedProcess:
        """Runs kubectl, which may fail."""
        command = [*KUBECTL.split(), *args]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=TIMEOUT, check=False)

    def json(self, *args: str) -> dict:
        return json.loads(self(*args, "-o", "json"))

    def apply(self, *objects: dict) -> None:
        self("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def ensure_namespace(self, name: str) -> None:
        """Creates a namespace that tests of other processes may create at the same time."""
        self.wait_until_not_terminating(name)
        done = self.attempt("create", "namespace", name)
        assert done.returncode == 0 or "AlreadyExists" in done.stderr, done.stderr

    def wait_until_not_terminating(self, name: str) -> None:
        """Waits for the end of a namespace that tests before have deleted."""
        phase = lambda: self("get", "namespace", name, "--ignore-not-found", "-o", "jsonpath={.status.phase}")
        wait_until(lambda: phase() != "Terminating", f"the namespace {name} of tests before is gone")


def kill(kubectl: Kubectl, *pods: str) -> None:
    """Kills pods without a grace period."""
    kubectl("delete", "pod", *pods, "--grace-period=0", "--force", "--wait=false")


class Installation:
    """A folder with otlp-gate.yaml and certificates, and the gate that is deployed from it."""

    def __init__(self, folder: Path, namespace: str):
        self.folder = folder
        self.namespace = namespace
        self._address: str | None = None

    @property
    def config(self) -> dict:
        return json.loads((self.folder / "otlp-gate.yaml").read_text())

    # JSON is YAML.
    @config.setter
    def config(self, config: dict) -> None:
        (self.folder / "otlp-gate.yaml").write_text(json.dumps(config, indent=1))

    def configure(self, backend: str, module_url: str | None) -> None:
        """Writes a config with three clients. The Collector exports to `backend`."""
        exporter = {"endpoint": backend, "tls": {"insecure": True}}
        self.config = {
            "apiVersion": "otlp-gate/v1",
            "gateway": {
                "provider": PROVIDER,
                "namespace": self.namespace,
                "hostname": "localhost",
                "replicas": 1,
                **({"module": {"url": module_url}} if module_url else {}),
            },
            # With one provider profiles are accepted, with the other one they are rejected.
            "backend": {"collector": {"exporters": {"otlp_grpc": exporter}, "profiles": PROVIDER == "istio"}},
            "clients": [
                {"name": "acme", "match": {"spiffe": "spiffe://acme.example/*"}, "attributes": {"tenant.id": "acme"}},
                {
                    "name": "globex",
                    "match": {"dns": "*.globex.example"},
                    "attributes": {"tenant.id": "globex"},
                    "quota": "few",
                },
                {
                    "name": "initech",
                    "match": {"dns": "*.initech.example"},
                    "attributes": {"tenant.id": "initech"},
                    "quota": "steady",
                },
            ],
            "attributes": {"otlp_gate.client": "{name}"},
            "quotas": {"tiers": {"few": {"spans": "1/s", "burst": "20s"}, "steady": {"spans": "20/s", "burst": "1s"}}},
        }

    def change(self, change: Callable[[dict], None]) -> None:
        """Changes the config. Tests that share the gate find what the change leaves, so none may admit the stranger."""
        config = self.config
        change(config)
        assert "stranger" not in json.dumps(config.get("clients")), config["clients"]
        self.config = config

    def run(
        self, *args: str, code: int | None = 0, env: dict[str, str] | None = None, command: str = COMMAND
    ) -> subprocess.CompletedProcess:
        """Runs the command in the folder. Asserts the exit code, unless it is None."""
        if "delete" in args:
            self._address = None
        done = subprocess.run(
            [command, *args],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=TIMEOUT * 2,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
        )
        assert code in (None, done.returncode), f"{args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *args: str, code: int | None = 0, command: str = COMMAND) -> dict:
        """The command's output as JSON, which must be one line."""
        lines = self.run(*args, "-o", "json", code=code, command=command).stdout.splitlines()
        assert len(lines) == 1, lines
        return json.loads(lines[0])

    def proxies(self) -> tuple[str, ...]:
        """Arguments of kubectl that select the gateway's Deployment and pods."""
        name = self.config["gateway"].get("name", "otel-gateway")
        namespace, selector = (text.format(namespace=self.namespace, name=name) for text in PROXIES)
        return ("-n", namespace, "-l", selector)

    def apply(self, *args: str) -> dict:
        return self.json("apply", "--timeout", f"{TIMEOUT * 3 // 2}s", *args)

    def apply_fails(self, why: str) -> str:
        """Applies a config that does not become ready, waits until `status` reports `why`, and returns the errors of a
        second `apply`."""
        self.run("apply", "--no-wait")
        wait_until(lambda: why in self.run("status", code=1).stdout, f"status reports: {why}")
        return self.run("apply", "--timeout", "1s", code=1).stderr

    def address(self) -> str:
        """The gateway's address, which it keeps until it is deleted."""
        if self._address is None:
            self._address = self.json("status")["addresses"][0]
        return self._address

    def client(self, name: str, *args: str) -> Identity:
        """The certificate of this name; issued at the first call."""
        certs = self.folder / "certs"
        certificate = certs / "clients" / f"{name}.crt"
        if not certificate.exists():
            self.run("certs", "client", name, *args, "--unchecked")
        return Identity(certificate, certificate.with_suffix(".key"), certs / "server-ca.crt")

    def acme(self) -> Identity:
        return self.client("acme", "--spiffe", "spiffe://acme.example/1")

    def globex(self) -> Identity:
        return self.client("globex", "--dns", "berlin.globex.example")

    def initech(self) -> Identity:
        return self.client("initech", "--dns", "oslo.initech.example")

    def stranger(self) -> Identity:
        """A client that no rule matches, in any test."""
        return self.client("stranger", "--spiffe", STRANGER)

    def connect(self, identity: Identity, port: int = 4317) -> Http2:
        # Connections to a Service are refused until kube-proxy has its endpoints, shortly after they are ready.
        address = f"{self.address()}:{port}"
        return wait_until(lambda: Http2(address, identity), f"{address} accepts a connection", 60)

    def wait_until_rejected(self, identity: Identity) -> None:
        """Waits until new connections with this certificate are rejected."""
        address = f"{self.address()}:4317"
        wait_until(lambda: handshake_fails(address, identity.context("h2")), "the certificate is rejected")

    def verify(self, code: int | None = 0) -> dict:
        """The outcome of `otlp-gate verify` from this machine."""
        return self.json("verify", "--address", self.address(), code=code)


def wait_until(
    condition: Callable[[], T],
    what: str,
    timeout: float = TIMEOUT,
    *,
    retry_on: tuple[type[Exception], ...] = (AssertionError, OSError),
) -> T:
    """`support.waiting.wait_until` with a timeout for changes in a cluster."""
    return waiting.wait_until(condition, what, timeout, retry_on=retry_on, interval=0.1)
