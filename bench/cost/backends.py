"""A gate whose backend speaks plain text, and one whose backend demands the gate's certificate."""

from . import envoys, load
from .report import Table, times
from .rig import WASM
from .rows import ROWS


def measure(rig):
    demanding = envoys.mutual_tls(rig.folder, "server", "Downstream", require_client_certificate=True)
    tls = {
        "backend": rig.sink("tls-sink", transport_socket=demanding),
        "transport_socket": envoys.mutual_tls(rig.folder, "client", "Upstream"),
    }
    measured = {
        "plain text": rig.gate(WASM, "gate with a plain backend"),
        "mutual TLS": rig.gate(WASM, "gate with a TLS backend", **tls),
    }
    found = {}
    for row in (row for row in ROWS if row.endswith("plain")):
        body, requests = rig.folder / row.replace(" ", "."), rig.fewer(ROWS[row])
        once = lambda name: load.full(measured[name].port, body, requests)
        for name, program in measured.items():
            load.check(program.port, body, f"the gate with a backend in {name}")
            once(name)
        found[row] = load.in_turn(measured, rig.rounds, requests, once)
    return found


def goals(_):
    return ()


def tables(found):
    yield Table(
        "TLS to the backend",
        "CPU time of Envoy with the Wasm module per request, in µs. Connections are kept, so the difference is the "
        "encryption of the records.",
        ("Spans", "Plain text", "Mutual TLS", "TLS / plain"),
        [
            (
                spans,
                f"{of['plain text']:.0f}",
                f"{of['mutual TLS']:.0f}",
                times(of["mutual TLS"] / of["plain text"]),
            )
            for spans, of in found.items()
        ],
    )
