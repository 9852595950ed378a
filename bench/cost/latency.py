"""The time of a request, at half of the load that an Envoy of one worker can carry with the filter that costs most."""

import statistics

from . import load
from .goals import at_most
from .report import Table
from .rig import GATES, NONE

# Spans of a request, and requests of the run with full load.
SPANS = {10: 12000, 100: 8000}
# p99 at 100 spans, in milliseconds.
ADDED = 0.2


def measure(rig):
    measured = {NONE: rig.gateway(NONE), **{column: rig.gate(column) for column in GATES}}
    found = {}
    for spans, requests in SPANS.items():
        body, requests = rig.folder / f"{spans}.plain", rig.fewer(requests)
        for column, program in measured.items():
            load.check(program.port, body, column)
            load.full(program.port, body, requests)
        seconds = [
            load.seconds(lambda program=program: load.full(program.port, body, requests))
            for program in measured.values()
        ]
        rate = requests / max(seconds) / 2
        turns = {column: [] for column in measured}
        for _ in range(rig.rounds):
            for column, program in measured.items():
                times = load.at_rate(program.port, body, rate, 2 if rig.options.quick else 5)
                percentiles = statistics.quantiles(times, n=100)
                turns[column].append((percentiles[49], percentiles[98]))
        medians = {column: [statistics.median(of) for of in zip(*all_, strict=True)] for column, all_ in turns.items()}
        found[f"{spans} plain"] = {
            "requests a second": rate,
            "p50": {column: p50 for column, (p50, _) in medians.items()},
            "p99": {column: p99 for column, (_, p99) in medians.items()},
        }
    return found


def goals(found):
    p99 = found["100 plain"]["p99"]
    for column in GATES:
        yield at_most(f"100 plain, {column}: p99 added at half load", ADDED, p99[column] - p99[NONE], "ms")


def tables(found):
    def cells(row, percentile):
        of = row[percentile]
        return (f"{of[NONE]:.2f}", *(f"{of[column]:.2f} ({of[column] - of[NONE]:+.2f})" for column in GATES))

    yield Table(
        "Latency",
        "Milliseconds of a request, from the client through an Envoy that forwards over mTLS, the measured Envoy and "
        "the backend, and back; and what the filter adds. Each column gets the same load: half of what these programs "
        "can carry on this machine with the filter that costs most.",
        ("Spans", "Requests a second", "", NONE, *GATES),
        [
            (spans, f"{row['requests a second']:.0f}", percentile, *cells(row, percentile))
            for spans, row in found.items()
            for percentile in ("p50", "p99")
        ],
    )
