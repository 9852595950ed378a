"""Quotas over all replicas of a gateway, and over two gates: a real Valkey on this machine, behind TLS, and an engine
that `apply` deploys.

About 180 s for each provider, on a busy machine.
"""

import json
import os
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from support.client import Http2, frame
from support.cluster.installation import MACHINE, PROVIDER, Installation, Kubectl, kill, wait_until
from support.engine import Engine
from support.ledger import Ledger
from support.protobuf import traces
from support.sink import GRPC_PATHS
from support.tls_front import TlsFront

pytestmark = pytest.mark.alone

RATE, BATCH = 500, 50
# Seconds: when one worker of a proxy reaches the engine again, another may wait before it tries. Until then it reports
# nothing.
LONGEST_BACK_OFF = 1
MESSAGE = frame(traces(*"s" * BATCH))
PASSWORD = "secret-of-the-gates"
COMMANDS = "+evalsha +eval +ping +time +get +set +del"
USER = f"user otlp-gate on >{PASSWORD} resetkeys ~otlp-gate:* resetchannels -@all {COMMANDS}"


@dataclass
class Replicas:
    """The replicas of gateways, and load on them."""

    kubectl: Kubectl
    lock: threading.Lock = field(default_factory=threading.Lock, kw_only=True)

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

    def engine_of(self, gate: Installation, code: int | None = 0) -> dict:
        """The engine in the gate's status."""
        (part,) = (part for part in gate.json("status", code=code)["parts"] if part["name"] == "quota engine")
        return part

    def has_answered_all(self, gate: Installation, since: float) -> bool:
        """Whether the engine has answered every proxy since then. A proxy asks at least every 5 s, and calls the engine
        reachable until it learns otherwise."""
        part = self.engine_of(gate, code=None)
        age = re.search(r"last answer (\d+) s ago", part["detail"])
        return part["ready"] and age is not None and int(age[1]) + 1 < time.monotonic() - since

    def load(self, name: str, connections: list[Http2], seconds: float, burst: int = 0, times: float = 3) -> Ledger:
        """Sends this many times the quota, the same to each replica. A connection that breaks is left out."""
        ledger, began = Ledger(name, RATE, burst), time.monotonic()
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


@dataclass
class Gates(Replicas):
    """Two gates that share their quotas."""

    first: Installation
    second: Installation
    engine: Engine
    front: TlsFront


@pytest.fixture(scope="module")
def gates(
    deploy: Callable[[str], Installation], kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gates]:
    folder = tmp_path_factory.mktemp("engine")
    engine = Engine(folder, host=MACHINE, password="admin", settings=(USER, "protected-mode no")).start()
    name = "engine.quotas-1.svc.cluster.local"
    front = TlsFront(folder, MACHINE, name, (MACHINE, engine.port.number)).start()
    first, second = deploy("quotas-1"), deploy("quotas-2")
    gates = Gates(kubectl, first, second, engine, front)
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
    # A test before has killed one.
    replicas = gates.first.config["gateway"]["replicas"]
    wait_until(lambda: len(gates.pods(gates.first)) == replicas, "there are all replicas")
    began = time.monotonic()
    wait_until(lambda: gates.has_answered_all(gates.first, began), "the engine has answered all proxies")
    outcome = gates.first.verify(code=None)
    assert outcome["ok"], [case for case in outcome["cases"] if case["result"] == "fail"]
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
    time.sleep(LONGEST_BACK_OFF)
    after = gates.load("engine back", connections, 3, RATE)
    assert after.admitted <= 1.08 * after.allowed, after
    names = engine.keys()
    assert names and all(name.startswith(b"otlp-gate:{") for name in names), names


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may drop packets")
def test_while_packets_are_dropped_nobody_within_the_quota_is_throttled(gates: Gates) -> None:
    """An engine that answers nothing, not even that it is away."""
    first, second = gates.first, gates.second
    connections = gates.connect(*[first, second] * 3)
    rule = ["-p", "tcp", "--dport", str(gates.front.port), "-j", "DROP"]
    subprocess.run(["iptables", "-I", "INPUT", *rule], check=True)
    try:
        away = gates.load("packets dropped, 95 %", connections, 4, RATE, times=0.95)
        assert away.lost == 0 and (away.refused == 0 or away.late > RATE / 10), away
        assert not gates.engine_of(first, code=1)["ready"]
    finally:
        subprocess.run(["iptables", "-D", "INPUT", *rule], check=True)
    began = time.monotonic()
    for gate in (first, second):
        wait_until(lambda gate=gate: gates.engine_of(gate, code=None)["ready"], "all proxies reach the engine")
    print(f"status of both gates ready {time.monotonic() - began:.1f} s after packets passed again")
    time.sleep(LONGEST_BACK_OFF)
    # The front of the engine is in this process: more threads than these would make its answers slow.
    back = gates.load("packets pass again", gates.connect(first, second), 3, RATE)
    assert back.reaches(0.9 * back.allowed) and back.admitted <= 1.08 * back.allowed, back


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


