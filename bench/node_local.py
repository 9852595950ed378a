"""Measures the node-local gateway: spans per second of CPU time, and peak memory, in each of its modes.

`cargo xtask bench --node-local` starts a cluster and calls this. See README.md.
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
# The batch size of SDKs, and spans of the size that other published figures use.
SPANS, ATTRIBUTES = 512, 40
# 36 MB in total, which fits into the smallest queue however slow the backend is.
REQUESTS, ROUNDS = 60, 7
NODE = "node-1"


def backend(folder):
    """A Collector on this machine that accepts and drops everything."""
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
    """The /proc folder of the pod's only process. The nodes are containers, so pods run on this machine's kernel."""
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
    """Peak resident memory, in MiB."""
    line = next(line for line in (process / "status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


def load(sender, address, body, requests):
    """Sends from the network namespace of the sender's pod: the gateway identifies a pod by its IP address."""
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
        accepted, used = nodes.accepted(NODE), cpu(process)
        load(sender, address, body, REQUESTS)
        wait_until(lambda: settled(nodes), "the queue is empty")
        accepted, used = nodes.accepted(NODE) - accepted, cpu(process) - used
        # h2load checks only the HTTP status, so the gateway's own counter is compared.
        assert accepted == REQUESTS * SPANS, f"{accepted} of {REQUESTS * SPANS} spans were accepted"
        rates.append(accepted / used)
    return {"spans_per_cpu_second": round(statistics.median(rates)), "memory_mib": memory(process)}


def settled(nodes):
    """Whether the gateway's queue is empty and everything that it accepted has been sent."""
    path = f"/api/v1/namespaces/{nodes.namespace}/pods/{nodes.pods()[NODE]['metadata']['name']}:8888/proxy/metrics"
    lines = nodes.kubectl("get", "--raw", path).splitlines()
    sizes = [float(line.split()[-1]) for line in lines if line.startswith("otelcol_exporter_queue_size")]
    sent = [float(line.split()[-1]) for line in lines if line.startswith("otelcol_exporter_sent_spans")]
    return sum(sizes) == 0 and sum(sent) == nodes.accepted(NODE)


def main():
    arguments = argparse.ArgumentParser(description="Measure the node-local gateway.")
    arguments.add_argument("--json", action="store_true", help="print one JSON object")
    arguments.add_argument("--quick", action="store_true", help="two rounds instead of seven")
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
    print(f"{SPANS} spans per request, {each}; load average {os.getloadavg()[0]:.1f}")
    print(f"{'mode':<24} {'spans/s per core':>18} {'memory, MiB':>12}")
    for mode, result in results.items():
        print(f"{mode:<24} {result['spans_per_cpu_second']:>18} {result['memory_mib']:>12}")


if __name__ == "__main__":
    begun = time.monotonic()
    main()
    print(f"{time.monotonic() - begun:.0f} s", file=sys.stderr)
