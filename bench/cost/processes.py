"""Starts processes, and reads what they use."""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import time


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port, process, log):
    for _ in range(300):
        if process.poll() is not None:
            sys.exit(f"error: {log.stem} ended: {log.read_text()[-2000:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    sys.exit(f"error: {log.stem} does not listen on port {port}: {log.read_text()[-2000:]}")


@contextlib.contextmanager
def running(command, ports, folder, name, environment=None):
    """Runs a program, and waits until it listens on its ports. Gives its process ID."""
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(map(str, command)), stdout=output, stderr=output, cwd=folder, env=os.environ | (environment or {})
        )
    try:
        for port in ports:
            wait_for(port, process, log)
        yield process.pid
    finally:
        process.terminate()
        process.wait(timeout=30)


def cpu_seconds(pid):
    """CPU time of all threads, from the scheduler, in nanosecond resolution. /proc/PID/stat only has 10 ms."""
    return (
        sum(int((task / "schedstat").read_text().split()[0]) for task in pathlib.Path(f"/proc/{pid}/task").iterdir())
        / 1e9
    )


def memory_mib(pid):
    """Peak resident memory of the process."""
    line = next(
        line for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    return int(line.split()[1]) // 1024
