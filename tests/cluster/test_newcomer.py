"""The README's commands for a cluster, in their order: from nothing to a ready gate, and its removal."""

import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cluster.installation import KUBECTL, PROVIDER, TIMEOUT, Installation, Kubectl

NAMESPACE = "otel-collector"
README = Path(__file__).parents[2] / "README.md"
# Texts in the output of each command, on standard output or standard error, and exit codes other than 0.
OUTPUT = {
    "init": ["wrote otlp-gate.yaml; edit it, then run `otlp-gate check`"],
    "certs init --local": ["server.crt", "client-ca.crt"],
    "certs client acme-edge": ["the certificate identifies the client `acme-edge`", "acme-edge.crt"],
    "doctor": ["you may apply all of the gate's objects"],
    "diff": ["+++ gateway/otel-gateway desired"],
    "apply": ["created", "waiting for", "0 removed", "the gate is ready: otel.example.com at ", "`otlp-gate verify`"],
    "verify": ["traces at the backend", "forged attributes at the backend: removed", "0 failed, 0 skipped"],
    "status": ["policy", "in 2 of 2 proxies", "quotas apply per replica"],
    "client-config acme-edge": ["endpoint: otel.example.com:4317", "clients/acme-edge.crt"],
}
CODES = {"diff": 1}


def commands() -> list[list[str]]:
    """The README's `otlp-gate` commands for a cluster, in their order."""
    blocks = "".join(re.findall(r"^```sh\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL))
    lines = re.findall(r"^otlp-gate (.*?)(?:   .*)?$", blocks, re.MULTILINE)
    on_one_machine = ("demo", "local")
    return [words for line in lines if (words := line.split())[0] not in on_one_machine]


class Watch:
    """The times at which objects of a kind in the gate's namespace first and last changed."""

    def __init__(self, kind: str) -> None:
        self.first = self.last = 0.0
        columns = "custom-columns=NAMESPACE:.metadata.namespace,NAME:.metadata.name"
        command = [*KUBECTL.split(), "get", kind, "--all-namespaces", "--watch-only", "-o", columns]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout:
            # Other gates may change as well. Objects in the provider's own namespace have this one in their names.
            if NAMESPACE not in line:
                continue
            self.last = time.monotonic()
            self.first = self.first or self.last

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture
def installation(tmp_path: Path, kubectl: Kubectl) -> Iterator[Installation]:
    # Another test deletes a namespace of this name.
    kubectl("wait", "--for=delete", f"namespace/{NAMESPACE}", f"--timeout={TIMEOUT}s")
    installation = Installation(tmp_path, NAMESPACE)
    yield installation
    if (tmp_path / "otlp-gate.yaml").exists():
        installation.run("delete", "--yes")
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false")


def edit(installation: Installation, module_url: str) -> None:
    """The changes that a cluster without Istio needs."""
    if PROVIDER == "istio":
        return
    file = installation.folder / "otlp-gate.yaml"
    text = file.read_text()
    assert text.count("\ngateway:\n") == 1
    file.write_text(
        text.replace("\ngateway:\n", f"\ngateway:\n  provider: {PROVIDER}\n  module: {{url: {module_url}}}\n")
    )


@pytest.mark.alone
def test_the_readmes_commands(installation: Installation, module_url: str, kubectl: Kubectl) -> None:
    typed = []
    for words in commands():
        command = " ".join(word for word in words if "spiffe" not in word)
        typed.append(command)
        watches = [Watch(kind) for kind in ("deployments", "gateways", "pods")] if command == "apply" else []
        begun = time.monotonic()
        done = installation.run(*words, code=CODES.get(command, 0))
        ended = time.monotonic()
        output = done.stdout + done.stderr
        assert all(words in output for words in OUTPUT[command]), output
        if command == "init":
            edit(installation, module_url)
        if watches:
            first, last = min(watch.first for watch in watches), max(watch.last for watch in watches)
            own = (first - begun) + (ended - last)
            print(
                f"apply took {ended - begun:.1f} s: {first - begun:.1f} s before the first change in the cluster, "
                f"and {ended - last:.1f} s after the last"
            )
            # `apply` itself takes less than a second on an idle machine.
            assert begun < first < last < ended and own < 5
            for watch in watches:
                watch.stop()
    assert set(typed) == set(OUTPUT), "the README and this test differ"
    output = installation.run("delete").stderr
    assert "removed gateway/otel-gateway in otel-collector" in output and "the namespace stays" in output, output
    assert "there are no objects of the gate" in installation.run("delete").stderr
    left = kubectl.json("get", "all,configmaps,secrets", "-n", NAMESPACE, "-l", "otlp-gate.io/gate")["items"]
    assert [one["metadata"]["name"] for one in left if not one["metadata"].get("deletionTimestamp")] == [], json.dumps(
        left
    )
