"""What the gateway's proxies bound and switch off is what docs/reference/gateway-bounds.md says, by the configuration that they run."""

from collections.abc import Callable

from admin import admin, config_dump
from bounds import Running, documented
from deployed import PROVIDER, Deployed, Kubectl

CLUSTERS = {
    "istio": r"^outbound\|431[78]\|\|otel-gateway-collector\.{namespace}\.",
    "envoy-gateway": r"^(grpc|http)route/{namespace}/",
}[PROVIDER]


def test_proxies_run_what_the_table_says(gate: Deployed, kubectl: Kubectl) -> None:
    with admin(gate, kubectl) as address:
        running = Running(config_dump(address), CLUSTERS.format(namespace=gate.namespace))
    assert len(running.chains) == 2 and len(running.clusters) >= 2
    assert running.rows() == documented(PROVIDER)


def test_with_hops_the_certificate_of_the_gateways_own_client_is_added(
    deploy: Callable[..., Deployed], kubectl: Kubectl
) -> None:
    place = deploy("forwarding")
    place.change(lambda config: config.update(trustedHops=[{"spiffe": "spiffe://hop.example/*"}]))
    place.apply()
    with admin(place, kubectl) as address:
        running = Running(config_dump(address), CLUSTERS.format(namespace=place.namespace))
    assert running.rows()["`x-forwarded-client-cert`"] == "APPEND_FORWARD, Cert"
