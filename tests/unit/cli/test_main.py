"""The command line itself: help, version, and what a mistake exits with."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from agentworkflow.cli import main


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"agentworkflow {version('agentworkflow')}\n"


@pytest.mark.parametrize(
    "command",
    [
        "init",
        "validate",
        "run",
        "dev",
        "send",
        "workflows",
        "runs",
        "show",
        "logs",
        "signal",
        "cancel",
        "dead-letters",
    ],
)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"agentworkflow {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["run"],
        ["runs", "--limit", "0"],
        ["runs", "--limit", "many"],
        ["show"],
        ["dev", "w.yaml", "--port", "70000"],
        ["dead-letters", "show"],
        ["dead-letters", "list", "12"],
        ["dead-letters", "nonsense"],
    ],
)
def test_wrong_usage_exits_with_2_and_no_traceback(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "Error: " in error
    assert "Traceback" not in error


def test_an_existing_project_is_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", str(tmp_path / "shop")]) == 0
    assert main(["init", str(tmp_path / "shop")]) == 2
    assert "overwrites nothing" in capsys.readouterr().err


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys; from agentworkflow.cli import main; main(['--help']); "
        "print(sorted({'rich', 'yaml', 'pydantic', 'httpx2', 'starlette', 'redis', 'lark'} "
        "& set(sys.modules)), file=sys.stderr)"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stderr.strip() == "[]"
