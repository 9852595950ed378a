"""Node-local gateways, and the pods that send to them."""

import re

from support.cluster.installation import MACHINE, Installation, Kubectl, wait_until
from support.cluster.pods import Sender
from support.sink import Sink

NAME = "otel-gateway-node"
RULES = [{"name": "{team}", "match": {"namespace": "team-{team}"}, "attributes": {"tenant.id": "{team}"}}]


class NodeGateways:
    """Node-local gateways without a gateway for other clients, unless the config enables one."""

    def __init__(self, installation: Installation, kubectl: Kubectl):
        self.installation, self.kubectl = installation, kubectl
        self.namespace = f"{installation.namespace}-node"
        self.target = f"{NAME}.{self.namespace}:4317"
        self.senders: dict[tuple[str, str], Sender] = {}

    def configure(self, export: dict, **more: object) -> None:
        node_local = {"enabled": True, "clients": RULES, "export": export, **more}
        self.installation.change(lambda config: config.update(nodeLocal=node_local))
        self.installation.change(lambda config: config["gateway"].update(enabled=False))

    def pods(self) -> dict[str, dict]:
        """The gateways' pods, by their nodes."""
        found = self.kubectl.json("get", "pods", "-n", self.namespace, "-l", f"app.kubernetes.io/instance={NAME}")
        return {
            pod["spec"]["nodeName"]: pod
            for pod in found["items"]
            # A new pod has no node yet.
            if "deletionTimestamp" not in pod["metadata"] and "nodeName" in pod["spec"]
        }

    def uids(self) -> set[str]:
        return {pod["metadata"]["uid"] for pod in self.pods().values()}

    def accepted(self, node: str) -> int:
        """How many spans the gateway of a node has accepted, by its metrics."""
        counts = re.findall(r"^otelcol_receiver_accepted_spans\S* (\S+)$", self.metrics(node), re.M)
        return sum(int(float(it)) for it in counts)

    def metrics(self, node: str) -> str:
        """The metrics of the gateway of a node."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{self.pods()[node]['metadata']['name']}:8888/proxy/metrics"
        return self.kubectl("get", "--raw", path)

    def sender(self, namespace: str, node: str) -> Sender:
        """A pod in this namespace and on this node, which sends to the gateways; created at the first call."""
        key = (namespace, node)
        if key not in self.senders:
            self.senders[key] = Sender.start(self.kubectl, namespace, node, self.target)
        return self.senders[key]

    def ready_sender(self, namespace: str, node: str) -> Sender:
        """The same, after a request of the pod has been accepted."""
        sender = self.sender(namespace, node)
        wait_until(lambda: sender.sent("warm"), f"{sender.name} can send")
        return sender

    def stop(self) -> None:
        for sender in self.senders.values():
            sender.stop()
        self.installation.run("delete", "--yes")
        self.kubectl("delete", "namespace", self.namespace, "--wait=false", "--ignore-not-found")


def outside(backend: Sink) -> dict:
    """Exports to the tests' backend, outside the cluster."""
    return to(f"{MACHINE}:{backend.grpc_port}")


def to(endpoint: str) -> dict:
    return {"exporters": {"otlp_grpc": {"endpoint": endpoint, "tls": {"insecure": True}}}}


def arrival(backend: Sink, name: str, timeout: float = 60) -> dict[str, str]:
    """Waits for a span of this name; returns the attributes of its Resource."""
    while True:
        received = backend.take(timeout)
        for entry, resource in zip(received.decode().resource_spans, received.resources(), strict=True):
            if name in (span.name for scope in entry.scope_spans for span in scope.spans):
                return resource
