"""Quotas over all replicas of a gateway, and over two gates: a real Valkey on this machine, behind TLS.

About 100 s for each provider, on a busy machine.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from support.client import Http2, frame
from support.cluster.installation import MACHINE, PROVIDER, Installation, Kubectl, kill, wait_until
from support.engine import Engine
from support.protobuf import traces
from support.sink import GRPC_PATHS
from support.tls_front import TlsFront

pytestmark = pytest.mark.alone

RATE, BATCH = 500, 50
MESSAGE = frame(traces(*"s" * BATCH))
PASSWORD = "secret-of-the-gates"
COMMANDS = "+evalsha +eval +ping +time +get +set +del"
USER = f"user otlp-gate on >{PASSWORD} resetkeys ~otlp-gate:* resetchannels -@all {COMMANDS}"


@dataclass
class Ledger:
    """What became of the spans of a load."""

    name: str
    burst: int
    seconds: float = 0
    admitted: int = 0
    refused: int = 0
    # By how many spans the load was ever behind: on a busy machine it comes in bursts, which are refused more often.
    late: float = 0
    # Requests that got another answer, such as those of a replica that was killed.
    lost: int = 0

    @property
    def allowed(self) -> float:
        return self.burst + RATE * self.seconds

    def reaches(self, spans: float) -> bool:
        """Whether so much was admitted, if the load came evenly."""
        return self.admitted >= spans or self.late > RATE / 10

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.seconds:.2f} s, allowed {self.allowed:.0f}, admitted {self.admitted} "
            f"({self.admitted / self.allowed:.3f}), refused {self.refused}, lost {self.lost}"
        )


@dataclass
class Gates:
    """Two gates that share their quotas."""

    first: Installation
    second: Installation
    engine: Engine
    front: TlsFront
    kubectl: Kubectl
    lock: threading.Lock = field(default_factory=threading.Lock)

    def pods(self, gate: Installation) -> dict[str, str]:
        """The addresses of a gateway's ready pods."""

        def is_ready(pod: dict) -> bool:
            conditions = {it["type"]: it["status"] for it in pod["status"].get("conditions", [])}
            return "deletionTimestamp" not in pod["metadata"] and conditions.get("Ready") == "True"

        pods = filter(is_ready, self.kubectl.json("get", "pods", *gate.proxies())["items"])
        return {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in pods}

    def connect(self, *gates: Installation) -> list[Http2]:
        """A connection to each replica of these gates."""
        return [Http2(f"{address}:4317", gate.acme()) for gate in gates for address in self.pods(gate).values()]

    def engine_of(self, gate: Installation, code: int = 0) -> dict:
        """The engine in the gate's status."""
        (part,) = (part for part in gate.json("status", code=code)["parts"] if part["name"] == "quota engine")
        return part

    def load(self, name: str, connections: list[Http2], seconds: float, burst: int = 0, times: float = 3) -> Ledger:
        """Sends this many times the quota, the same to each replica. A connection that breaks is left out."""
        ledger, began = Ledger(name, burst), time.monotonic()
        rate = times * RATE / len(connections)

        def send(connection: Http2) -> None:
            # An answer takes as long as the Collector's export, so each replica is sent to on its own.
            sent = 0
            while (elapsed := time.monotonic() - began) < seconds:
                if sent * BATCH > rate * elapsed:
                    time.sleep(0.001)
                    continue
                sent += 1
                try:
                    status = connection.grpc(GRPC_PATHS["traces"], MESSAGE).grpc_status
                except (OSError, AssertionError):
                    status = None
                with self.lock:
                    ledger.late = max(ledger.late, rate * elapsed - sent * BATCH)
                    ledger.admitted += BATCH if status == 0 else 0
                    ledger.refused += BATCH if status == 8 else 0
                    ledger.lost += status not in (0, 8)
                if status is None:
                    return

        threads = [threading.Thread(target=send, args=(connection,)) for connection in connections]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ledger.seconds = time.monotonic() - began
        print(ledger)
        return ledger


