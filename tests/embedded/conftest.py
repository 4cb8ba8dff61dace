"""What the tests of the whole thing share: engines started by the real command."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from agentworkflow.testing import LocalEngine

STEP_FUNCTIONS = Path(__file__).parent / "steps" / "step_functions.py"


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
