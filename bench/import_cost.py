"""What `import agentworkflow` costs, beside `import starlette`: fresh interpreters, by turns.

Published: at most 1.3 times as long, as whole processes. The package `starlette` by itself imports
nothing, so this is the strict reading; `starlette.applications` is what a program would import.
"""

import statistics
import subprocess
import sys
import time

ROUNDS = 30
LIMIT = 1.3
IMPORTS = {
    "agentworkflow": "import agentworkflow",
    "starlette": "import starlette",
    "its applications": "import starlette.applications",
    "all our names": "from agentworkflow import Context, Event, Failure, Retry, function",
}
MEASURE = """
import time
before = time.perf_counter()
{}
print((time.perf_counter() - before) * 1000)
"""


def measure(statement: str) -> tuple[float, float]:
    """Milliseconds of the import alone, and of the whole process."""
    command = [sys.executable, "-c", MEASURE.format(statement)]
    before = time.perf_counter()
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(said), (time.perf_counter() - before) * 1000


def main() -> int:
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in IMPORTS}
    for number in range(ROUNDS + 1):
        for name, statement in IMPORTS.items():
            measured = measure(statement)
            if number:  # the first round fills the disk's cache
                times[name].append(measured)
    medians = {
        name: [statistics.median(column) for column in zip(*rows, strict=True)]
        for name, rows in times.items()
    }
    for name, (alone, process) in medians.items():
        print(f"{name:<17} import {alone:7.2f} ms   whole process {process:7.1f} ms")
    ratio = medians["agentworkflow"][1] / medians["starlette"][1]
    print(f"whole process, agentworkflow / starlette: {ratio:.2f} (at most {LIMIT})")
    return int(ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