DEPLOYED = "otel-gateway-quotas"
GATE_LABEL = "otlp-gate.io/gate-namespace"


@dataclass
class Deployed(Replicas):
    """A gate with an engine that `apply` deploys."""

    gate: Installation

    def pod(self) -> dict:
        """The engine's pod, once it is ready."""
        selector = "app.kubernetes.io/name=valkey"
        pods = self.kubectl.json("get", "pods", "-n", self.gate.namespace, "-l", selector)["items"]
        (pod,) = (pod for pod in pods if "deletionTimestamp" not in pod["metadata"])
        conditions = {it["type"]: it["status"] for it in pod["status"].get("conditions", [])}
        assert conditions.get("Ready") == "True", conditions
        return pod

    def served(self, certificate: str | None = "gateway") -> int:
        """The serial number of the engine's certificate, for a client with this certificate of the folder."""
        certs = self.gate.folder / "certs"
        context = ssl.create_default_context(cafile=certs / "internal-ca.crt")
        if certificate:
            context.load_cert_chain(certs / f"{certificate}.crt", certs / f"{certificate}.key")
        name = f"{DEPLOYED}.{self.gate.namespace}.svc"
        with (
            socket.create_connection((self.pod()["status"]["podIP"], 6379), 5) as connection,
            context.wrap_socket(connection, server_hostname=name) as encrypted,
        ):
            # With TLS 1.3 a server rejects a client's certificate only after the client's handshake.
            encrypted.sendall(b"GET otlp-gate:a\r\n")
            assert encrypted.recv(100) == b"$-1\r\n"
            return int(encrypted.getpeercert()["serialNumber"], 16)

    def connections(self) -> list[Http2]:
        """Enough for three times the rate: an answer takes as long as the Collector's export."""
        return self.connect(*[self.gate] * 4)


@pytest.fixture(scope="module")
def deployed(deploy: Callable[[str], Installation], kubectl: Kubectl) -> Deployed:
    gate = deploy("quotas-3")

    def change(config: dict) -> None:
        config["gateway"]["replicas"] = 2
        config["quotas"]["tiers"]["default"] = {"spans": f"{RATE}/s", "burst": "1s"}
        config["quotas"]["engine"] = {"deploy": {}}

    gate.change(change)
    # The folder is older than the engine.
    assert "otlp-gate certs init" in gate.run("apply", code=1).stderr
    gate.run("certs", "init")
    began = time.monotonic()
    gate.apply()
    print(f"a gate of 2 replicas and its engine are ready after {time.monotonic() - began:.1f} s")
    return Deployed(kubectl, gate)


def test_an_engine_is_deployed_and_reached(deployed: Deployed) -> None:
    gate = deployed.gate
    assert "reached by 2 of 2 proxies" in deployed.engine_of(gate)["detail"]
    ready = {part["name"]: part["ready"] for part in gate.json("status")["parts"]}
    assert ready[f"deployment/{DEPLOYED}"]
    checks = {check["subject"]: check["found"] for check in gate.json("doctor")["checks"]}
    assert f"service/{DEPLOYED} in quotas-3 is ready" in checks["quota engine"], checks
    assert "valid until" in checks["connection to the quota engine: quotas"], checks
    # Nothing changes the second time.
    assert {it["change"] for it in gate.apply()["objects"]} == {"unchanged"}

    assert deployed.served() > 0
    for certificate in (None, "clients/acme", "collector", "server"):
        gate.acme()
        with pytest.raises((AssertionError, OSError)):
            deployed.served(certificate)


