"""Quotas that hold over several gates, by an engine: real Envoys, and a real Valkey and Redis.

All gates have one config. Each test has a client of its own, and so a bucket of its own.
"""

import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.client import Http2, Identity, frame
from support.config import Config, any_client
from support.counting_backend import UNAVAILABLE, CountingBackend
from support.engine import Engine
from support.gate import Certificates, Gate
from support.ledger import Ledger
from support.protobuf import attribute, traces
from support.sink import GRPC_PATHS, Sink
from support.waiting import wait_until

pytestmark = pytest.mark.wasm_only("the native module reports to no engine of shared quotas")

GATES = 3
RATE, CAPACITY = 500, 500
BATCH = 10
MESSAGE = frame(traces(*"s" * BATCH))
CONFIG = any_client("shared.example", quotas={"tiers": {"default": {"spans": f"{RATE}/s", "burst": "1s"}}})
UP = "wasmcustom.otlp_gate_quota_engine_up"
REPLICAS = "wasmcustom.otlp_gate_quota_engine_replicas"


class Cluster:
    """Gates with one engine."""

    def __init__(self, gates: list[Gate], engine: Engine, certificates: Certificates):
        self.gates = gates
        self.engine = engine
        self.certificates = certificates

    def client(self, name: str) -> Identity:
        return self.certificates.client(name, "--spiffe", f"spiffe://shared.example/{name}")

    def connect(self, name: str) -> list[Http2]:
        """A connection to each gate."""
        return [Http2(gate.grpc, self.client(name)) for gate in self.gates]

    def engine_is(self, up: int) -> bool:
        return all(gate.stats(f"^{UP}$") == {UP: up} for gate in self.gates)

    def reports(self, result: str) -> int:
        key = ("otlp_gate_quota_reports_total", frozenset({("result", result)}))
        return sum(gate.counters().get(key, 0) for gate in self.gates)


def load(
    name: str,
    connections: list[Http2],
    seconds: float,
    rate: float,
    pick: Callable[[int], int] | None = None,
    unavailable: Callable[[int], bool] = lambda number: False,
) -> Ledger:
    """Sends this many spans a second in batches. `pick` chooses the connection of a batch, by its number, and
    `unavailable` whether the backend takes it.
    """

    def send(number: int) -> int | None:
        connection = connections[pick(number) if pick else number % len(connections)]
        headers = {UNAVAILABLE: "1"} if unavailable(number) else {}
        return connection.grpc(GRPC_PATHS["traces"], MESSAGE, headers).grpc_status

    return Ledger(name, RATE, CAPACITY).load(seconds, rate, BATCH, send)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("engine")).start()
    yield engine
    engine.stop()


@pytest.fixture(scope="module")
def cluster(
    engine: Engine,
    certificates: Certificates,
    tmp_path_factory: pytest.TempPathFactory,
    counting_backend: CountingBackend,
) -> Iterator[Cluster]:
    file = tmp_path_factory.mktemp("shared") / "otlp-gate.yaml"
    file.write_text(str(CONFIG))
    port = counting_backend.port
    gates = [Gate(file, certificates.folder, port, port, "--engine", engine.address) for _ in range(GATES)]
    cluster = Cluster([gate.ready() for gate in gates], engine, certificates)
    yield cluster
    for gate in gates:
        gate.stop()


def test_three_times_the_load_is_admitted_once(cluster: Cluster) -> None:
    wait_until(lambda: cluster.engine_is(1), "all gates reach the engine")
    ledger = load("3 x load", cluster.connect("triple"), 2.5, 3 * RATE)
    assert ledger.reaches(0.97 * ledger.allowed) and ledger.admitted <= 1.04 * ledger.allowed, ledger
    # The engine knows the script by its digest: it came with the first report only.
    calls = cluster.engine.calls()
    # Besides, each of two workers asks every 5 s how many replicas there are.
    assert calls["evalsha"] > 5 and calls.get("eval", 0) <= 2 * GATES * 4, calls


