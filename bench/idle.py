"""What ten workflows cost that nobody uses: `agentworkflow dev`, at zero, over half a minute.

Published: no function process, and less than 1 % of a core for the engine with its Valkey.
Each workflow has a function, a trigger, a route and a schedule (of once a year), so that every
part has something to watch.
"""

import sys
import tempfile
import time
from pathlib import Path

import httpx2
import psutil

from agentworkflow.testing import LocalEngine

WORKFLOWS = 10
SECONDS = 30.0
SETTLE = 10.0
LIMIT = 1.0
WORKFLOW = """
apiVersion: agentworkflow.dev/v1alpha1
kind: AgentWorkflow
metadata: {{name: idle-{number}}}
spec:
  functions:
    - {{name: echo, handler: "idle_functions:echo"}}
  triggers:
    - {{name: any, filters: [{{exact: {{type: com.example.idle.{number}}}}}]}}
  sources:
    - {{name: yearly, schedule: {{cron: "0 0 1 1 *"}}}}
  routes:
    - {{path: /idle-{number}}}
  steps:
    - {{name: echo, function: echo}}
"""
"""Behind `str.format`."""
FUNCTIONS = """
def echo(**fields: object) -> dict[str, object]:
    return fields
"""


def processes(engine: LocalEngine) -> list[psutil.Process]:
    """The engine's process and all below it."""
    parent = psutil.Process(engine.process.pid)
    return [parent, *parent.children(recursive=True)]


def functions(found: list[psutil.Process]) -> list[psutil.Process]:
    """Those of them that hold functions."""
    return [one for one in found if "agentworkflow.functions" in " ".join(one.cmdline())]


def seconds_used(found: list[psutil.Process]) -> float:
    return sum(sum(one.cpu_times()[:2]) for one in found)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "idle_functions.py").write_text(FUNCTIONS)
        files = [Path(folder, f"idle-{number}.yaml") for number in range(WORKFLOWS)]
        for number, file in enumerate(files):
            file.write_text(WORKFLOW.format(number=number))
        with LocalEngine(*files, data_dir=Path(folder, "data")) as engine:
            answer = httpx2.get(f"{engine.url}/v1/namespaces/default/workflows", trust_env=False)
            published = len(answer.json()["items"])
            time.sleep(SETTLE)  # what starting costs is not what idling costs
            found = processes(engine)
            hosts = len(functions(found))
            before = seconds_used(found)
            time.sleep(SECONDS)
            percent = (seconds_used(found) - before) / SECONDS * 100
            hosts = max(hosts, len(functions(processes(engine))))
            memory = sum(one.memory_info().rss for one in found) / 2**20
    print(f"{published} workflows, {len(found)} processes, {memory:.0f} MiB resident")
    print(f"function processes: {hosts} (none)")
    print(f"processor: {percent:.2f} % of a core over {SECONDS:.0f} s (less than {LIMIT:.0f} %)")
    return int(hosts > 0 or percent >= LIMIT or published != WORKFLOWS)


if __name__ == "__main__":
    sys.exit(main())
