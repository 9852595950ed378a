"""How the filter's module gets to the gateway, and how the next version replaces it, under steady load."""

import hashlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from client import Answer, Http2, frame
from deployed import PROVIDER, Deployed, Kubectl, eventually, kill
from gate import COMMAND
from load import Load
from registry import Registry
from sink import GRPC_PATHS, Sink
from wire import traces

# What whoever has a certificate but is no client is told, by this version and by the next one.
SAID, SAYS = b"this certificate belongs to no client", b"THIS certificate belongs to no client"


@pytest.fixture(scope="session")
def carried() -> bytes:
    """The module that the command carries."""
    return subprocess.run([COMMAND, "wasm", "export", "-"], check=True, capture_output=True).stdout


@pytest.fixture(scope="session")
def next_version(tmp_path_factory: pytest.TempPathFactory, carried: bytes) -> str:
    """The command as its next version would be: it carries another module."""
    program = Path(COMMAND).read_bytes()
    assert program.count(carried) == 1 and carried.count(SAID) == 1
    file = tmp_path_factory.mktemp("next") / "otlp-gate"
    file.write_bytes(program.replace(carried, carried.replace(SAID, SAYS)))
    file.chmod(0o755)
    return str(file)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    registry = Registry(tmp_path_factory.mktemp("registry"))
    registry.start()
    yield registry
    registry.stop()


@pytest.fixture(scope="module")
def pulled(deploy: Callable[..., Deployed], registry: Registry) -> Deployed:
    """A gate whose module is an image."""
    place = deploy("pulled")
    take(place, pushed(place, registry, "1"))
    place.apply()
    return place


@pytest.fixture
def load(pulled: Deployed, backend: Sink) -> Iterator[Load]:
    with Load(pulled, backend) as load:
        yield load


def pushed(place: Deployed, registry: Registry, tag: str, command: str = COMMAND) -> dict:
    """The image in the registry, as `gateway.module` names it."""
    return place.json("wasm", "push", "--insecure", f"{registry.address}/otlp-gate:{tag}", command=command)


def take(place: Deployed, module: dict) -> None:
    place.change(lambda config: config["gateway"].update(module=module))


def told(place: Deployed) -> bytes:
    """What somebody who is no client is told, by a new connection."""
    stranger = place.client("stranger", "--spiffe", "spiffe://stranger.example/1")
    with place.connect(stranger) as connection:
        answer = connection.grpc(GRPC_PATHS["traces"], frame(traces("a")))
    assert answer.grpc_status == 7
    return answer.grpc_message.encode()


def test_an_image_from_a_registry_is_what_the_gateway_runs(pulled: Deployed) -> None:
    outcome = eventually(lambda: (it := pulled.json("verify", "--address", pulled.address()))["ok"] and it)
    assert {case["result"] for case in outcome["cases"]} == {"pass"}, outcome
    assert told(pulled).startswith(SAID)


def test_the_next_version_from_a_registry_takes_over_under_load(
    pulled: Deployed, registry: Registry, load: Load, next_version: str
) -> None:
    begun = time.monotonic()
    take(pulled, pushed(pulled, registry, "2", next_version))
    pulled.run("apply", command=next_version)
    eventually(lambda: told(pulled).startswith(SAYS))
    taken = time.monotonic() - begun
    load.flow()
    ledger = load.ledger()
    print(f"module replaced from a registry: {ledger}; in use {taken:.1f} s after `apply` began")
    assert ledger.kept, ledger


def test_a_module_that_cannot_be_fetched_never_leaves_the_gate_open(
    pulled: Deployed, registry: Registry, kubectl: Kubectl, load: Load
) -> None:
    """Proxies that have it serve on, with new policies too. Istio's new ones refuse everybody, and `status` says why."""
    registry.stop()
    try:
        pulled.change(lambda config: config["attributes"].update(changed="{name}"))
        pulled.apply()
        load.flow()
        kill(kubectl, *pulled.proxies())
        if PROVIDER == "istio":
            said = eventually(lambda: "cannot fetch Wasm module" in (it := pulled.run("status", code=1)).stdout and it)
            assert "kubectl rollout restart" in said.stderr
    finally:
        registry.start()
    if PROVIDER == "istio":
        kubectl("rollout", "restart", "deployment", *pulled.proxies())
    load.flow()
    ledger = load.ledger()
    print(f"module made unfetchable, and the gateway pod killed: {ledger}")
    assert ledger.kept, ledger


def test_a_web_servers_module_is_run_and_one_of_another_digest_is_not(
    deploy: Callable[..., Deployed], module_url: str, carried: bytes
) -> None:
    place = deploy("served")
    take(place, {"url": module_url})
    place.apply()
    assert told(place).startswith(SAID)
    # Envoy Gateway soon refuses an address that failed, to every other gateway too.
    take(place, {"url": f"{module_url}?wrong", "sha256": "0" * 64})
    why = f"has checksum {hashlib.sha256(carried).hexdigest()}"
    assert why in place.apply_fails(why)


def test_a_module_of_another_digest_is_not_run(pulled: Deployed, registry: Registry, backend: Sink) -> None:
    # Envoy Gateway soon refuses an address that failed, so that it must not be the good one's.
    other = pushed(pulled, registry, "other")
    good, address = pulled.config["gateway"]["module"], f"{pulled.address()}:4317"

    def answer() -> Answer:
        with Http2(address, pulled.acme()) as connection:
            return connection.grpc(GRPC_PATHS["traces"], frame(traces("a")))

    backend.rest()
    take(pulled, other | {"sha256": "0" * 64})
    why = f"has checksum {other['sha256']}"
    assert why in pulled.apply_fails(why)
    refused = eventually(lambda: (it := answer()).status != 200 or it.grpc_status != 0 and it)
    print(f"with a module of another digest: {refused}")
    assert not backend.rest()
    take(pulled, good)
    pulled.apply()
    eventually(lambda: answer().grpc_status == 0)