@pytest.fixture(scope="module")
def gates(
    deploy: Callable[[str], Installation], kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gates]:
    folder = tmp_path_factory.mktemp("engine")
    engine = Engine(folder, host=MACHINE, password="admin", settings=(USER, "protected-mode no")).start()
    name = "engine.quotas-1.svc.cluster.local"
    front = TlsFront(folder, MACHINE, name, (MACHINE, engine.port.number)).start()
    first, second = deploy("quotas-1"), deploy("quotas-2")
    gates = Gates(first, second, engine, front, kubectl)
    publish(kubectl, "quotas-1", front.port)
    kubectl.ensure_namespace("quotas-2")
    for gate, replicas in ((first, 2), (second, 1)):
        namespace, secret = gate.proxies()[1], f"engine-{gate.namespace}"
        create(
            kubectl,
            "secret",
            secret,
            namespace,
            f"--from-literal=password={PASSWORD}",
            "--from-literal=username=otlp-gate",
        )
        create(kubectl, "configmap", secret, namespace, f"--from-file=ca.crt={front.certificate}")
        configure(gate, name, secret, replicas)
        gate.apply()
    yield gates
    front.stop()
    engine.stop()
    for gate in (first, second):
        for kind in ("secret", "configmap"):
            kubectl("delete", kind, f"engine-{gate.namespace}", *gate.proxies()[:2], "--ignore-not-found")


def create(kubectl: Kubectl, kind: str, name: str, namespace: str, *content: str) -> None:
    kubectl("create", *(["secret", "generic"] if kind == "secret" else [kind]), name, "-n", namespace, *content)


def publish(kubectl: Kubectl, namespace: str, port: int) -> None:
    """A Service of this namespace for the engine on this machine."""
    kubectl.ensure_namespace(namespace)
    metadata = {"name": "engine", "namespace": namespace}
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"ports": [{"name": "tls", "port": 6379, "targetPort": port}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**metadata, "labels": {"kubernetes.io/service-name": "engine"}},
            "addressType": "IPv4",
            "ports": [{"name": "tls", "port": port}],
            "endpoints": [{"addresses": [MACHINE], "conditions": {"ready": True}}],
        },
    )


def configure(gate: Installation, name: str, secret: str, replicas: int) -> None:
    def change(config: dict) -> None:
        config["gateway"]["replicas"] = replicas
        config["quotas"]["tiers"]["default"] = {"spans": f"{RATE}/s", "burst": "1s"}
        config["quotas"]["scope"] = "shared"
        config["quotas"]["engine"] = {
            "name": "both",
            "address": f"{name}:6379",
            "tls": {"caConfigMap": secret},
            "credentials": {"secret": secret},
        }

    gate.change(change)


def test_two_gates_have_one_quota(gates: Gates) -> None:
    """Over three replicas, and after one more is added and one is killed."""
    first, second, kubectl = gates.first, gates.second, gates.kubectl
    assert "reached by 2 of 2 proxies" in gates.engine_of(first)["detail"]
    assert "reached by 1 of 1 proxies" in gates.engine_of(second)["detail"]
    checks = {check["subject"]: check["found"] for check in first.json("doctor")["checks"]}
    assert "service/engine in quotas-1 is ready" in checks["quota engine"], checks

    ledger = gates.load("3 x load on 3 replicas", gates.connect(first, second), 4, RATE)
    assert ledger.reaches(0.95 * ledger.allowed) and ledger.admitted <= 1.06 * ledger.allowed, ledger
    assert ledger.lost == 0, ledger

    first.change(lambda config: config["gateway"].update(replicas=3))
    first.apply()
    wait_until(lambda: len(gates.pods(first)) == 3, "there is one more replica")
    time.sleep(1.5)
    ledger = gates.load("one replica added", gates.connect(first, second), 3, RATE)
    assert ledger.reaches(0.95 * ledger.allowed) and ledger.admitted <= 1.08 * ledger.allowed, ledger

    connections = gates.connect(first, second)
    gone = next(iter(gates.pods(first)))
    kill(kubectl, gone, *first.proxies()[:2])
    # Meanwhile the burst was refilled. What the killed replica has not reported is at most an eighth of it.
    ledger = gates.load("one replica killed", connections, 3, RATE)
    assert ledger.reaches(0.85 * ledger.allowed) and ledger.admitted <= 1.1 * ledger.allowed, ledger


