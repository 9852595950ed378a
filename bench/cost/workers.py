"""A gate with one worker, and with two, over sixteen connections."""

from . import load
from .goals import at_most
from .report import Table, times
from .rig import GATES
from .rows import ROWS

TWO = 1.05


def measure(rig):
    workers = {(column, count): f"{column} with {count} workers" for column in GATES for count in (1, 2)}
    measured = {key: rig.gate(key[0], name, workers=key[1]) for key, name in workers.items()}
    body, requests = rig.folder / "100.plain", rig.fewer(ROWS["100 plain"])
    once = lambda key: load.full(measured[key].port, body, requests, 16)
    for key, name in workers.items():
        load.check(measured[key].port, body, name)
        once(key)
    taken = load.in_turn(measured, 2 * rig.rounds, requests, once)
    return {column: {"one": taken[column, 1], "two": taken[column, 2]} for column in GATES}


def goals(found):
    for column, taken in found.items():
        yield at_most(f"100 plain, {column}: two workers against one", TWO, taken["two"] / taken["one"])


def tables(found):
    yield Table(
        "Two workers",
        "CPU time of Envoy per request of 100 spans, in µs, with 16 connections.",
        ("Filter", "One worker", "Two workers", "two / one"),
        [
            (column, f"{taken['one']:.0f}", f"{taken['two']:.0f}", times(taken["two"] / taken["one"]))
            for column, taken in found.items()
        ],
    )
