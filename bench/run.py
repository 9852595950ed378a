"""Measures what the filter costs Envoy, compared with no filter, a no-op filter, a copying filter and a Collector.

`cargo xtask bench` builds the modules, installs the tools and calls this. See README.md.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import sys
import tempfile
import time

import payloads
from cost import backends, identities, latency, quotas, report, rows, workers
from cost.certificates import make_certificates
from cost.rig import Rig

PARTS = {
    "rows": rows,
    "latency": latency,
    "workers": workers,
    "identities": identities,
    "backend-tls": backends,
    "quotas": quotas,
}
# The names of each row: all of a size, or one.
ROWS = {row: ("rows", row.split()[0], row.replace(" ", "-")) for row in rows.ROWS}


def measure(options):
    """What each chosen part measured."""
    found, chosen = {}, options.only or list(PARTS)
    chosen_rows = [row for row, names in ROWS.items() if set(names) & set(chosen)]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make_certificates(folder)
        payloads.main(folder)
        for name, part in PARTS.items():
            if name not in chosen and not (part is rows and chosen_rows):
                continue
            began = time.monotonic()
            with Rig(options, folder) as rig:
                found[name] = part.measure(rig, chosen_rows) if part is rows else part.measure(rig)
            print(f"measured {name} in {time.monotonic() - began:.0f} s", file=sys.stderr)
    return found


def main():
    parser = argparse.ArgumentParser(description="Measure what the filter costs Envoy.")
    parser.add_argument("--envoy", required=True, metavar="FILE", help="Envoy's binary")
    parser.add_argument("--gate", required=True, metavar="FILE", help="module of otlp-gate")
    parser.add_argument("--native", required=True, metavar="FILE", help="native module of otlp-gate")
    parser.add_argument("--noop", required=True, metavar="FILE", help="module of the no-op filter")
    parser.add_argument("--copy", required=True, metavar="FILE", help="module of the copying filter")
    parser.add_argument("--otelcol", metavar="FILE", help="Collector's binary; without it, no Collector is measured")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and requests")
    parser.add_argument("--earlier", metavar="FILE", help="another build of the module, measured beside this one")
    parser.add_argument("--write-docs", action="store_true", help="also write the tables into docs/reference/cost.md")
    only = parser.add_argument("--only", action="append", metavar="PART", help="measure only this; may be repeated")
    only.choices = sorted({*PARTS, *(name for names in ROWS.values() for name in names)})
    options = parser.parse_args()
    if options.write_docs and not PARTS.keys() >= set(options.only or ()):
        parser.error(f"--write-docs takes whole parts: {', '.join(PARTS)}")

    machine = report.machine(options.envoy)
    found = measure(options)
    goals = [goal for name, of in found.items() for goal in PARTS[name].goals(of)]
    tables = [table for name, of in found.items() for table in PARTS[name].tables(of)]
    if options.write_docs:
        report.write_docs(machine, options, tables)
    if options.json:
        print(json.dumps({"machine": machine, "measured": found, "goals": [dataclasses.asdict(it) for it in goals]}))
        return
    for table in tables:
        print(f"{table.text()}\n")
    print(", ".join(f"{name} {value}" for name, value in machine.items()) + f" (now {os.getloadavg()[0]:.1f})\n")
    for goal in goals:
        word = "reached" if goal.reached >= 1 else "not reached"
        print(f"{goal.text:<80} {goal.measured:>12}  {word}: {goal.reached:.2f} of the goal")


try:
    main()
except KeyboardInterrupt:
    sys.exit(130)
