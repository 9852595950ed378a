"""Measures what the gateway on a node takes: spans for each second of CPU, and memory, in each of its modes.

Called by `cargo xtask bench --node-local` with a cluster. See README.md.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from payloads import framed, request_of_spans  # noqa: E402
from support.cluster.installation import MACHINE, Installation, Kubectl, wait_until  # noqa: E402
from support.cluster.node_gateways import NodeGateways, to  # noqa: E402
from support.sink import GRPC_PATHS  # noqa: E402

MODES = {"memory": {}, "memory, when delivered": {"acknowledge": "delivered"}, "durable": {"queue": "durable"}}
# The batches of SDKs, and spans of the size for which others publish figures.
SPANS, ATTRIBUTES = 512, 40
# What fits into the smallest queue, however slow the backend is: 36 MB.
REQUESTS, ROUNDS = 60, 7
NODE = "node-1"


def backend(folder):
    """A Collector on this machine that takes everything and does nothing with it."""
    config = {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"{MACHINE}:14317", "max_recv_msg_size_mib": 16}}}},
        "exporters": {"nop": {}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["nop"]}},
        },
    }
    file = folder / "backend.json"
    file.write_text(json.dumps(config))
    return subprocess.Popen(
        [os.environ["OTELCOL"], "--config", file], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def process_of(pod):
    """The only process of a pod's container: pods share this machine's kernel."""
    uid = pod["metadata"]["uid"]
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if uid in (entry / "mountinfo").read_text() and (entry / "exe").readlink().name == "otelcol":
                return entry
        except OSError:
            continue
    raise ProcessLookupError(f"no process of pod {uid}")


def cpu(process):
    fields = (process / "stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(process):
    """The most that it has ever held, in MiB."""
    line = next(line for line in (process / "status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


def load(sender, address, body, requests):
    """Sends from inside of the sender's pod, whose address is what the gateway knows it by."""
    network = ["nsenter", f"--net={process_of(sender.pod())}/ns/net"]
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    command = ["h2load", "-n", str(requests), "-c", "4", "-m", "4", "-t", "1", "-d", body, *headers]
    done = subprocess.run(
        [*network, *command, f"http://{address}:4317{GRPC_PATHS['traces']}"], capture_output=True, text=True, check=True
    )
    assert f"{requests} succeeded" in done.stdout, done.stdout


def measure(nodes, sender, body, rounds):
    pod = nodes.pods()[NODE]
    process, address = process_of(pod), pod["status"]["podIP"]
    load(sender, address, body, REQUESTS)
    wait_until(lambda: settled(nodes), "the queue is empty")
    rates = []
    for _ in range(rounds):
        taken, spent = nodes.accepted(NODE), cpu(process)
        load(sender, address, body, REQUESTS)
        wait_until(lambda: settled(nodes), "the queue is empty")
        taken, spent = nodes.accepted(NODE) - taken, cpu(process) - spent
        # h2load sees HTTP's status only; the gateway's own count says what it took.
        assert taken == REQUESTS * SPANS, f"{taken} of {REQUESTS * SPANS} spans were taken"
        rates.append(taken / spent)
    return {"spans_per_cpu_second": round(statistics.median(rates)), "memory_mib": memory(process)}


def settled(nodes):
    """Whether nothing waits in its queue."""
    path = f"/api/v1/namespaces/{nodes.namespace}/pods/{nodes.pods()[NODE]['metadata']['name']}:8888/proxy/metrics"
    lines = nodes.kubectl("get", "--raw", path).splitlines()
    sizes = [float(line.split()[-1]) for line in lines if line.startswith("otelcol_exporter_queue_size")]
    sent = [float(line.split()[-1]) for line in lines if line.startswith("otelcol_exporter_sent_spans")]
    return sum(sizes) == 0 and sum(sent) == nodes.accepted(NODE)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--quick", action="store_true")
    arguments = arguments.parse_args()
    kubectl, results = Kubectl(), {}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        sink = backend(folder)
        installation = Installation(folder, "bench")
        installation.configure("unused:1", None)
        nodes = NodeGateways(installation, kubectl)
        message = request_of_spans(SPANS, ATTRIBUTES)
        body = folder / "spans"
        body.write_bytes(framed(message, 0))
        try:
            for mode, more in MODES.items():
                nodes.configure(to(f"{MACHINE}:14317"), **more)
                installation.apply()
                sender = nodes.sender("team-bench", NODE)
                wait_until(lambda: sender.sent("warm"), "the pod can send")
                results[mode] = measure(nodes, sender, body, 2 if arguments.quick else ROUNDS)
                print(mode, results[mode], file=sys.stderr)
        finally:
            nodes.stop()
            sink.terminate()
            sink.wait(10)
    shape = {"spans": SPANS, "attributes": ATTRIBUTES, "bytes_per_span": len(message) // SPANS}
    if arguments.json:
        print(json.dumps({"shape": shape, "modes": results}))
        return
    each = f"{ATTRIBUTES} attributes and {shape['bytes_per_span']} bytes each"
    print(f"{SPANS} spans a request, {each}; load average {os.getloadavg()[0]:.1f}")
    print(f"{'mode':<24} {'spans/s per core':>18} {'memory, MiB':>12}")
    for mode, result in results.items():
        print(f"{mode:<24} {result['spans_per_cpu_second']:>18} {result['memory_mib']:>12}")


if __name__ == "__main__":
    begun = time.monotonic()
    main()
    print(f"{time.monotonic() - begun:.0f} s", file=sys.stderr)
