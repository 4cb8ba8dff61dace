"""`agentworkflow init`: what it writes runs as it is, word for word as its README says."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def project(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("init") / "tea-shop"
    done = cli("init", folder)
    assert done.returncode == 0, done.stderr
    assert "agentworkflow run workflow.yaml --event order.json" in done.stdout
    return folder


def test_a_new_project_is_valid(cli: Cli, project: Path) -> None:
    done = cli("validate", "workflow.yaml", cwd=project)

    assert (done.returncode, done.stdout) == (0, "workflow.yaml: tea-shop is valid\n")


def test_a_new_project_runs(cli: Cli, project: Path) -> None:
    done = cli("run", "workflow.yaml", "--event", "order.json", "--json", cwd=project)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["output"] == {
        "total": 30.88,
        "message": "Thank you, Ada: your order of 30.88 EUR is on its way.",
    }


def test_a_new_projects_own_tests_pass(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=60,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


def test_a_new_project_is_lint_free_where_style_is_not_a_matter_of_taste(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "E,F,I,B,UP", "."],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout


def test_an_existing_project_is_left_alone(cli: Cli, project: Path) -> None:
    (project / "workflow.yaml").read_text()
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}

    done = cli("init", project)

    assert done.returncode == 2
    assert "overwrites nothing" in done.stderr
    after = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    assert after == before
