"""`apply`, `diff`, `status`, `doctor` and `delete`: from one file to a running gate, and the errors on the way."""

import hashlib
import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.client import Answer, Identity, frame, secure_channel
from support.cluster.installation import MACHINE, PROVIDER, Installation, Kubectl, wait_until
from support.forged_certificates import HEADER, forgeries, send_grpc, send_http
from support.openssl import issue_for
from support.protobuf import attribute, traces
from support.sink import GRPC_PATHS, HTTP_PATHS, Sink

# Earns little while a test runs.
SLOW = {"spans": "1/s", "burst": "600s"}
OTHER = "envoy-gateway" if PROVIDER == "istio" else "istio"


def labelled(kubectl: Kubectl, namespace: str) -> list[str]:
    kinds = "secrets,configmaps,deployments,services,networkpolicies,gateways,grpcroutes,httproutes"
    listed = kubectl("get", kinds, "-n", namespace, "-l", "otlp-gate.io/gate", "-o", "name")
    return listed.split()


def test_telemetry_arrives_with_the_clients_attributes_over_both_protocols(gate: Installation, backend: Sink) -> None:
    backend.rest()
    message = traces("a", attributes=(attribute("tenant.id", "forged"), attribute("otlp_gate.client", "forged")))
    with gate.connect(gate.acme()) as connection:
        assert connection.grpc(GRPC_PATHS["traces"], frame(message)).grpc_status == 0
    with gate.connect(gate.globex(), 4318) as connection:
        assert connection.http(HTTP_PATHS["traces"], message).status == 200
    seen = [resource for _ in range(2) for resource in backend.take().resources()]
    owned = [{key: one[key] for key in ("tenant.id", "otlp_gate.client")} for one in seen]
    assert owned == [
        {"tenant.id": "acme", "otlp_gate.client": "acme"},
        {"tenant.id": "globex", "otlp_gate.client": "globex"},
    ]


def test_every_name_of_a_certificate_counts(gate: Installation, backend: Sink, tmp_path: Path) -> None:
    """Envoy's properties have only the first name of each kind."""
    rules = [
        {"name": "second-{site}", "match": {"dns": "{site}.second.example"}, "attributes": {"tenant.id": "second"}},
        {"name": "mail-{user}", "match": {"email": "{user}@mail.example"}, "attributes": {"tenant.id": "mail"}},
    ]
    gate.change(lambda config: config["clients"].extend(rules))
    gate.apply()
    certificates = {
        ("second", "second-oslo"): ("DNS:first.example", "DNS:oslo.second.example"),
        ("mail", "mail-ops"): ("email:first@elsewhere.example", "email:ops@mail.example"),
    }
    for (tenant, client), names in certificates.items():
        folder, uri = tmp_path / tenant, "spiffe://first.example/unknown"
        identity, _ = issue_for(folder, gate.folder / "certs", uri, 600, names)

        def send(identity: Identity = identity) -> int:
            with gate.connect(identity) as connection:
                return connection.grpc(GRPC_PATHS["traces"], frame(traces("a"))).grpc_status

        backend.rest()
        wait_until(lambda: send() == 0, f"{client} is accepted")
        (resource,) = backend.take().resources()
        assert (resource["tenant.id"], resource["otlp_gate.client"]) == (tenant, client)


def test_a_forged_certificate_header_has_no_effect(gate: Installation, backend: Sink) -> None:
    acme, globex = gate.acme(), gate.globex()
    stranger = gate.stranger()
    grpc, http = (f"{gate.address()}:{port}" for port in (4317, 4318))
    # The first connection waits for the listener.
    gate.connect(acme).socket.close()
    backend.rest()
    for values in forgeries(globex, acme).values():
        assert send_grpc(grpc, acme, values).grpc_status == 0
        assert send_http(http, acme, values).status == 200
        for received in (backend.take(), backend.take()):
            assert received.resources()[0]["tenant.id"] == "acme"
            assert HEADER not in received.headers
        assert send_grpc(grpc, stranger, values).grpc_status == 7
        assert send_http(http, stranger, values).status == 403
    assert not backend.rest()
    (detail,) = (part["detail"] for part in gate.json("status")["parts"] if part["name"] == "filter")
    assert HEADER not in detail, detail


