"""What `import agentworkflow` costs, against `import starlette`, in one run: at most 1.3 times.

    python bench/bench_import.py [--rounds N]

Each round starts a fresh interpreter for either import, in turn, so that both see the same
machine. The time is that of the import alone, without the interpreter's own start.
"""

import argparse
import statistics
import subprocess
import sys

LIMIT = 1.3
STATEMENTS = {
    "starlette": "import starlette.applications",
    "agentworkflow": "import agentworkflow",
    "all its names": "from agentworkflow import Context, Event, Failure, Retry, function",
}
TIMED = "import time\nt = time.perf_counter()\n{}\nprint(time.perf_counter() - t)"


def measure(statement: str) -> float:
    """Return the milliseconds of one import in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", TIMED.format(statement)], capture_output=True, text=True, check=True
    )
    return float(done.stdout) * 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    times: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for number in range(rounds + 1):
        for name, statement in STATEMENTS.items():
            took = measure(statement)
            if number:  # the first round only warms the page cache
                times[name].append(took)
    base = statistics.median(times["starlette"])
    for name, found in times.items():
        median = statistics.median(found)
        print(f"{name:14} {median:7.1f} ms   {median / base:5.2f} × starlette")
    ratio = statistics.median(times["agentworkflow"]) / base
    print(f"limit: {LIMIT} × starlette: {'kept' if ratio <= LIMIT else 'BROKEN'}")
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
