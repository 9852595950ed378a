"""`monitoring` in a cluster: what its monitors select has metrics, and its CronJob verifies the gate."""

import re
import shlex
from collections.abc import Callable, Iterator

import pytest

from support.cluster.installation import Installation, Kubectl, wait_until

NAMESPACE = "monitored"
VERIFY = "otlp-gate-verify-otel-gateway"
# A metric of each kind of target.
METRIC = {"gateway": "otlp_gate_policy_revision", "collector": "otelcol_process_uptime"}


@pytest.fixture(scope="module")
def monitored(
    deploy: Callable[..., Installation], prometheus_operator: None, kubectl: Kubectl
) -> Iterator[Installation]:
    installation = deploy(NAMESPACE)
    kubectl.ensure_namespace(NAMESPACE)
    kubectl("get", "podmonitors.monitoring.coreos.com", "-A")
    installation.change(lambda config: config.update(monitoring={"verify": {"image": "localhost/otlp-gate:1"}}))
    missing = installation.run("apply", code=1).stderr
    command = re.search(r"`(kubectl create secret generic [^`]+)`", missing)
    assert command, missing
    kubectl(*(word.replace("=certs/", f"={installation.folder}/certs/") for word in shlex.split(command.group(1))[1:]))
    installation.apply()
    yield installation
    installation.run("delete", "--yes")


def test_every_monitor_selects_pods_with_metrics(monitored: Installation, kubectl: Kubectl) -> None:
    monitors = kubectl.json("get", "podmonitors.monitoring.coreos.com", "-n", NAMESPACE)["items"]
    assert {monitor["metadata"]["name"] for monitor in monitors} == {f"otel-gateway-{kind}" for kind in METRIC}
    for monitor in monitors:
        spec, kind = monitor["spec"], monitor["metadata"]["name"].removeprefix("otel-gateway-")
        selector = ",".join(f"{key}={value}" for key, value in spec["selector"]["matchLabels"].items())
        (endpoint,) = spec["podMetricsEndpoints"]
        found = []
        for namespace in spec["namespaceSelector"]["matchNames"]:
            for pod in kubectl.json("get", "pods", "-n", namespace, "-l", selector)["items"]:
                ports = [port for container in pod["spec"]["containers"] for port in container.get("ports", ())]
                (port,) = (port["containerPort"] for port in ports if port.get("name") == endpoint["port"])
                found.append((namespace, pod["metadata"]["name"], port))
        assert found, monitor

        def has_metrics(found: list = found, path: str = endpoint["path"], kind: str = kind) -> bool:
            for namespace, pod, port in found:
                text = kubectl("get", "--raw", f"/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy{path}")
                assert METRIC[kind] in text, text
            return True

        wait_until(has_metrics, f"the pods of {kind} have metrics", 30)


def test_the_alarms_and_dashboards_are_in_the_cluster(monitored: Installation, kubectl: Kubectl) -> None:
    rules = kubectl.json("get", "prometheusrules.monitoring.coreos.com", "-n", NAMESPACE)["items"]
    assert [rule["metadata"]["name"] for rule in rules] == ["otel-gateway-alarms"]
    boards = kubectl.json("get", "configmaps", "-n", NAMESPACE, "-l", "grafana_dashboard=1")["items"]
    assert len(boards) == 4
    assert not [it for it in monitored.apply()["objects"] if it["change"] != "unchanged"]


def test_the_cron_job_verifies_the_gate(monitored: Installation, kubectl: Kubectl) -> None:
    def run(name: str) -> tuple[str, str]:
        job = kubectl.json("create", "job", name, f"--from=cronjob/{VERIFY}", "-n", NAMESPACE, "--dry-run=client")
        # The CronJob keeps only the latest of its jobs, and may delete this one before its end is seen here.
        del job["metadata"]["ownerReferences"]
        kubectl.apply(job)

        def ended() -> str:
            status = kubectl.json("get", "job", name, "-n", NAMESPACE)["status"]
            types = (it["type"] for it in status.get("conditions", ()) if it["status"] == "True")
            return next((it for it in types if it in ("Complete", "Failed")), "")

        try:
            wait_until(ended, f"the job {name} ends", 200)
        except AssertionError as error:
            pods = kubectl("get", "pods", "-n", NAMESPACE, "-l", f"job-name={name}", "-o", "yaml")
            log = kubectl.attempt("logs", f"job/{name}", "-n", NAMESPACE)
            raise AssertionError(f"{pods}{log}") from error
        return ended(), kubectl("logs", f"job/{name}", "-n", NAMESPACE)

    service = f"{monitored.json('status')['addresses'][0]}"
    monitored.change(lambda config: config["monitoring"]["verify"].update(address=service))
    monitored.apply()
    result, log = run("right")
    assert result == "Complete", log
    assert " 0 failed" in log and "certificate of an untrusted CA: connection rejected" in log, log
    # The gateway is at another address.
    monitored.change(lambda config: config["monitoring"]["verify"].update(address="10.255.255.1"))
    monitored.apply()
    result, log = run("wrong")
    assert result == "Failed", log