def test_a_second_apply_changes_nothing(gate: Installation) -> None:
    assert gate.run("diff").stdout == ""
    again = gate.apply()
    assert [one for one in again["objects"] if one["change"] != "unchanged"] == []
    assert again["removed"] == []
    assert gate.run("diff").stdout == ""


def test_status_and_doctor_find_nothing_wrong(gate: Installation) -> None:
    status = gate.json("status")
    assert status["ready"] and all(part["ready"] for part in status["parts"]), status
    assert any(part["name"] == "filter" and "in 1 of 1 proxies" in part["detail"] for part in status["parts"])
    assert status["foreign"] == []
    doctor = gate.json("doctor")
    assert doctor["ok"] and {check["verdict"] for check in doctor["checks"]} == {"pass"}, doctor


def add_client(gate: Installation, name: str, send: Callable[[], int]) -> None:
    """Adds a rule for a client that was rejected, and waits until the client is accepted.

    The rule stays: if a policy returns within a minute, Envoy Gateway's proxies report its revision only after that.
    """
    assert send() == 7
    rule = {"name": name, "match": {"spiffe": f"spiffe://{name}.example/*"}}
    gate.change(lambda config: config["clients"].append(rule))
    difference = [line.split(maxsplit=1) for line in gate.run("diff", code=1).stdout.splitlines()]
    assert ["+", f"spiffe: spiffe://{name}.example/*"] in difference
    begun = time.monotonic()
    changed = [one["kind"] for one in gate.apply()["objects"] if one["change"] != "unchanged"]
    assert changed == ["TrafficExtension" if PROVIDER == "istio" else "EnvoyExtensionPolicy"]
    done = time.monotonic() - begun
    wait_until(lambda: send() == 0, "the new client is accepted")
    print(f"apply took {done:.1f} s, and the policy applied after {time.monotonic() - begun:.1f} s")


def test_a_new_policy_applies_to_connected_clients(gate: Installation) -> None:
    identity = gate.client("latecomer", "--spiffe", "spiffe://latecomer.example/x")
    gate.connect(identity).socket.close()
    with secure_channel(f"{gate.address()}:4317", identity.credentials()) as channel:
        export = channel.unary_unary(GRPC_PATHS["traces"], request_serializer=None, response_deserializer=None)

        def send() -> int:
            # `future` also returns the status of a call that fails.
            return export.future(traces("a"), timeout=5, wait_for_ready=True).code().value[0]

        add_client(gate, "latecomer", send)


@pytest.mark.skipif(PROVIDER == "envoy-gateway", reason="it closes connections when a policy changes")
def test_a_new_policy_applies_to_open_connections(gate: Installation) -> None:
    with gate.connect(gate.client("passer-by", "--spiffe", "spiffe://passer-by.example/x")) as connection:
        add_client(gate, "passer-by", lambda: connection.grpc(GRPC_PATHS["traces"], frame(traces("a"))).grpc_status)


def test_a_new_policy_keeps_what_is_spent(gate: Installation) -> None:
    identity = gate.client("spender", "--spiffe", "spiffe://spender.example/x")
    rule = {"name": "spender", "match": {"spiffe": "spiffe://spender.example/*"}, "quota": "slow"}
    gate.change(lambda config: (config["clients"].append(rule), config["quotas"]["tiers"].update(slow=SLOW)))
    gate.apply()

    def send(spans: int) -> int:
        # On a new connection each: Envoy Gateway closes connections when a policy changes.
        with gate.connect(identity) as connection:
            return connection.grpc(GRPC_PATHS["traces"], frame(traces(*["a"] * spans))).grpc_status

    assert send(600) == 0
    gate.change(lambda config: config["attributes"].update(changed="{name}"))
    gate.apply()
    wait_until(lambda: send(1) in (0, 8), "the gate decides about quotas")
    assert send(400) == 8


