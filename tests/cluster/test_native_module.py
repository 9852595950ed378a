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

# Images of this cluster: Envoy with the module, and without.
WITH = {"url": "oci://localhost/envoy-otlp-gate:1"}
WITHOUT = {
    "url": "oci://docker.io/envoyproxy/envoy",
    "sha256": "eb2c01c13125d1629637cb4e4cce7207009fb7cc2c8027f9742758549d15b6f4",
}


def use_image(gate: Installation, image: dict) -> None:
    gate.change(lambda config: config["gateway"].update(module=image))


def metrics(gate: Installation, kubectl: Kubectl) -> list[str]:
    """The names of the filter's metrics, as Prometheus reads them from a proxy."""
    namespace, pod = (
        kubectl("get", "pods", *gate.proxies(), "-o", f"jsonpath={{.items[0].metadata.{of}}}")
        for of in ("namespace", "name")
    )
    text = kubectl("get", "--raw", f"/api/v1/namespaces/{namespace}/pods/{pod}:19001/proxy/stats/prometheus")
    return [line.split("{")[0] for line in text.splitlines() if "otlp_gate_" in line and not line.startswith("#")]


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
            # Envoy finds no module, so the pods do not start.
            assert "otlp-gate-module" in gate.apply_fails("otlp-gate-module")
            log = kubectl("logs", *gate.proxies(), "-c", "otlp-gate-module", "--tail=-1")
            assert "libotlp_gate.so" in log, log
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
            assert all(name.startswith("otlp_gate_") for name in metrics(gate, kubectl))
            assert "otlp_gate_policy_revision" in metrics(gate, kubectl)
            outcome = load.outcome()
        finally:
            gate.run("delete", "--yes", code=None)
    print(f"clients moved to the native module: {outcome}")
    assert outcome.ok, outcome
