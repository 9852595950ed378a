"""Pods that send telemetry, like an application's."""

import json
from dataclasses import dataclass

import grpc

from support.cluster.installation import Kubectl, wait_until
from support.protobuf import traces
from support.sink import GRPC_PATHS

IMAGE = "docker.io/otel/opentelemetry-collector-contrib:0.155.0"


@dataclass
class Sender:
    """A pod with a Collector that forwards each request without a queue and without retries, and answers what it is
    answered."""

    kubectl: Kubectl
    namespace: str
    name: str

    @classmethod
    def start(
        cls,
        kubectl: Kubectl,
        namespace: str,
        node: str,
        target: str,
        labels: dict[str, str] | None = None,
        annotations: dict[str, str] | None = None,
    ) -> "Sender":
        exporter = {
            "endpoint": target,
            "tls": {"insecure": True},
            "timeout": "4s",
            "sending_queue": {"enabled": False},
            "retry_on_failure": {"enabled": False},
        }
        config = {
            "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": ":4317"}}}},
            "exporters": {"otlp_grpc": exporter},
            "service": {"pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["otlp_grpc"]}}},
        }
        self = cls(kubectl, namespace, f"to-{target.split(':')[0].replace('.', '-')}-from-{node}")
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": self.name,
                "namespace": namespace,
                "labels": labels or {},
                "annotations": annotations or {},
            },
            "spec": {
                "nodeName": node,
                "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "sender", "image": IMAGE, "args": [f"--config=yaml:{json.dumps(config)}"]}],
            },
        }
        kubectl.ensure_namespace(namespace)
        kubectl.apply(pod)
        wait_until(lambda: self.pod()["status"].get("phase") == "Running" and self.ready(), f"{self.name} runs")
        return self

    def pod(self) -> dict:
        return self.kubectl.json("get", "pod", self.name, "-n", self.namespace)

    def ready(self) -> bool:
        try:
            with self.channel() as channel:
                grpc.channel_ready_future(channel).result(1)
        except grpc.FutureTimeoutError:
            return False
        return True

    def containers(self) -> list[str]:
        spec = self.pod()["spec"]
        return [one["name"] for one in spec["containers"] + spec.get("initContainers", [])]

    def channel(self) -> grpc.Channel:
        return grpc.insecure_channel(f"{self.pod()['status']['podIP']}:4317")

    def send(self, *names: str, attributes: tuple[bytes, ...] = ()) -> grpc.StatusCode:
        """The answer that the pod gets."""
        with self.channel() as channel:
            export = channel.unary_unary(GRPC_PATHS["traces"], request_serializer=None, response_deserializer=None)
            return export.future(traces(*names, attributes=attributes), timeout=10, wait_for_ready=True).code()

    def sent(self, *names: str, attributes: tuple[bytes, ...] = ()) -> bool:
        return self.send(*names, attributes=attributes) == grpc.StatusCode.OK

    def stop(self) -> None:
        self.kubectl("delete", "pod", self.name, "-n", self.namespace, "--wait=false")