def test_a_preflight_of_an_allowed_origin_is_accepted(gate: Installation) -> None:
    """Envoy Gateway runs the filter on routes only, so preflights need a route."""
    headers = {"origin": "https://shop.example.com", "access-control-request-method": "POST"}

    def preflight() -> Answer:
        with gate.connect(gate.acme(), 4318) as connection:
            return connection.request(HTTP_PATHS["traces"], b"", headers, method="OPTIONS")

    assert preflight().status in (404, 405)
    # The setting stays, for the reason in `add_client`.
    gate.change(lambda config: config.update(corsOrigins=["https://*.example.com"]))
    changed = {one["kind"] for one in gate.apply()["objects"] if one["change"] != "unchanged"}
    assert changed == {"HTTPRoute", "TrafficExtension" if PROVIDER == "istio" else "EnvoyExtensionPolicy"}
    wait_until(lambda: preflight().status == 204, "preflights are accepted")
    assert preflight().headers["access-control-allow-origin"] == "https://shop.example.com"
    with gate.connect(gate.acme(), 4318) as connection:
        answer = connection.http(HTTP_PATHS["traces"], traces("a"), {"origin": "https://shop.example.com"})
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "https://shop.example.com")


def test_a_batch_larger_than_the_gateways_buffers_arrives(gate: Installation, backend: Sink) -> None:
    names = {f"{number} {'long' * 250}" for number in range(3500)}
    backend.rest()
    with gate.connect(gate.acme()) as connection:
        assert connection.grpc(GRPC_PATHS["traces"], frame(traces(*names))).grpc_status == 0
    arrived = set()
    while arrived != names:
        arrived.update(backend.take().names())


def test_a_new_server_certificate_is_used_without_a_restart(gate: Installation, kubectl: Kubectl) -> None:
    pods = lambda: kubectl("get", "pods", *gate.proxies(), "-o", "name")
    before = pods()
    serial = lambda: gate.connect(gate.acme()).socket.getpeercert()["serialNumber"]
    first = serial()
    gate.run("certs", "server", "--local", "--force")
    begun = time.monotonic()
    gate.apply()
    wait_until(lambda: serial() != first, "the new server certificate is used")
    print(f"a new server certificate is used after {time.monotonic() - begun:.1f} s")
    assert pods() == before != ""


def test_routes_that_others_attached_are_reported(gate: Installation, kubectl: Kubectl) -> None:
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "around", "namespace": gate.namespace},
        "spec": {
            "parentRefs": [{"name": "otel-gateway"}],
            "rules": [{"backendRefs": [{"name": "otel-gateway-collector", "port": 4318}]}],
        },
    }
    kubectl.apply(route)
    try:
        found = gate.json("status")["foreign"]
        assert [one["object"] for one in found] == [f"httproute/around in {gate.namespace}"]
    finally:
        kubectl("delete", "httproute", "around", "-n", gate.namespace)


# Objects that can remove the filter for some of the gateway's requests, without naming the gateway.
AROUND = {
    "istio": {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "spec": {"configPatches": []},
    },
    "envoy-gateway": {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "EnvoyExtensionPolicy",
        "spec": {"targetSelectors": [{"kind": "HTTPRoute", "matchLabels": {"otlp-gate.io/gate": "otel-gateway"}}]},
    },
}[PROVIDER]


def test_attached_policies_that_may_replace_the_filter_are_unsafe(gate: Installation, kubectl: Kubectl) -> None:
    kind = AROUND["kind"].lower()
    kubectl.apply({**AROUND, "metadata": {"name": "around", "namespace": gate.namespace}})
    try:
        found = gate.json("status", code=1)["foreign"]
        assert [(one["object"], one["unsafe_"]) for one in found] == [(f"{kind}/around in {gate.namespace}", True)]
    finally:
        kubectl("delete", kind, "around", "-n", gate.namespace)


def test_an_object_with_the_gates_labels_is_reported_and_not_removed(gate: Installation, kubectl: Kubectl) -> None:
    """Anyone who may write an object may set its labels."""
    kind = AROUND["kind"].lower()
    policy = kubectl.json("get", kind, "otel-gateway", "-n", gate.namespace)
    labels = policy["metadata"]["labels"]
    kubectl.apply({**AROUND, "metadata": {"name": "around", "namespace": gate.namespace, "labels": labels}})
    unsafe = lambda: [(one["object"], one["unsafe_"]) for one in gate.json("status", code=1)["foreign"]]
    try:
        assert unsafe() == [(f"{kind}/around in {gate.namespace}", True)]
        applied = gate.run("apply")
        assert f"{kind}/around in {gate.namespace}" in applied.stderr and "has not applied it" in applied.stderr
        kubectl("get", kind, "around", "-n", gate.namespace)
    finally:
        kubectl("delete", kind, "around", "-n", gate.namespace)


