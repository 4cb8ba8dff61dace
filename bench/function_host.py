"""What a warm function host adds to a handler: forked child, worker, and a heavy import shared.

    python bench/function_host.py [--calls N]

Starts a real host whose handlers' module imports pandas, and posts step requests one after the
other over one connection. Prints the milliseconds from request to answer, and beside them what a
bare fork of such a process costs on this machine at this moment.
"""

import argparse
import contextlib
import gc
import http.client
import importlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HANDLERS = """
import pandas as pd


def trivial() -> int:
    return 1


def mean(values: list[float]) -> float:
    return float(pd.Series(values).mean())


async def trivial_async() -> int:
    return 1
"""
CALLS = {"trivial": {}, "mean": {"values": [1, 2, 3]}, "trivial-async": {}}


def percentiles(call: Callable[[], None], calls: int) -> str:
    """Return the spread of the milliseconds of so many calls."""
    times = []
    for _ in range(calls):
        began = time.perf_counter()
        call()
        times.append((time.perf_counter() - began) * 1000)
    cuts = statistics.quantiles(times, n=100)
    return f"p50 {cuts[49]:6.2f}   p95 {cuts[94]:6.2f}   p99 {cuts[98]:6.2f} ms"


def step(connection: http.client.HTTPConnection, function: str, number: int) -> None:
    run = f"bench{number}-00"
    headers = {
        "ce-specversion": "1.0",
        "ce-id": f"{run}/{function}/1/requested",
        "ce-source": "/bench",
        "ce-type": "dev.agentworkflow.step.requested",
        "ce-awfrun": run,
        "ce-awfstep": function,
        "ce-awfattempt": "1",
        "ce-awftoken": "bench",
        "ce-awffunction": function,
        "content-type": "application/json",
    }
    connection.request("POST", "/", json.dumps(CALLS[function]), headers)
    answer = connection.getresponse()
    body = answer.read()
    if answer.headers["ce-type"] != "dev.agentworkflow.step.completed":
        raise RuntimeError(body.decode())


def bare_fork() -> None:
    """Fork, hear from the child, and reap it."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, b"x")
        os._exit(0)
    os.read(reading, 1)
    os.waitpid(pid, 0)
    os.close(reading)
    os.close(writing)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=300)
    calls = parser.parse_args().calls
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bench_handlers.py").write_text(HANDLERS)
        table = folder / "table.json"
        functions = [
            {"name": function, "handler": f"bench_handlers:{function.replace('-', '_')}"}
            for function in CALLS
        ]
        table.write_text(json.dumps({"path": [name], "functions": functions}))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            host = subprocess.Popen(
                [
                    *(sys.executable, "-m", "agentworkflow.functions"),
                    *("--table", str(table), "--fd", str(listener.fileno())),
                ],
                pass_fds=[listener.fileno()],
            )
            port = listener.getsockname()[1]
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
                number = iter(range(1_000_000))
                began = time.perf_counter()
                step(connection, "trivial", next(number))
                print(f"{'first answer':24} {(time.perf_counter() - began) * 1000:10.0f} ms")
                for function in CALLS:
                    step(connection, function, next(number))

                    def call(function: str = function) -> None:
                        step(connection, function, next(number))

                    print(f"{function:24} {percentiles(call, calls)}")
            host.terminate()
            host.wait()
    importlib.import_module("pandas")
    gc.collect()
    gc.freeze()
    print(f"{'bare fork with pandas':24} {percentiles(bare_fork, calls)}")


if __name__ == "__main__":
    main()
