"""The sources of the filter's module, and its replacement by another version under steady load."""

import hashlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.client import Answer, Http2, frame
from support.cluster.installation import PROVIDER, Installation, Kubectl, kill, wait_until
from support.cluster.load import GateLoad
from support.cluster.registry import Registry
from support.gate import COMMAND
from support.protobuf import traces
from support.sink import GRPC_PATHS, Sink

# Parts of the message to a certificate that matches no rule, by this version and by the next one.
MESSAGE, NEXT_MESSAGE = b"certificate matches no configured client", b"CERTIFICATE matches no configured client"


@pytest.fixture(scope="session")
def carried() -> bytes:
    """The module that is embedded in the command."""
    return subprocess.run([COMMAND, "wasm", "export", "-"], check=True, capture_output=True).stdout


@pytest.fixture(scope="session")
def next_version(tmp_path_factory: pytest.TempPathFactory, carried: bytes) -> str:
    """The command with another module, as in its next version."""
    program = Path(COMMAND).read_bytes()
    assert program.count(carried) == 1 and carried.count(MESSAGE) == 1
    file = tmp_path_factory.mktemp("next") / "otlp-gate"
    file.write_bytes(program.replace(carried, carried.replace(MESSAGE, NEXT_MESSAGE)))
    file.chmod(0o755)
    return str(file)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    registry = Registry(tmp_path_factory.mktemp("registry"))
    registry.start()
    yield registry
    registry.close()


@pytest.fixture(scope="module")
def pulled(deploy: Callable[..., Installation], registry: Registry) -> Installation:
    """A gate with a module from a registry."""
    installation = deploy("pulled")
    use_module(installation, pushed(installation, registry, "1"))
    installation.apply()
    return installation


@pytest.fixture
def load(pulled: Installation, backend: Sink) -> Iterator[GateLoad]:
    with GateLoad(pulled, backend) as load:
        yield load


def pushed(installation: Installation, registry: Registry, tag: str, command: str = COMMAND) -> dict:
    """Pushes the module; returns the value of `gateway.module`."""
    return installation.json("wasm", "push", "--insecure", f"{registry.address}/otlp-gate:{tag}", command=command)


def use_module(installation: Installation, module: dict) -> None:
    installation.change(lambda config: config["gateway"].update(module=module))


def rejection(installation: Installation) -> bytes:
    """The message to a certificate that matches no rule, on a new connection."""
    with installation.connect(installation.stranger()) as connection:
        answer = connection.grpc(GRPC_PATHS["traces"], frame(traces("a")))
    assert answer.grpc_status == 7
    return answer.grpc_message.encode()


def test_a_module_from_a_registry_is_used(pulled: Installation) -> None:
    outcome = wait_until(lambda: (it := pulled.verify())["ok"] and it, "verify passes")
    assert {case["result"] for case in outcome["cases"]} == {"pass"}, outcome
    assert rejection(pulled).startswith(MESSAGE)


def test_a_new_version_from_a_registry_replaces_the_module_under_load(
    pulled: Installation, registry: Registry, load: GateLoad, next_version: str
) -> None:
    begun = time.monotonic()
    use_module(pulled, pushed(pulled, registry, "2", next_version))
    pulled.run("apply", command=next_version)
    wait_until(lambda: rejection(pulled).startswith(NEXT_MESSAGE), "the new module is used")
    taken = time.monotonic() - begun
    load.wait_for()
    outcome = load.outcome()
    print(f"module replaced from a registry: {outcome}; in use {taken:.1f} s after `apply` began")
    assert outcome.ok, outcome


def test_without_its_module_a_gateway_rejects_everything(
    pulled: Installation, registry: Registry, kubectl: Kubectl, load: GateLoad
) -> None:
    """Proxies that have the module continue, also with new policies. Istio's new proxies reject all requests, and
    `status` reports why."""
    registry.stop()
    try:
        pulled.change(lambda config: config["attributes"].update(changed="{name}"))
        pulled.apply()
        load.wait_for()
        kill(kubectl, *pulled.proxies())
        if PROVIDER == "istio":
            output = wait_until(
                lambda: "cannot fetch Wasm module" in (it := pulled.run("status", code=1)).stdout and it,
                "status reports that the module cannot be fetched",
            )
            assert "kubectl rollout restart" in output.stderr
    finally:
        registry.start()
    if PROVIDER == "istio":
        kubectl("rollout", "restart", "deployment", *pulled.proxies())
    load.wait_for()
    outcome = load.outcome()
    print(f"module made unfetchable, and the gateway pod killed: {outcome}")
    assert outcome.ok, outcome


def test_a_module_from_a_web_server_is_used_only_if_the_digest_matches(
    deploy: Callable[..., Installation], module_url: str, carried: bytes
) -> None:
    installation = deploy("served")
    use_module(installation, {"url": module_url})
    installation.apply()
    assert rejection(installation).startswith(MESSAGE)
    # Envoy Gateway stops downloading from a URL that failed, also for other gateways.
    use_module(installation, {"url": f"{module_url}?wrong", "sha256": "0" * 64})
    why = f"has checksum {hashlib.sha256(carried).hexdigest()}"
    assert why in installation.apply_fails(why)


def test_a_module_from_a_registry_is_used_only_if_the_digest_matches(
    pulled: Installation, registry: Registry, backend: Sink
) -> None:
    # Envoy Gateway stops downloading from a URL that failed, so the test needs another tag.
    other = pushed(pulled, registry, "other")
    good, address = pulled.config["gateway"]["module"], f"{pulled.address()}:4317"

    def answer() -> Answer:
        with Http2(address, pulled.acme()) as connection:
            return connection.grpc(GRPC_PATHS["traces"], frame(traces("a")))

    backend.rest()
    use_module(pulled, other | {"sha256": "0" * 64})
    why = f"has checksum {other['sha256']}"
    assert why in pulled.apply_fails(why)
    rejected = wait_until(
        lambda: it if (it := answer()).status != 200 or it.grpc_status != 0 else None, "requests are rejected"
    )
    print(f"with a module of another digest: {rejected}")
    assert not backend.rest()
    use_module(pulled, good)
    pulled.apply()
    wait_until(lambda: answer().grpc_status == 0, "requests are accepted again")