# Envoy's forwarding mode, which no longer removes what clients write in the header.
MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
APPENDS = {
    "applyTo": "NETWORK_FILTER",
    "match": {
        "context": "GATEWAY",
        "listener": {"filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager"}}},
    },
    "patch": {
        "operation": "MERGE",
        "value": {"typed_config": {"@type": MANAGER, "forward_client_cert_details": "APPEND_FORWARD"}},
    },
}
# A listener without client certificates, and changes to the patch or extension.
TAMPERED = {
    "gateway": [
        {"op": "add", "path": "/spec/listeners/-", "value": {"name": "plain", "port": 8080, "protocol": "HTTP"}}
    ],
    "envoyfilter": [{"op": "add", "path": "/spec/configPatches/-", "value": APPENDS}],
    "envoyextensionpolicy": [{"op": "replace", "path": "/spec/wasm/0/failOpen", "value": True}],
    "clienttrafficpolicy": [
        {"op": "add", "path": "/spec/tls/session", "value": {"resumption": {"stateless": {}}}},
        {"op": "replace", "path": "/spec/headers/xForwardedClientCert/mode", "value": "AppendForward"},
    ],
}


def served_and_counted(installation: Installation) -> None:
    """Waits until the gateway passes on what a client writes in the header. It gives the client no other identity."""
    acme = installation.acme()
    values = forgeries(installation.globex(), acme)["several elements"]

    def counted() -> bool:
        status = installation.json("status", code=1)
        assert send_grpc(f"{status['addresses'][0]}:4317", acme, values).grpc_status == 0
        return any(HEADER in part["detail"] for part in status["parts"] if part["name"] == "filter")

    wait_until(counted, "the header of clients is counted")


@pytest.mark.parametrize(
    "kind",
    {"istio": ["gateway", "envoyfilter"], "envoy-gateway": ["gateway", "envoyextensionpolicy", "clienttrafficpolicy"]}[
        PROVIDER
    ],
)
def test_changes_of_others_to_the_gates_own_objects_are_unsafe(
    deploy: Callable[..., Installation], kubectl: Kubectl, kind: str
) -> None:
    installation = deploy(f"tampered-{kind}")
    installation.apply()
    name = f"{kind}.gateway.networking.k8s.io" if kind == "gateway" else kind
    kubectl(
        "patch",
        name,
        "otel-gateway",
        "-n",
        installation.namespace,
        "--type=json",
        "--field-manager=tester",
        "-p",
        json.dumps(TAMPERED[kind]),
    )
    found = installation.json("status", code=1)["foreign"]
    assert {one["object"] for one in found} == {f"{kind}/otel-gateway in {installation.namespace}"}
    assert "tester" in found[0]["means"] and found[0]["unsafe_"], found
    appends = kind in ("envoyfilter", "clienttrafficpolicy")
    # The forwarding mode is named, and so is a resumed session.
    assert len(found) == {"envoyfilter": 2, "clienttrafficpolicy": 3}.get(kind, 1), found
    assert any("forwarding mode" in one["means"] and not one["unsafe_"] for one in found) == appends, found
    if appends:
        checks = installation.json("doctor", code=1)["checks"]
        assert any("forwarding mode" in check["found"] for check in checks), checks
        served_and_counted(installation)
    installation.apply("--force-conflicts")


def test_fields_of_another_field_manager_are_a_conflict(gate: Installation, kubectl: Kubectl) -> None:
    scaled = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "otel-gateway-collector", "namespace": gate.namespace},
        "spec": {"replicas": 0},
    }
    manager = ("apply", "--server-side", "--force-conflicts", "--field-manager=tester", "-f", "-")
    kubectl(*manager, stdin=json.dumps(scaled))
    output = gate.run("apply", code=1).stderr
    assert "deployment/otel-gateway-collector" in output and '"tester"' in output and ".spec.replicas" in output, output
    assert "--force-conflicts" in output
    gate.apply("--force-conflicts")


