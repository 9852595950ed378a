"""Requests of each size and kind: without a filter, with each filter, and through the Collectors."""

import sys

from . import load
from .goals import at_most, at_most_a_part
from .report import Table, times
from .rig import COPY, EARLIER, GATES, HOP, NATIVE, NONE, NOOP, RECEIVER, WASM

# Spans and kind of a request, and how many are sent in a turn, which takes each program about a second.
ROWS = {
    "10 plain": 5000,
    "10 gzip": 4000,
    "10 json": 4000,
    "100 plain": 4000,
    "100 gzip": 2000,
    "100 json": 2000,
    "1000 plain": 1000,
    "1000 gzip": 500,
    "1000 zstd": 500,
    "1000 json": 400,
    "8192 plain": 150,
    "8192 gzip": 80,
    "8192 json": 40,
}

# What the filter adds is at most 1/N of a Collector hop's CPU time.
ADDED = {
    "10 plain": {WASM: 9, NATIVE: 40},
    "100 plain": {WASM: 18, NATIVE: 60},
    "1000 plain": {WASM: 25, NATIVE: 60},
    "8192 plain": {WASM: 15, NATIVE: 40},
    "1000 gzip": {WASM: 8, NATIVE: 11},
    "1000 json": {WASM: 8, NATIVE: 12},
}
# What gateway and Collector take together for gzip, against what they take without otlp-gate.
TOGETHER = {WASM: 0.95, NATIVE: 0.85}
COPYING = 1.10


def measure(rig, chosen=tuple(ROWS)):
    gateways = {column: rig.gateway(column) for column in (NONE, NOOP, COPY)}
    gates = {column: rig.gate(column) for column in (WASM, NATIVE, EARLIER) if column in rig.modules}
    measured = gateways | gates | rig.collectors()
    return {row: one(rig, measured, row) for row in chosen}


def one(rig, measured, row):
    """The CPU time of such a request in each of the measured programs."""
    body, requests = rig.folder / row.replace(" ", "."), rig.fewer(ROWS[row])
    as_json = body.suffix == ".json"
    # Sixteen of the largest JSON requests at once are more than a gate holds of one client.
    streams = 1 if row == "8192 json" else 4

    def where(name):
        # Without TLS, a Collector accepts JSON only over HTTP/1.1.
        program, http1 = measured[name], as_json and name in (RECEIVER, HOP)
        return program.json_port if as_json else program.port, http1

    def once(name):
        port, http1 = where(name)
        load.full(port, body, requests, streams=streams, http1=http1)

    for name in measured:
        port, http1 = where(name)
        load.check(port, body, name, http1=http1)
        once(name)  # warm-up: V8 optimizes hot code
    taken = load.in_turn(measured, rig.rounds, requests, once)
    print(f"measured {row}", file=sys.stderr)
    return taken


def added(row, column):
    """What a filter adds, which may be smaller than the noise: the rounds can resolve a hundredth of the total."""
    return max(row[column] - row[NONE], row[NONE] / 100)


def together(found, name, column):
    """What gateway and Collector take together: without a filter, the Collector decompresses."""
    row = found[name]
    return row[column] + (row if column == NONE else found[plain(name)])[RECEIVER]


def compressed(found):
    """The rows whose requests the gate decompresses, if those of plain requests were measured too."""
    kinds = ("gzip", "zstd")
    return [name for name, row in found.items() if name.endswith(kinds) and RECEIVER in row and plain(name) in found]


def plain(name):
    """The row of the same spans without compression."""
    return f"{name.split()[0]} plain"


def goals(found):
    for name, parts in ADDED.items():
        row = found.get(name, {})
        for column, part in parts.items() if HOP in row else ():
            text = f"{name}, {column}: added, of a Collector hop"
            yield at_most_a_part(text, part, row[HOP] / added(row, column))
    for name, row in found.items():
        if name.endswith("plain") and name != "10 plain":
            yield at_most(f"{name}: Wasm against a copying filter", COPYING, row[WASM] / row[COPY])
    for name in compressed(found):
        for column, limit in TOGETHER.items() if name in ("1000 gzip", "8192 gzip") else ():
            against = together(found, name, column) / together(found, name, NONE)
            yield at_most(f"{name}, {column}: gateway and Collector together", limit, against)


def tables(found):
    def added_cells(row):
        yield from (f"{row[column] - row[NONE]:+.0f}" for column in GATES)
        yield from (times(row[column] / row[NONE]) for column in GATES)
        yield from (f"1/{row[HOP] / added(row, column):.1f}" if HOP in row else "" for column in GATES)

    yield Table(
        "What the filter adds",
        "CPU time of Envoy per request beyond that of Envoy without a filter, and the whole relative to it. The last "
        "columns have what is added as a part of the CPU time of a Collector that sets one attribute and forwards.",
        ("Spans", "Wasm, µs", "native, µs", "Wasm / none", "native / none", "Wasm, of a hop", "native, of a hop"),
        [(name, *added_cells(row)) for name, row in found.items()],
    )
    if names := compressed(found):
        columns = (NONE, *GATES)
        sums = {name: [together(found, name, column) for column in columns] for name in names}
        yield Table(
            "Gateway and Collector together",
            "CPU time per compressed request, in µs, and compared with no filter. With the filter, the Collector "
            "receives requests that are decompressed already.",
            ("Spans", *columns, "Wasm / none", "native / none"),
            [
                (name, *(f"{it:.0f}" for it in of_row), *(times(it / of_row[0]) for it in of_row[1:]))
                for name, of_row in sums.items()
            ],
        )
    columns = list(next(iter(found.values())))
    yield Table(
        "CPU time per request",
        "In µs, with user and system time. The no-op filter and the copying filter are Wasm modules. Columns of "
        "Collectors are their own CPU time.",
        ("Spans", *columns),
        [(name, *(f"{row[column]:.0f}" for column in columns)) for name, row in found.items()],
    )
