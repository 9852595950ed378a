"""The limits of the gateway's proxies are those in docs/reference/gateway-bounds.md."""

from collections.abc import Callable

from support.cluster.admin import admin, config_dump
from support.cluster.installation import PROVIDER, Installation, Kubectl
from support.envoy_limits import RunningEnvoy, documented

CLUSTERS = {
    "istio": r"^outbound\|431[78]\|\|otel-gateway-collector\.{namespace}\.",
    "envoy-gateway": r"^(grpc|http)route/{namespace}/",
}[PROVIDER]


def test_proxies_run_with_the_documented_limits(gate: Installation, kubectl: Kubectl) -> None:
    with admin(gate, kubectl) as address:
        running = RunningEnvoy(config_dump(address), CLUSTERS.format(namespace=gate.namespace))
    assert len(running.chains) == 2 and len(running.clusters) >= 2
    assert running.rows() == documented(PROVIDER)


def test_with_trusted_hops_the_certificate_of_the_connection_is_appended(
    deploy: Callable[..., Installation], kubectl: Kubectl
) -> None:
    installation = deploy("forwarding")
    installation.change(lambda config: config.update(trustedHops=[{"spiffe": "spiffe://hop.example/*"}]))
    installation.apply()
    with admin(installation, kubectl) as address:
        running = RunningEnvoy(config_dump(address), CLUSTERS.format(namespace=installation.namespace))
    assert running.rows()["`x-forwarded-client-cert`"] == "APPEND_FORWARD, Cert"