def test_objects_that_the_config_no_longer_has_are_removed(
    gate: Installation, deploy: Callable[..., Installation], kubectl: Kubectl
) -> None:
    installation = deploy("pruned")
    installation.apply()
    gone = f"deployment/otel-gateway-collector in {installation.namespace}"
    service = {"service": {"name": "elsewhere", "namespace": gate.namespace}}
    installation.change(lambda config: config.update(backend=service))
    kubectl("create", "service", "clusterip", "elsewhere", "--tcp=4317", "--tcp=4318", "-n", gate.namespace)
    try:
        assert f"removed {gone}" in installation.run("diff", code=1).stdout
        assert gone in installation.apply()["removed"]
        listed = kubectl("get", "deployments", "-n", installation.namespace, "-o", "name")
        assert "collector" not in listed
        assert kubectl("get", "referencegrants", "-n", gate.namespace, "-o", "name").strip()
        installation.run("delete", "--yes")
        assert kubectl("get", "referencegrants", "-n", gate.namespace, "-o", "name") == ""
        assert labelled(kubectl, installation.namespace) == []
    finally:
        kubectl("delete", "service", "elsewhere", "-n", gate.namespace)


def test_a_missing_provider_is_an_error_with_a_hint(deploy: Callable[..., Installation], kubectl: Kubectl) -> None:
    installation = deploy("no-provider")
    url = "oci://registry.example/otlp-gate:1"
    installation.change(lambda config: config["gateway"].update(provider=OTHER, module={"url": url}))
    output = installation.run("apply", code=1).stderr
    assert "the cluster has no" in output and f"`gateway.provider: {PROVIDER}`" in output, output
    failed = [check for check in installation.json("doctor", code=1)["checks"] if check["verdict"] == "fail"]
    assert failed and all(check["cure"] for check in failed)
    assert missing(kubectl, "no-provider")


def missing(kubectl: Kubectl, namespace: str) -> bool:
    """Whether the namespace does not exist: nothing was applied."""
    return kubectl("get", "namespaces", namespace, "--ignore-not-found", "-o", "name") == ""


def test_a_policy_that_is_too_large_is_rejected_before_anything_is_applied(
    deploy: Callable[..., Installation], kubectl: Kubectl
) -> None:
    installation = deploy("large")
    # Digests do not compress.
    denied = [f"sha256:{hashlib.sha256(str(number).encode()).hexdigest()}" for number in range(30_000)]
    installation.change(lambda config: config.update(deny=denied))
    output = installation.run("apply", code=1).stderr
    assert "one Kubernetes object has room for 1048576" in output and "hint: write rules for many clients" in output, (
        output
    )
    assert missing(kubectl, "large")


def test_ten_thousand_clients(deploy: Callable[..., Installation]) -> None:
    installation = deploy("many")
    site = lambda number: {"name": f"site-{number}", "match": {"spiffe": f"spiffe://sites.example/{number}"}}
    many = [site(number) | {"attributes": {"tenant.id": f"t{number}"}} for number in range(10_000)]
    installation.change(lambda config: config["clients"].extend(many))
    begun = time.monotonic()
    assert installation.apply()["ok"]
    print(f"10,000 clients are applied to a new namespace in {time.monotonic() - begun:.1f} s")
    with installation.connect(
        installation.client("site-9999", "--spiffe", "spiffe://sites.example/9999")
    ) as connection:
        assert connection.grpc(GRPC_PATHS["traces"], frame(traces("a"))).grpc_status == 0


def test_a_missing_namespace_of_the_backend_is_named(deploy: Callable[..., Installation], kubectl: Kubectl) -> None:
    installation = deploy("backless")
    installation.change(lambda config: config.update(backend={"service": {"name": "otel", "namespace": "not-there"}}))
    output = installation.run("apply", code=1).stderr
    assert "namespace not-there does not exist" in output and "`backend.service.namespace`" in output, output
    assert missing(kubectl, "backless")


