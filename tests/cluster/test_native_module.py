"""The filter as a dynamic module of Envoy Gateway's proxies, under steady load."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from support.client import secure_channel
from support.cluster.installation import PROVIDER, Installation, Kubectl, wait_until
from support.cluster.load import GateLoad
from support.sink import Sink

pytestmark = pytest.mark.skipif(PROVIDER == "istio", reason="Istio has no API for dynamic modules")

# Images of this cluster: Envoy with the module, and one without.
WITH, WITHOUT = "oci://localhost/envoy-otlp-gate:1", "oci://docker.io/envoyproxy/gateway:v1.9.1"


def use_image(gate: Installation, image: str) -> None:
    gate.change(lambda config: config["gateway"].update(module={"url": image}))


def test_clients_move_to_a_gate_with_the_native_module_under_load(
    deploy: Callable[..., Installation], backend: Sink, kubectl: Kubectl, tmp_path: Path
) -> None:
    former = deploy("native")
    former.apply()
    # The gate's objects have other names, and the same clients and CAs.
    shutil.copytree(former.folder, tmp_path / "native")
    gate = Installation(tmp_path / "native", "native")
    gate.change(lambda config: config["gateway"].update(host="native"))
    use_image(gate, WITHOUT)
    assert "name it otel-gateway-native" in gate.run("check", code=1).stderr
    gate.change(lambda config: config["gateway"].update(name="otel-gateway-native"))
    gate.run("certs", "init", "--local")

    def starting() -> bool:
        """Whether a pod waits for the module."""
        pods = kubectl.json("get", "pods", *gate.proxies())["items"]
        return any(not it["ready"] for pod in pods for it in pod["status"].get("initContainerStatuses", []))

    with GateLoad(former, backend) as load:
        try:
            # The image cannot load the module, so its pods do not start.
            assert "otlp-gate-module" in gate.apply_fails("otlp-gate-module")
            load.wait_for()
            use_image(gate, WITH)
            gate.apply()
            load.wait_for()
            # Those that have not moved lose their gate, and are not forwarded without its filter.
            failed = len(load.failed)
            former.run("delete", "--yes")
            wait_until(lambda: len(load.failed) > failed + 100, "the former gate serves nobody")
            load.use(secure_channel(f"{gate.address()}:4317", gate.acme().credentials()))
            load.wait_for()
            # The policy reaches running proxies.
            gate.change(lambda config: config["attributes"].update(changed="{name}"))
            gate.apply()
            load.wait_for()
            # The former pods go on.
            use_image(gate, WITHOUT)
            assert "otlp-gate-module" in gate.apply_fails("otlp-gate-module")
            assert starting()
            load.wait_for()
            use_image(gate, WITH)
            gate.apply()
            load.wait_for()
            assert gate.verify()["ok"]
            checks = {check["subject"]: check["verdict"] for check in gate.json("doctor")["checks"]}
            assert checks["native module"] == "pass"
            assert gate.json("top", "--interval", "1")["clients"]
            outcome = load.outcome()
        finally:
            gate.run("delete", "--yes", code=None)
    print(f"clients moved to the native module: {outcome}")
    assert outcome.ok, outcome
