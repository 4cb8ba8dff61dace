"""Which changes `dev` looks at."""

from pathlib import Path

import pytest
from watchfiles import Change

from agentworkflow.cli.serving import CodeFilter, watched_folders


def test_folders_within_others_are_not_watched_twice(tmp_path: Path) -> None:
    files = [tmp_path / "a" / "w.yaml", tmp_path / "a" / "b" / "w.yaml", tmp_path / "c" / "w.yaml"]

    assert watched_folders(files) == [tmp_path / "a", tmp_path / "c"]


@pytest.mark.parametrize(
    ("path", "passes"),
    [
        ("workflow.yaml", True),
        ("functions.py", True),
        ("src/shop/functions.py", True),
        ("other.yaml", False),
        ("result.json", False),
        ("ledger.txt", False),
        ("__pycache__/functions.py", False),
        (".venv/lib/x.py", False),
    ],
)
def test_only_the_workflow_files_and_code_count(tmp_path: Path, path: str, passes: bool) -> None:
    watch = CodeFilter([tmp_path / "workflow.yaml"])

    assert watch(Change.modified, str(tmp_path / path)) is passes