def test_a_namespace_that_is_being_deleted_is_an_error_with_a_hint(
    deploy: Callable[..., Installation], kubectl: Kubectl
) -> None:
    installation = deploy("leaving")
    kubectl("create", "namespace", "leaving")
    held = {"name": "held", "namespace": "leaving", "finalizers": ["example.com/held"]}
    kubectl.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": held})
    kubectl("delete", "namespace", "leaving", "--wait=false")
    try:
        output = installation.run("apply", code=1).stderr
        assert (
            "namespace leaving is being deleted" in output and "kubectl wait --for=delete namespace/leaving" in output
        ), output
    finally:
        kubectl("patch", "configmap", "held", "-n", "leaving", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')


def admission(name: str, namespaces: list[str], resources: dict, unless: str) -> tuple[dict, dict]:
    """An admission policy that denies these resources unless an expression is true, with its binding."""
    header = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    within = {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": namespaces}]}
    policy = header | {
        "kind": "ValidatingAdmissionPolicy",
        "spec": {
            "matchConstraints": {"resourceRules": [resources]},
            "validations": [{"expression": unless, "message": f"denied by {name}"}],
        },
    }
    binding = header | {
        "kind": "ValidatingAdmissionPolicyBinding",
        "spec": {"policyName": name, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": within}},
    }
    return policy, binding


def test_an_object_that_a_new_namespace_denies_is_an_error_before_anything_is_applied(
    deploy: Callable[..., Installation], kubectl: Kubectl
) -> None:
    """Before the namespace exists, objects can only be tried in another namespace, where other policies apply."""
    installation = deploy("ruled")
    services = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["services"]}
    kubectl("create", "namespace", "ruled-too")
    kubectl.apply(*admission("no-services", ["ruled", "ruled-too"], services, "false"))
    try:
        trial = ("create", "service", "clusterip", "trial", "--tcp=1", "-n", "ruled-too", "--dry-run=server")
        wait_until(lambda: kubectl.attempt(*trial).returncode, "the admission policy applies")
        output = installation.run("apply", code=1).stderr
        assert "service/otel-gateway-collector in ruled: " in output and "denied by no-services" in output, output
        assert (
            "only namespaces have been created" in output and "an admission policy of the cluster denies it" in output
        ), output
        assert labelled(kubectl, "ruled") == []
    finally:
        kubectl("delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", "no-services")
        kubectl("delete", "namespace", "ruled-too", "--wait=false")
    wait_until(lambda: installation.run("apply", "--no-wait"), "the namespace accepts the objects")


def test_an_apply_that_fails_half_way_reports_the_applied_objects_and_can_be_repeated(
    deploy: Callable[..., Installation], kubectl: Kubectl
) -> None:
    """A dry run does not find a policy that applies to real requests only."""
    installation = deploy("halfway")
    api = "gateway.networking.k8s.io"
    routes = {"apiGroups": [api], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["grpcroutes"]}
    trial = {"apiVersion": f"{api}/v1", "kind": "GRPCRoute", "metadata": {"name": "trial"}, "spec": {}}

    def denied() -> bool:
        done = kubectl.attempt("create", "-n", "halfway-too", "-f", "-", stdin=json.dumps(trial))
        return "denied by no-routes" in done.stderr

    kubectl("create", "namespace", "halfway-too")
    kubectl.apply(*admission("no-routes", ["halfway", "halfway-too"], routes, "request.dryRun"))
    try:
        wait_until(denied, "the admission policy applies")
        output = installation.run("apply", code=1).stderr
        assert "grpcroute/otel-gateway-traces in halfway: " in output and "denied by no-routes" in output, output
        report = re.search(r"(\d+) of (\d+) objects are up to date; the next `otlp-gate apply` continues", output)
        assert report and "an admission policy of the cluster denies it" in output, output
        there, wanted = map(int, report.groups())
        # Routes are applied last.
        assert 0 < there < wanted
        assert "gateway.gateway.networking.k8s.io/otel-gateway" in labelled(kubectl, "halfway")
        # A second `apply` reports the same, since it has nothing to create again.
        assert report[0] in installation.run("apply", code=1).stderr
    finally:
        kubectl("delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", "no-routes")
        wait_until(lambda: not denied(), "the admission policy is gone")
        kubectl("delete", "namespace", "halfway-too", "--wait=false")
    changes = [one["change"] for one in installation.apply()["objects"] if one["kind"] != "Namespace"]
    assert changes == ["unchanged"] * there + ["created"] * (wanted - there)


def test_an_image_that_cannot_be_pulled_is_named(deploy: Callable[..., Installation]) -> None:
    installation = deploy("unpulled")
    installation.change(lambda config: config["backend"]["collector"].update(image="localhost/not-there:1"))
    output = installation.apply_fails("localhost/not-there:1")
    assert "the gate is not ready after 1 s" in output
    assert "container collector" in output and "localhost/not-there:1" in output, output


@pytest.mark.alone
@pytest.mark.skipif(PROVIDER == "istio", reason="its module is in a ConfigMap")
def test_a_module_that_cannot_be_fetched_is_named(deploy: Callable[..., Installation]) -> None:
    installation = deploy("unfetched")
    installation.change(lambda config: config["gateway"]["module"].update(url=f"http://{MACHINE}:9/otlp-gate.wasm"))
    try:
        output = installation.apply_fails("wasm module download failed")
        assert "wasm module download failed" in output and f"{MACHINE}:9" in output, output
        assert "hint: Envoy Gateway must reach the URL in `gateway.module`" in output, output
    finally:
        # Envoy Gateway tries to download the module at every change of any gateway, and waits for it.
        installation.run("delete", "--yes")


def test_missing_rights_are_named(deploy: Callable[..., Installation], kubectl: Kubectl, tmp_path: Path) -> None:
    installation = deploy("unheard")
    kubectl("create", "serviceaccount", "unprivileged", "-n", "default")
    try:
        token = kubectl("create", "token", "unprivileged", "-n", "default").strip()
        config = kubectl.json("config", "view", "--raw", "--flatten")
        config["users"][0]["user"] = {"token": token}
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(json.dumps(config))
        env = {"KUBECONFIG": str(kubeconfig)}
        output = installation.run("apply", code=1, env=env).stderr
        assert "system:serviceaccount:default:unprivileged" in output and "hint: ask for these rights" in output, output
        checks = {
            check["subject"]: check
            for check in json.loads(installation.run("doctor", "-o", "json", code=1, env=env).stdout)["checks"]
        }
        assert checks["rights"]["verdict"] == "fail" and "gateways in namespace unheard" in checks["rights"]["found"]
    finally:
        kubectl("delete", "serviceaccount", "unprivileged", "-n", "default")


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("unreachable", ("cannot connect to the cluster at https://127.0.0.1:9", "kubectl cluster-info")),
        ("no such context", ("context `nowhere`", "its contexts are: ")),
        ("no kubeconfig", ("no usable kubeconfig", "set KUBECONFIG")),
    ],
)
def test_an_unreachable_cluster_is_an_error_with_a_hint(
    deploy: Callable[..., Installation], kubectl: Kubectl, tmp_path: Path, case: str, words: tuple[str, ...]
) -> None:
    installation = deploy("absent")
    kubeconfig, args = tmp_path / "kubeconfig", ()
    if case == "unreachable":
        config = kubectl.json("config", "view", "--raw", "--flatten")
        config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
        kubeconfig.write_text(json.dumps(config))
    elif case == "no such context":
        kubeconfig.write_text(kubectl("config", "view", "--raw", "--flatten"))
        args = ("--context", "nowhere")
    env = {"KUBECONFIG": str(kubeconfig)}
    output = installation.run(*args, "status", code=1, env=env).stderr
    assert all(word in output for word in words), output


