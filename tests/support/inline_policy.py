"""An Envoy whose listener contains the filter's policy, as Envoy Gateway sends it. Each new policy is an update of the
listener, which makes a filter chain beside the one before."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from support.client import Http2, Identity
from support.envoy import (
    ANY_PORT,
    FILTERS,
    TYPES,
    Envoy,
    address,
    file,
    http2_cluster,
    http_manager,
    listener,
    route_to,
    server_tls,
)
from support.gate import NATIVE_MODULE, otlp_gate
from support.protobuf import traces
from support.sink import HTTP_PATHS

# Seconds that connections of an older filter chain may stay.
DRAIN = 3


class InlinePolicyEnvoy(Envoy):
    """Forwards gRPC to the backend, and answers other requests that the filter lets through with 204."""

    def __init__(
        self,
        folder: Path,
        certs: Path,
        backend: int,
        change: Callable[[bytes], bytes] = lambda module: module,
        forward_client_cert: str = "SANITIZE_SET",
    ):
        self._folder, self._certs, self._forward = folder, certs, forward_client_cert
        self._module = folder / "otlp-gate.wasm"
        if NATIVE_MODULE:
            shutil.copy(NATIVE_MODULE, folder / "libotlp_gate.so")
        else:
            otlp_gate("wasm", "export", self._module)
            self._module.write_bytes(change(self._module.read_bytes()))
        self.allow("acme")
        listeners = {"path_config_source": {"path": str(folder / "listeners.json")}, "resource_api_version": "V3"}
        bootstrap = {
            "dynamic_resources": {"lds_config": listeners},
            "static_resources": {"clusters": [http2_cluster("sink", address(backend))]},
        }
        drain = ("--drain-time-s", str(DRAIN), "--drain-strategy", "immediate")
        search = {"ENVOY_DYNAMIC_MODULES_SEARCH_PATH": str(folder)}
        super().__init__(folder, bootstrap, "--concurrency", "2", *drain, env=search)
        self.address = f"127.0.0.1:{self.listener_port()}"

    def allow(self, client: str, **attributes: str) -> None:
        """Updates the policy: it has this client only. Its revision is the number of letters of the client's name."""
        rule = {"name": client, "match": {"spiffe": f"spiffe://{client}.example/**"}, "attributes": attributes}
        policy = json.dumps({"clients": [rule], "gate": "test", "revision": f"{len(client):012x}"})
        new = self._folder / "new"
        new.write_text(json.dumps({"resources": [self._listener(policy)]}))
        new.rename(self._folder / "listeners.json")

    def _listener(self, policy: str) -> dict:
        configuration = {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": policy}
        wasm = {
            "name": "otlp-gate",
            "root_id": "otlp-gate",
            "vm_config": {"vm_id": "one", "runtime": "envoy.wasm.runtime.v8", "code": {"local": file(self._module)}},
            "configuration": configuration,
        }
        native = {
            "@type": f"{FILTERS}.http.dynamic_modules.v3.DynamicModuleFilter",
            "dynamic_module_config": {"name": "otlp_gate", "do_not_close": True},
            "filter_name": "otlp-gate",
            "filter_config": configuration,
        }
        in_vm = {"@type": f"{FILTERS}.http.wasm.v3.Wasm", "config": wasm}
        http = http_manager(
            "test",
            [
                {"match": {"prefix": "/", "grpc": {}}, "route": route_to("sink")["route"]},
                {"match": {"prefix": "/"}, "direct_response": {"status": 204}},
            ],
            {"name": "otlp-gate", "typed_config": native if NATIVE_MODULE else in_vm},
            forward_client_cert_details=self._forward,
            set_current_client_cert_details={"cert": True},
        )
        kind = {"@type": f"{TYPES}.config.listener.v3.Listener"}
        return kind | listener(http, name="test", at=ANY_PORT, tls=server_tls(self._certs))

    def revision(self) -> int:
        """The policy's revision, by the filter's metric."""
        return self.stat("otlp_gate_policy_revision")

    def status(self, identity: Identity) -> int:
        """The HTTP status of an export over a new connection."""
        with Http2(self.address, identity) as connection:
            return connection.http(HTTP_PATHS["traces"], traces("a")).status
