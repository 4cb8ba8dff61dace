"""What the tests of the whole thing share: the real command, engines started by it, and a marker.

Every process that a test starts inherits the marker in its environment, so that whatever is left
behind is found, in whatever session or process group it lives.
"""

import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from agentworkflow.testing import LocalEngine

STEP_FUNCTIONS = Path(__file__).parent / "steps" / "step_functions.py"
COMMAND = (sys.executable, "-m", "agentworkflow.cli")
MARKER = "MARKER_OF_A_TEST"  # the engine keeps its own variables from its children

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


def build_workflow(name: str, spec: str) -> dict[str, Any]:
    """A workflow of the step tests; the functions that it names and does not declare are added."""
    content = yaml.safe_load(spec)
    declared = {function["name"] for function in content.get("functions", [])}
    called = {step["function"] for step in content["steps"] if "function" in step}
    added = [
        {"name": function, "handler": f"step_functions:{function}"}
        for function in sorted(called - declared)
    ]
    content["functions"] = content.get("functions", []) + added
    return {
        "apiVersion": "agentworkflow.dev/v1alpha1",
        "kind": "AgentWorkflow",
        "metadata": {"name": name},
        "spec": content,
    }


@pytest.fixture(scope="module")
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalEngine]:
    """One engine for a test module, with the module's `WORKFLOWS`: name → specification (YAML)."""
    folder = tmp_path_factory.mktemp("steps")
    shutil.copy(STEP_FUNCTIONS, folder)
    workflows = [build_workflow(name, spec) for name, spec in request.module.WORKFLOWS.items()]
    file = folder / "workflows.yaml"
    file.write_text(yaml.safe_dump_all(workflows, sort_keys=False), encoding="utf-8")
    with LocalEngine(file, data_dir=folder / "data") as running:
        yield running


class Marked:
    """The processes that a test started, and all that they started."""

    def __init__(self) -> None:
        self.value = uuid.uuid4().hex
        self.environment = {MARKER: self.value}

        self._seen: set[psutil.Process] = set()

    def processes(self) -> list[psutil.Process]:
        """Those that are alive, and what was once seen to be started by one of them."""
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARKER) == self.value:
                    # The embedded store gets an environment of its own.
                    self._seen |= {process, *process.children(recursive=True)}
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return [each for each in self._seen if each.is_running() and not _is_zombie(each)]

    def wait_gone(self, seconds: float = 10.0) -> None:
        """Fail unless all have ended by then; says which have not."""
        end = time.monotonic() + seconds
        while left := self.processes():
            if time.monotonic() > end:
                raise AssertionError(f"still there: {[_command(each) for each in left]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End whatever a failed test left."""
        for process in self.processes():
            process.kill()


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _command(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {' '.join(process.cmdline())}"
    except psutil.NoSuchProcess:
        return f"{process.pid} (gone)"


@pytest.fixture
def marked() -> Iterator[Marked]:
    """Marks the processes of one test, and ends what is left of them."""
    processes = Marked()
    yield processes
    processes.kill()


@pytest.fixture(scope="session")
def cli() -> Cli:
    """Runs the command as a user does: `cli("run", "workflow.yaml", cwd=folder)`."""

    def run(
        *arguments: str | Path,
        cwd: Path | None = None,
        stdin: str | None = None,
        environment: dict[str, str] | None = None,
        seconds: float = 60.0,
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*COMMAND, *map(str, arguments)],
            cwd=cwd,
            input="" if stdin is None else stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            env={**os.environ, **(environment or {})},
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def popen() -> Callable[..., "subprocess.Popen[str]"]:
    """Starts the command and leaves it running: `popen(marked, "run", "workflow.yaml")`."""

    def start(
        marked: Marked, *arguments: str | Path, cwd: Path | None = None
    ) -> "subprocess.Popen[str]":
        command: Sequence[str] = [*COMMAND, *map(str, arguments)]
        return subprocess.Popen(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **marked.environment},
        )

    return start