def test_a_deployed_engine_holds_one_quota(deployed: Deployed) -> None:
    ledger = deployed.load("3 x load on 2 replicas", deployed.connections(), 4, RATE)
    assert ledger.reaches(0.9 * ledger.allowed) and ledger.admitted <= 1.06 * ledger.allowed, ledger
    assert ledger.lost == 0, ledger
    within = deployed.load("95 %", deployed.connections(), 3, times=0.95)
    assert within.refused == 0 or within.late > RATE / 10, within


def test_a_deployed_engine_comes_back(deployed: Deployed) -> None:
    """Its pod is killed under load. Meanwhile each replica has a quota of its own."""
    gate, connections = deployed.gate, deployed.connections()
    deployed.load("before", connections, 1, RATE)
    old = deployed.pod()["metadata"]["name"]
    killed = time.monotonic()
    kill(deployed.kubectl, old, "-n", gate.namespace)
    wait_until(lambda: deployed.pod()["metadata"]["name"] != old, "the engine has a new pod", retry_on=(Exception,))
    new = time.monotonic()
    wait_until(lambda: deployed.has_answered_all(gate, since=new), "the engine has answered all proxies")
    print(f"new pod ready after {new - killed:.1f} s, both proxies reach it {time.monotonic() - new:.1f} s later")
    after = deployed.load("after the pod was killed", connections, 3, RATE)
    assert after.reaches(0.9 * after.allowed) and after.admitted <= 1.08 * after.allowed, after
    assert after.lost == 0, after


def test_a_deployed_engine_follows_its_certificate(deployed: Deployed) -> None:
    """Its container starts again, by its liveness probe, and the proxies do not."""
    gate = deployed.gate
    proxies, before = set(deployed.pods(gate)), deployed.pod()

    def serial() -> int:
        (entry,) = [it for it in gate.json("certs", "list") if it["file"] == "quotas.crt"]
        return int(entry["serial"], 16)

    assert deployed.served() == serial()
    gate.run("certs", "renew", "internal", "--new-key")
    gate.apply()
    began = time.monotonic()
    wait_until(
        lambda: deployed.served() == serial(), "the engine presents its new certificate", 180, retry_on=(Exception,)
    )
    print(f"the engine has its new certificate {time.monotonic() - began:.1f} s after apply")

    def started_again() -> bool:
        after = deployed.pod()
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        return after["status"]["containerStatuses"][0]["restartCount"] == 1

    wait_until(started_again, "the pod's status has its second start")
    assert set(deployed.pods(gate)) == proxies
    wait_until(lambda: deployed.engine_of(gate, code=None)["ready"], "all proxies reach the engine")


def test_the_engine_goes_when_it_is_not_deployed_any_more(deployed: Deployed) -> None:
    gate, kubectl = deployed.gate, deployed.kubectl

    def engines() -> set[str]:
        kinds = "deployments,services,configmaps,secrets,networkpolicies"
        items = kubectl.json("get", kinds, "-A", "-l", f"{GATE_LABEL}={gate.namespace}")["items"]
        found = {f"{it['metadata']['namespace']}/{it['kind']}/{it['metadata']['name']}" for it in items}
        return {it for it in found if DEPLOYED in it}

    client = f"Secret/{gate.namespace}.{DEPLOYED}-client"
    namespaces = {"quotas-3"} if PROVIDER == "istio" else {"quotas-3", "envoy-gateway-system"}
    assert {it.split("/")[0] for it in engines() if it.endswith(client)} == namespaces
    text = json.dumps(kubectl.json("get", "configmaps,deployments", "-n", gate.namespace))
    assert "PRIVATE KEY" not in text
    gate.change(lambda config: config["quotas"].pop("engine"))
    gate.apply()
    assert engines() == set()
