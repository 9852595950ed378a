"""The `otlp-gate` command against a cluster, and kubectl beside it."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from client import Http2, Identity, refused
from gate import COMMAND

PROVIDER = os.environ.get("OTLP_GATE_PROVIDER", "istio")
# This machine, as the cluster's pods see it.
MACHINE = os.environ.get("OTLP_GATE_MACHINE", "10.244.255.1")
KUBECTL = os.environ.get("KUBECTL", "kubectl")
# Waiting for pods takes as long as it takes on a loaded machine.
PATIENCE = 120


# Where the control plane's pods are, and how they are selected; and the same of a gateway's proxies and their Deployment.
CONTROL_PLANE, PROXIES = {
    "istio": (
        ("istio-system", "app=istiod"),
        ("{namespace}", "gateway.networking.k8s.io/gateway-name=otel-gateway"),
    ),
    "envoy-gateway": (
        ("envoy-gateway-system", "control-plane=envoy-gateway"),
        (
            "envoy-gateway-system",
            "gateway.envoyproxy.io/owning-gateway-name=otel-gateway,"
            "gateway.envoyproxy.io/owning-gateway-namespace={namespace}",
        ),
    ),
}[PROVIDER]


class Kubectl:
    """kubectl, whose failure is the test's."""

    def __call__(self, *args: str, stdin: str | None = None) -> str:
        command = [*KUBECTL.split(), *args]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def json(self, *args: str) -> dict:
        return json.loads(self(*args, "-o", "json"))

    def apply(self, *objects: dict) -> None:
        self("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


def kill(kubectl: Kubectl, *pods: str) -> None:
    """Ends pods at once, with no time to say farewell."""
    kubectl("delete", "pod", *pods, "--grace-period=0", "--force", "--wait=false")


class Deployed:
    """A folder with otlp-gate.yaml and certificates, and the gate that follows from it."""

    def __init__(self, folder: Path, namespace: str):
        self.folder = folder
        self.namespace = namespace

    @property
    def config(self) -> dict:
        return json.loads((self.folder / "otlp-gate.yaml").read_text())

    # JSON is YAML.
    @config.setter
    def config(self, config: dict) -> None:
        (self.folder / "otlp-gate.yaml").write_text(json.dumps(config, indent=1))

    def configure(self, backend: str, module_url: str | None) -> None:
        """A config with three clients, whose telemetry ends up at `backend`."""
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
            "backend": {"collector": {"exporters": {"otlp_grpc": exporter}}},
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
        config = self.config
        change(config)
        self.config = config

    def run(
        self, *args: str, code: int = 0, env: dict[str, str] | None = None, command: str = COMMAND
    ) -> subprocess.CompletedProcess:
        """Runs the command in the folder, and expects this exit code."""
        done = subprocess.run(
            [command, *args],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE * 2,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
        )
        assert done.returncode == code, f"{args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *args: str, code: int = 0, command: str = COMMAND) -> dict:
        """What the command gives as one line of JSON."""
        lines = self.run(*args, "-o", "json", code=code, command=command).stdout.splitlines()
        assert len(lines) == 1, lines
        return json.loads(lines[0])

    def proxies(self) -> tuple[str, ...]:
        """Selects the gateway's Deployment and pods, as kubectl's arguments."""
        namespace, selector = (text.format(namespace=self.namespace) for text in PROXIES)
        return ("-n", namespace, "-l", selector)

    def apply(self, *args: str) -> dict:
        return self.json("apply", *args)

    def apply_fails(self, why: str) -> str:
        """Applies what does not come up, waits until it is known why, and gives what `apply` then says."""
        self.run("apply", "--no-wait")
        eventually(lambda: why in self.run("status", code=1).stdout)
        return self.run("apply", "--timeout", "1s", code=1).stderr

    def address(self) -> str:
        return self.json("status")["addresses"][0]

    def client(self, name: str, *args: str) -> Identity:
        """A client's certificate; made at the first call."""
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

    def connect(self, identity: Identity, port: int = 4317) -> Http2:
        # A Service is refused until kube-proxy knows of its endpoints, which is a moment after they are ready.
        address = f"{self.address()}:{port}"
        return eventually(lambda: Http2(address, identity), 20)

    def shuts_out(self, identity: Identity) -> None:
        """Waits until new connections of this certificate are refused."""
        address = f"{self.address()}:4317"
        eventually(lambda: refused(address, identity.context("h2")), 60)


def eventually(what: Callable[[], object], patience: float = PATIENCE) -> object:
    """The first answer that is not false; the last failure if there is none in time."""
    deadline = time.monotonic() + patience
    while True:
        last: Exception | None = None
        try:
            if found := what():
                return found
        except (AssertionError, OSError) as error:
            last = error
        if time.monotonic() > deadline:
            raise last or AssertionError(f"it never came true in {patience} s")
        time.sleep(0.1)