def test_kubectl_applies_rendered_manifests_without_a_warning(
    gate: Installation, tmp_path: Path, kubectl: Kubectl
) -> None:
    """As with GitOps."""
    out = tmp_path / "manifests"
    gate.run("render", "--out", str(out))
    options = ("--server-side", "--dry-run=server", "--force-conflicts", "--field-manager=gitops")
    done = kubectl.attempt("apply", *options, "-k", str(out))
    assert done.returncode == 0 and "warning" not in done.stderr.lower(), done.stderr


@pytest.mark.skipif(PROVIDER != "istio", reason="only Istio has an overlay in a ConfigMap")
def test_an_invalid_overlay_is_reported_and_repaired(gate: Installation, kubectl: Kubectl) -> None:
    """Istio only logs an overlay that it cannot parse, and ignores it."""
    name, key = "otel-gateway-deployment", "deployment"
    patch = json.dumps({"data": {key: "spec: [this is not a Deployment"}})
    kubectl("patch", "configmap", name, "-n", gate.namespace, "--type=merge", "-p", patch, "--field-manager=tester")
    failed = gate.run("apply", code=1).stderr
    assert name in failed and "tester" in failed and "--force-conflicts" in failed
    assert "this is not a Deployment" in kubectl("get", "configmap", name, "-n", gate.namespace, "-o", "yaml")
    gate.apply("--force-conflicts")
    assert "this is not a Deployment" not in kubectl("get", "configmap", name, "-n", gate.namespace, "-o", "yaml")
