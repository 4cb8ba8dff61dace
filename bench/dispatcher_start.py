"""How long a dispatcher takes from its process's start to its first 200, as a ratio.

Measured beside it, in turn: a bare FastAPI application that connects to the same Redis.
`python bench/dispatcher_start.py` prints both and exits with 1 above the bar.
"""

import argparse
import asyncio
import http.client
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

from agentworkflow.engine.valkey import EmbeddedValkey

BAR = 1.5

BARE = """
import os, sys
from contextlib import asynccontextmanager
import redis.asyncio, uvicorn
from fastapi import FastAPI

@asynccontextmanager
async def lifespan(app):
    app.state.redis = redis.asyncio.from_url(os.environ["BARE_REDIS"])
    await app.state.redis.ping()
    yield
    await app.state.redis.aclose()

app = FastAPI(lifespan=lifespan)

@app.get("/healthz")
async def healthz():
    return {"status": "ok"}

uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="critical")
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def first_200(port: int, path: str, process: subprocess.Popen[bytes]) -> None:
    """Ask until it answers 200; a refused connection is asked again in a millisecond."""
    while True:
        if process.poll() is not None:
            raise SystemExit(f"the process ended with {process.returncode}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == http.client.OK:
                return
        except (ConnectionError, TimeoutError):
            pass
        finally:
            connection.close()
        time.sleep(0.001)


def measure(command: Callable[[int], list[str]], path: str, environment: dict[str, str]) -> float:
    """Milliseconds from the start of a process to its first 200."""
    port = free_port()
    started = time.perf_counter()
    process = subprocess.Popen(
        command(port),
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        first_200(port, path, process)
        return (time.perf_counter() - started) * 1000
    finally:
        process.terminate()
        process.wait(20)


def compare(url: str, rounds: int) -> dict[str, float]:
    """Medians in milliseconds, taken in turn so that a busy moment meets all alike."""
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE)

        def dispatcher(port: int) -> list[str]:
            places = ["--redis-url", url, "--port", str(port), "--event-port", "0"]
            return [sys.executable, "-m", "agentworkflow.dispatcher", *places]

        def plain(port: int) -> list[str]:
            return [sys.executable, str(bare), str(port)]

        found: dict[str, list[float]] = {"bare": [], "first 200": [], "first ready": []}
        # The first round fills the disk's cache and counts for nobody.
        for number in range(rounds + 1):
            taken = {
                "bare": measure(plain, "/healthz", {"BARE_REDIS": url}),
                "first 200": measure(dispatcher, "/healthz", {}),
                "first ready": measure(dispatcher, "/readyz", {}),
            }
            if number:
                for name, value in taken.items():
                    found[name].append(value)
    return {name: statistics.median(values) for name, values in found.items()}


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    async with EmbeddedValkey() as valkey:
        medians = await asyncio.to_thread(compare, valkey.url, options.rounds)
    ratio = medians["first 200"] / medians["bare"]
    ready = medians["first ready"] / medians["bare"]
    if options.json:
        print(json.dumps({"ms": medians, "ratio": ratio, "readyRatio": ready, "bar": BAR}))
    else:
        print(f"bare FastAPI with Redis, first 200   {medians['bare']:7.0f} ms")
        print(f"dispatcher, first 200                {medians['first 200']:7.0f} ms  x {ratio:.2f}")
        print(
            f"dispatcher, ready to accept          {medians['first ready']:7.0f} ms  x {ready:.2f}"
        )
        print(f"bar for the first 200                              x {BAR:.2f}")
    return 0 if ratio <= BAR else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
