"""`agentworkflow init`: writes a new project that runs as it is, from the templates beside it."""

import re
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from agentworkflow.cli.errors import CommandError

_SUFFIX = ".tmpl"  # keeps tools that look for *.py or *.yaml away from the templates
_LONGEST_NAME = 28


def build_project(name: str) -> dict[str, str]:
    """The files of a new project: path within it → text."""
    root = files("agentworkflow.cli").joinpath("templates", "project")
    return {
        path.removesuffix(_SUFFIX): file.read_text(encoding="utf-8").replace("@NAME@", name)
        for path, file in _walk(root)
    }


def workflow_name(directory: Path) -> str:
    """The DNS label, at most 28 characters, nearest to the directory's name."""
    words = re.findall(r"[a-z0-9]+", directory.resolve().name.lower())
    label = "-".join(words)[:_LONGEST_NAME].strip("-")
    if not label:
        return "my-workflow"
    return label if label[0].isalpha() else f"wf-{label}"[:_LONGEST_NAME].strip("-")


def write_project(directory: Path) -> list[Path]:
    """Write a new project into the directory and return its files.

    Raises:
        CommandError: a file of the project is there already; nothing is written then.
    """
    project = build_project(workflow_name(directory))
    if directory.exists() and not directory.is_dir():
        raise CommandError(f"{directory} is a file; name a directory for the new project.")
    taken = sorted(path for path in project if (directory / path).exists())
    if taken:
        raise CommandError(
            f"{directory} holds {', '.join(taken)} already, and init overwrites nothing; "
            "name another directory."
        )
    written = []
    for path, text in sorted(project.items()):
        target = directory / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{target} cannot be written: {error.strerror}.") from error
        written.append(target)
    return written


def _walk(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        path = f"{prefix}{entry.name}"
        if entry.is_dir():
            yield from _walk(entry, f"{path}/")
        elif path.endswith(_SUFFIX):
            yield path, entry


def describe_project(directory: Path, written: list[Path]) -> str:
    """What was written, and what to type next."""
    width = max(len(str(path.relative_to(directory))) for path in written)
    purposes = {
        "workflow.yaml": "the steps, what starts them, and what they hand on",
        "order_functions.py": "the functions, plain Python",
        "order.json": "an event to try it with",
        "tests/test_workflow.py": "tests of the functions and of the whole workflow",
        "Dockerfile": "the image of the functions, for a cluster",
    }
    lines = [f"{directory} is ready:"]
    for path in written:
        name = str(path.relative_to(directory))
        lines.append(f"  {name:<{width}}  {purposes.get(name, '')}".rstrip())
    lines += [
        "",
        "Next:",
        f"  cd {directory}",
        "  agentworkflow run workflow.yaml --event order.json",
        "  agentworkflow dev workflow.yaml",
    ]
    return "\n".join(lines)
