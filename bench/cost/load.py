"""Load by h2load, and what it costs."""

import itertools
import math
import re
import statistics
import subprocess
import sys
import time

from .processes import cpu_seconds

TRACES = {"grpc": "/opentelemetry.proto.collector.trace.v1.TraceService/Export", "json": "/v1/traces"}
# The seconds between the begins of two connections, and between two requests of a connection. Their ratio is the golden
# ratio, which spreads the requests of any number of connections evenly. h2load looks for due requests every 10 ms, so a
# connection that sent more would send them in bursts.
APART, BETWEEN = 0.012, 0.012 * (1 + math.sqrt(5)) / 2


def arguments(body):
    """The options for a request with this body, whose file name ends in the kind of the body."""
    kind = "json" if body.suffix == ".json" else "grpc"
    headers = [f"content-type: application/{kind}", "te: trailers", "x-tenant: bench"]
    if body.suffix in (".gzip", ".zstd"):
        headers.append(f"grpc-encoding: {body.suffix[1:]}")
    return ["-d", body, *itertools.chain.from_iterable(("-H", header) for header in headers)]


def url(port, body, query=""):
    return f"http://127.0.0.1:{port}{TRACES['json' if body.suffix == '.json' else 'grpc']}{query}"


def start(requests, *words):
    """Starts h2load."""
    command = ["h2load", "-n", requests, "-t", 1, *words]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)


def finish(running, requests):
    """Waits for h2load's end. Returns its output."""
    output, _ = running.communicate()
    if f" {requests} succeeded" not in output or f" {requests} 2xx" not in output:
        sys.exit(f"error: requests failed: {' '.join(running.args)}\n{output}")
    return output


def run(requests, *words):
    return finish(start(requests, *words), requests)


def check(port, body, name, query="", http1=False):
    """Sends one request and checks its gRPC status, which is not in h2load's own counts. h2load prints headers, not
    trailers; a server that rejects a call has its status in the headers ("Trailers-Only" in gRPC over HTTP/2)."""
    output = run(1, "-v", *["--h1"] * http1, *arguments(body), url(port, body, query))
    if re.search(r"grpc-status: [1-9]", output):
        sys.exit(f"error: {name} rejects {body.name}:\n{output}")


def full(port, body, requests, connections=4, streams=4, http1=False):
    """As many requests a second as are answered."""
    run(requests, "-c", connections, "-m", streams, *["--h1"] * http1, *arguments(body), url(port, body))


def at_rate(port, body, rate, seconds):
    """About so many requests a second, evenly. Returns the milliseconds of each, once all connections send."""
    connections = max(1, round(rate * BETWEEN))
    all_send = connections * APART + 0.5
    requests = connections * round((all_send + seconds) / BETWEEN)
    spread = ["-c", connections, "-r", 1, "--rate-period", f"{APART * 1000:.0f}ms"]
    log = body.with_name(f"{body.name}.log")
    log.unlink(missing_ok=True)
    words = [*spread, "-m", 64, f"--rps={1 / BETWEEN:.3f}", f"--log-file={log}"]
    run(requests, *words, *arguments(body), url(port, body))
    sent = [tuple(map(int, line.split()[:3])) for line in log.read_text().splitlines()]
    begin = min(at for at, _, _ in sent) + all_send * 1e6
    return [taken / 1000 for at, _, taken in sent if begin <= at < begin + seconds * 1e6]


def many_clients(port, body, clients):
    """Writes a URL for each of so many clients behind a trusted hop. Returns the file, for h2load's `-i`."""
    file = body.with_name(f"{clients}-clients-of-{port}")
    file.write_text("".join(f"{url(port, body, f'?id={number}')}\n" for number in range(clients)))
    return file


def in_turn(processes, rounds, requests, once):
    """Loads the processes in turns, so that other work on the machine affects all of them equally. Returns the median
    CPU time per request of each, in microseconds."""
    taken = {name: [] for name in processes}
    for _ in range(rounds):
        for name, process in processes.items():
            before = cpu_seconds(process.pid)
            once(name)
            taken[name].append((cpu_seconds(process.pid) - before) / requests * 1e6)
    return {name: statistics.median(values) for name, values in taken.items()}


def seconds(action):
    began = time.monotonic()
    action()
    return time.monotonic() - began
