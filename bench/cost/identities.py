"""A gate behind a trusted hop: all requests from one client, or each request from another client."""

import itertools

from . import load, processes
from .goals import at_most
from .policies import MANY
from .report import Table, times
from .rig import EARLIER, GATES

CLIENTS, QUICK_CLIENTS = 100_000, 20_000
AGAINST_ONE = 1.1


def measure(rig):
    clients = {"one": 1, "many": QUICK_CLIENTS if rig.options.quick else CLIENTS}
    columns = [column for column in (*GATES, EARLIER) if column in rig.modules]
    body, measured, urls = rig.folder / "10.plain", {}, {}
    for key in itertools.product(columns, clients):
        name = f"{key[0]} with {key[1]}"
        gate = measured[key] = rig.gate_behind_hop(key[0], name, MANY)
        load.check(gate.port, body, name, "?id=0")
        urls[key] = load.many_clients(gate.port, body, clients[key[1]])
    requests = clients["many"]

    def once(key):
        load.run(requests, "-c", 1, "-m", 16, *load.arguments(body), "-i", urls[key])

    for key in measured:
        once(key)
    taken = load.in_turn(measured, 2 if rig.options.quick else 3, requests, once)
    memory = {key: processes.memory_mib(program.pid) for key, program in measured.items()}
    return {
        "clients": clients["many"],
        "cpu": {column: {count: taken[column, count] for count in clients} for column in columns},
        "MiB": {column: {count: memory[column, count] for count in clients} for column in columns},
    }


def goals(found):
    for column in GATES:
        taken = found["cpu"][column]
        text = f"10 plain, {column}: {found['clients']:,} clients against one"
        yield at_most(text, AGAINST_ONE, taken["many"] / taken["one"])


def tables(found):
    many = f"{found['clients']:,} clients"
    yield Table(
        many,
        "CPU time of Envoy per request of 10 spans, in µs, behind a trusted hop, and Envoy's peak memory, in MiB: all "
        "requests from one client, or each from another client.",
        ("Filter", "One client", many, "many / one", "MiB, one", "MiB, many"),
        [
            (
                column,
                f"{taken['one']:.0f}",
                f"{taken['many']:.0f}",
                times(taken["many"] / taken["one"]),
                *(str(mib) for mib in found["MiB"][column].values()),
            )
            for column, taken in found["cpu"].items()
        ],
    )