def test_bursts_on_all_gates_at_once_are_paid_back(cluster: Cluster) -> None:
    connections = cluster.connect("bursts")
    ledger = load("bursts on all", connections, 2, 30 * RATE)
    assert ledger.admitted <= 1.06 * ledger.allowed, ledger


def test_a_client_that_hops_gets_its_quota_once(cluster: Cluster) -> None:
    ledger = load("hopping", cluster.connect("hopping"), 2.5, 3 * RATE, lambda number: number // 40 % GATES)
    assert ledger.reaches(0.96 * ledger.allowed) and ledger.admitted <= 1.05 * ledger.allowed, ledger


def test_a_client_that_stays_gets_all_of_its_quota(cluster: Cluster) -> None:
    ledger = load("pinned", cluster.connect("pinned"), 2, 3 * RATE, lambda number: 0)
    assert ledger.reaches(0.97 * ledger.allowed) and ledger.admitted <= 1.03 * ledger.allowed, ledger


def test_nobody_within_the_quota_is_throttled(cluster: Cluster) -> None:
    ledger = load("95 %", cluster.connect("within"), 2, 0.95 * RATE)
    assert ledger.refused == 0, ledger


def test_what_one_gate_refunds_can_be_spent_at_another(cluster: Cluster) -> None:
    connections = cluster.connect("refunds")
    # Each fifth batch goes to the first gate, and the backend does not take it.
    fifth = lambda number: number % 5 == 0
    ledger = load("refunds", connections, 2, 4 * RATE, lambda number: 0 if fifth(number) else number % 2 + 1, fifth)
    assert ledger.refunded > 0.2 * RATE * ledger.seconds, ledger
    assert ledger.reaches(0.9 * ledger.allowed) and ledger.admitted <= 1.06 * ledger.allowed, ledger


def test_a_hostile_client_has_one_key_and_reaches_no_other(cluster: Cluster) -> None:
    # What other clients sent has been reported by then.
    time.sleep(1.5)
    cluster.engine.connection.execute_command("FLUSHALL")
    hostile, victim = cluster.connect("hostile"), cluster.client("victim")
    for number in range(60):
        forged = f"By=x;URI=spiffe://shared.example/{'victim' if number % 2 else number};Hash={number:064x}"
        headers = {"x-forwarded-client-cert": forged, "x-tenant": str(number), "user-agent": "u" * number}
        body = frame(traces(*"s" * BATCH, attributes=(attribute("tenant.id", f"victim{number}"),)))
        hostile[number % GATES].grpc(GRPC_PATHS["traces"], body, headers)
    time.sleep(0.1)
    # The other key is the list of replicas.
    names = cluster.engine.keys()
    assert 1 <= len(names) <= 2, names
    # All of its burst is left, at a gate to which the hostile client has sent.
    with Http2(cluster.gates[1].grpc, victim) as connection:
        assert connection.grpc(GRPC_PATHS["traces"], frame(traces(*"s" * CAPACITY))).grpc_status == 0


def test_other_limits_under_load_take_the_debts_along(cluster: Cluster) -> None:
    connections = cluster.connect("limits")
    load("before other limits", connections, 1.2, 3 * RATE)
    tiers = {"tiers": {"default": {"spans": f"{RATE}/s", "burst": "2s"}}}
    try:
        cluster.gates[0].write_config(CONFIG.replace(quotas=tiers))
        during = load("twice the burst", connections, 2, 3 * RATE)
        # The burst is larger by as much as it was. Replicas count apart until all have the new one.
        most = RATE * during.seconds + 2 * CAPACITY
        assert during.reaches(RATE * during.seconds) and during.admitted <= most, during
        later = load("after other limits", connections, 1, 3 * RATE)
        assert later.admitted <= 1.1 * RATE * later.seconds + 2 * BATCH * GATES, later
    finally:
        cluster.gates[0].write_config(CONFIG)
        for gate in cluster.gates:
            gate.wait_for_log("policy updated")
            gate.wait_for_log("policy updated")


@pytest.mark.parametrize(
    "fault", ["kill", "stop", "flush", "readonly", "out of memory", "wrong password", "slow", "reload"]
)
def test_after_a_fault_the_quota_holds_again(cluster: Cluster, fault: str) -> None:
    """Meanwhile each gate has a quota of its own, and nobody is throttled more than without an engine."""
    engine, command = cluster.engine, cluster.engine.connection.execute_command
    connections = cluster.connect("fault-" + fault.replace(" ", "-"))
    wait_until(lambda: cluster.engine_is(1), "all gates reach the engine")
    load(f"before {fault}", connections, 0.8, 3 * RATE)
    spent = time.monotonic()

    match fault:
        case "kill":
            engine.stop()
        case "stop":
            engine.send(signal.SIGSTOP)
        case "flush":
            command("FLUSHALL")
            command("SCRIPT", "FLUSH")
        case "readonly":
            command("REPLICAOF", "127.0.0.1", "1")
        case "out of memory":
            command("CONFIG", "SET", "maxmemory", "1")
        case "wrong password":
            command("CONFIG", "SET", "requirepass", "secret")
        case "slow":
            engine.slow_down(0.06)
        case "reload":
            cluster.gates[0].write_config(CONFIG.replace(attributes={"reloaded": "yes"}))
            for gate in cluster.gates:
                gate.wait_for_log("policy updated")
    refilled = RATE * (time.monotonic() - spent)
    during = load(f"during {fault}", connections, 1, 3 * RATE)
    if fault in ("flush", "slow", "reload"):
        # The burst was spent. Each gate admits a little until its report is answered.
        assert during.admitted <= refilled + RATE * during.seconds + 0.5 * CAPACITY, during
    else:
        assert not cluster.engine_is(1)
        # As without an engine.
        assert during.reaches(1.5 * RATE * during.seconds), during

    match fault:
        case "kill":
            engine.start()
        case "stop":
            engine.send(signal.SIGCONT)
        case "readonly":
            command("REPLICAOF", "NO", "ONE")
        case "out of memory":
            command("CONFIG", "SET", "maxmemory", "0")
        case "wrong password":
            command("CONFIG", "SET", "requirepass", "")
        case "slow":
            engine.slow_down(0)
    # Traffic shows whether an engine takes reports again.
    healed, right = time.monotonic(), Ledger(f"right again after {fault}", RATE, CAPACITY)
    while not cluster.engine_is(1):
        more = load("until right", connections, 0.1, 3 * RATE)
        right.admitted, right.refused = right.admitted + more.admitted, right.refused + more.refused
        assert time.monotonic() < healed + 3, "the gates do not reach the engine"
    right.seconds = time.monotonic() - healed
    print(right)
    # What the replicas had paid off meanwhile is one burst more.
    # An engine that was stopped takes the reports that waited for it: what was admitted too much is paid back first.
    after = load(f"after {fault}", connections, 3 if fault == "stop" else 1.5, 3 * RATE)
    assert after.admitted <= 1.08 * after.allowed, after
    later = load(f"later {fault}", connections, 0.8, 3 * RATE)
    assert later.reaches(0.85 * RATE * later.seconds), later
    assert later.admitted <= 1.05 * RATE * later.seconds + 2 * BATCH * GATES, later


def test_the_engine_keeps_nothing_for_long_and_nothing_that_clients_chose(cluster: Cluster) -> None:
    load("some", cluster.connect("expiring"), 0.5, 2 * RATE)
    known = {REPLICAS: GATES}
    wait_until(lambda: all(gate.stats(f"^{REPLICAS}$") == known for gate in cluster.gates), "all are seen", timeout=7)
    names = cluster.engine.keys()
    assert names and all(name.startswith(b"otlp-gate:{") and len(name) == 47 for name in names), names
    # The list of replicas is kept for 15 s after the last question.
    waits = sorted(cluster.engine.connection.pttl(name) for name in names)
    assert waits[-1] <= 15000 and all(wait <= 6000 for wait in waits[:-1]), waits
    wait_until(lambda: len(cluster.engine.keys()) == 1, "debts expire", timeout=10)


def test_a_quota_of_all_clients_with_a_password(certificates: Certificates, tmp_path: Path, sink: Sink) -> None:
    """With Debian's Redis, if it is installed."""
    program = shutil.which("redis-server")
    engine = Engine(tmp_path, program).start()
    engine.connection.execute_command("CONFIG", "SET", "requirepass", "s3cret")
    total: Config = any_client("shared.example", quotas={"total": {"spans": "100/s", "burst": "30s"}})
    file = tmp_path / "otlp-gate.yaml"
    file.write_text(str(total))
    gates: list[Gate] = []
    try:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("OTLP_GATE_QUOTA_ENGINE_PASSWORD", "s3cret")
            for _ in range(2):
                gates.append(
                    Gate(file, certificates.folder, sink.grpc_port, sink.http_port, "--engine", engine.address)
                )
        cluster = Cluster([gate.ready() for gate in gates], engine, certificates)
        wait_until(lambda: cluster.engine_is(1), "both gates reach the engine")
        (one, _), (_, other) = cluster.connect("one"), cluster.connect("other")
        half = frame(traces(*"s" * 2000))
        assert one.grpc(GRPC_PATHS["traces"], half).grpc_status == 0
        # The other gate learns of it with its own first report.
        assert other.grpc(GRPC_PATHS["traces"], MESSAGE).grpc_status == 0
        time.sleep(1.2)
        assert other.grpc(GRPC_PATHS["traces"], half).grpc_status == 8
        assert cluster.reports("answered") > 0 and cluster.reports("failed") == 0
    finally:
        for gate in gates:
            gate.stop()
        engine.stop()


def test_replicas_of_one_command_divide_the_quota_while_the_engine_is_away(
    certificates: Certificates, tmp_path: Path, counting_backend: CountingBackend
) -> None:
    file, port = tmp_path / "otlp-gate.yaml", counting_backend.port
    quotas = {"tiers": {"default": {"spans": f"{RATE}/s", "burst": "1s"}}, "away": "divide"}
    file.write_text(str(any_client("shared.example", quotas=quotas)))
    engine = Engine(tmp_path).start()
    gate = Gate(file, certificates.folder, port, port, "--engine", engine.address, "--replicas", GATES)
    try:
        gate.ready()
        identity = certificates.client("divided", "--spiffe", "spiffe://shared.example/divided")
        # The kernel chooses the replica of a connection.
        each: dict[str, Http2] = {}
        accepted = "^listener.127.*downstream_cx_total$"
        while len(each) < GATES:
            before = {admin: gate.stats(accepted, admin) for admin in gate.admins}
            connection = Http2(gate.grpc, identity)
            connection.grpc(GRPC_PATHS["traces"], MESSAGE)
            (admin,) = (admin for admin in gate.admins if gate.stats(accepted, admin) != before[admin])
            each[admin] = connection
        known = {REPLICAS: GATES}
        wait_until(lambda: all(gate.stats(f"^{REPLICAS}$", admin) == known for admin in gate.admins), "all are seen")
        connections = list(each.values())
        before = load("before", connections, 1, 3 * RATE)
        assert before.admitted <= 1.08 * before.allowed, before
        engine.stop()
        during = load("divided", connections, 2, 3 * RATE)
        assert during.reaches(0.85 * RATE * during.seconds), during
        assert during.admitted <= RATE * during.seconds + 0.4 * CAPACITY, during
        # All replicas take a changed config.
        gate.update_policy(any_client("shared.example", quotas=quotas | {"away": "full"}))
        full = load("whole", connections, 1, 3 * RATE)
        assert full.reaches(1.5 * RATE * full.seconds), full
    finally:
        assert gate.stop() == 0
        engine.stop()
    # Warnings about an engine in a cluster.
    assert "quotas.engine" not in gate.rest_of_log()
