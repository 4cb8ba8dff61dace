"""What `init` writes, and that it never writes over anything."""

import ast
from pathlib import Path

import pytest

from agentworkflow.cli.errors import CommandError
from agentworkflow.cli.project import build_project, describe_project, workflow_name, write_project


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        ("my-workflow", "my-workflow"),
        ("My Workflow!", "my-workflow"),
        ("__x__y", "x-y"),
        ("2fast", "wf-2fast"),
        ("…", "my-workflow"),
        ("a" * 40, "a" * 28),
        ("a" * 27 + "-b", "a" * 27),
        ("order--insights", "order-insights"),
    ],
)
def test_the_workflow_is_named_after_the_directory(
    tmp_path: Path, directory: str, name: str
) -> None:
    assert workflow_name(tmp_path / directory) == name


def test_a_project_has_a_workflow_functions_a_test_an_image_and_a_readme() -> None:
    project = build_project("shop")

    assert {
        "workflow.yaml",
        "order_functions.py",
        "tests/test_workflow.py",
        "Dockerfile",
        "README.md",
        "order.json",
    } <= set(project)
    assert not [path for path, text in project.items() if "@NAME@" in text]


def test_the_python_of_a_project_parses() -> None:
    for path, text in build_project("shop").items():
        if path.endswith(".py"):
            ast.parse(text, path)


def test_a_project_is_written_with_its_folders(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "shop"

    written = write_project(target)

    assert {str(path.relative_to(target)) for path in written} == set(build_project("shop"))
    assert "name: shop" in (target / "workflow.yaml").read_text()
    assert "agentworkflow run workflow.yaml" in describe_project(target, written)


def test_a_directory_with_other_files_is_taken(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")

    write_project(tmp_path)

    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_nothing_is_written_where_a_file_of_the_project_exists(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("mine")

    with pytest.raises(CommandError, match="Dockerfile"):
        write_project(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["Dockerfile"]
    assert (tmp_path / "Dockerfile").read_text() == "mine"


def test_a_file_in_the_place_of_the_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "shop").write_text("mine")

    with pytest.raises(CommandError, match="is a file"):
        write_project(tmp_path / "shop")
