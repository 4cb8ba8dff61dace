"""Every example is whole: its file is valid, its image has what it imports, its README is there."""

import json
import tomllib
from pathlib import Path

import pytest

from agentworkflow.events.http import from_json
from agentworkflow.workflow.validation import validate_text

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = sorted(path.parent for path in ROOT.glob("examples/*/workflow.yaml"))
NAMES = [example.name for example in EXAMPLES]


def test_there_are_examples() -> None:
    assert "order-insights" in NAMES


@pytest.mark.parametrize("example", EXAMPLES, ids=NAMES)
def test_its_workflow_is_valid(example: Path) -> None:
    file = example / "workflow.yaml"
    report = validate_text(file.read_text(), str(file.relative_to(ROOT)))
    assert [str(finding) for finding in report.findings] == []
    assert [found.metadata.name for found in report.workflows] == [example.name]


@pytest.mark.parametrize("example", EXAMPLES, ids=NAMES)
def test_it_has_an_event_a_readme_an_image_and_tests(example: Path) -> None:
    from_json(json.loads((example / "order.json").read_text()))
    wanted = ["README.md", "Dockerfile", "requirements.txt", "tests"]
    assert [name for name in wanted if not (example / name).exists()] == []


@pytest.mark.parametrize("example", EXAMPLES, ids=NAMES)
def test_its_image_installs_what_the_projects_lock_pins(example: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    group = project["dependency-groups"]["examples"]
    pinned = {entry for entry in group if not entry.startswith("agentworkflow")}
    lines = (example / "requirements.txt").read_text().splitlines()
    installed = {line for line in lines if line and not line.startswith("#")}
    assert installed <= pinned