def test_verify_sees_one_quota_at_two_replicas(gates: Gates) -> None:
    wait_until(lambda: gates.engine_of(gates.first), "all proxies reach the engine")
    outcome = gates.first.verify()
    (case,) = (it for it in outcome["cases"] if "at a second replica" in it["case"])
    assert case["result"] == "pass", case
    # The second gate has one replica.
    (case,) = (it for it in gates.second.verify()["cases"] if "at a second replica" in it["case"])
    assert (case["result"], case["seen"]) == ("skipped", "the gateway has one replica")


def test_while_the_engine_is_away_each_replica_has_its_own_quota(gates: Gates) -> None:
    first, engine = gates.first, gates.engine
    connections = gates.connect(first, gates.second)
    gates.load("before", connections, 1, RATE)
    engine.stop()
    away = gates.load("engine killed", connections, 2)
    assert away.reaches(1.5 * RATE * away.seconds) and away.lost == 0, away
    part = gates.engine_of(first, code=1)
    assert not part["ready"] and "quota engine does not answer" in part["trouble"]["words"], part
    engine.start()
    back = time.monotonic()
    for gate in (first, gates.second):
        wait_until(lambda gate=gate: gates.engine_of(gate)["ready"], "all proxies reach the engine")
    print(f"status of both gates ready {time.monotonic() - back:.1f} s after the engine was back")
    after = gates.load("engine back", connections, 3, RATE)
    assert after.admitted <= 1.08 * after.allowed, after
    names = engine.keys()
    assert names and all(name.startswith(b"otlp-gate:{") for name in names), names


def test_the_password_is_in_no_object_and_no_log(gates: Gates) -> None:
    """It is in the Secret alone."""
    first, kubectl = gates.first, gates.kubectl
    rendered = first.run("render").stdout
    kinds = "configmaps,deployments,pods"
    everything = kubectl("get", kinds, *first.proxies()[:2], "-o", "yaml")
    own = "envoyfilters,wasmplugins,trafficextensions" if PROVIDER == "istio" else "envoyproxies,envoyextensionpolicies"
    everything += kubectl("get", own, "-n", first.namespace, "-o", "yaml")
    logs = "".join(kubectl("logs", pod, *first.proxies()[:2], "--all-containers") for pod in gates.pods(first))
    assert f"engine-{first.namespace}" in rendered
    for text in (rendered, everything, logs):
        assert PASSWORD not in text


def test_gates_with_one_name_and_other_limits_are_refused(gates: Gates) -> None:
    first, second = gates.first, gates.second
    second.change(lambda config: config["quotas"]["tiers"]["default"].update(spans="400/s"))
    second.apply()
    (found,) = (it for it in first.json("status", code=1)["foreign"] if "has other limits" in it["means"])
    assert "tier `default`" in found["means"] and found["unsafe_"], found
    assert not first.json("doctor", code=1)["ok"]


def test_a_missing_secret_is_found_before_anything_is_changed(gates: Gates) -> None:
    first = gates.first
    first.change(lambda config: config["quotas"]["engine"]["credentials"].update(secret="absent"))
    stderr = first.run("apply", code=1).stderr
    assert "there is no secret/absent in namespace" in stderr and PASSWORD not in stderr, stderr
