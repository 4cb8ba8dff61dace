"""Asks a function host which handlers of a workflow cannot be had, in a process of its own."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from agentworkflow.cli.errors import CommandError, Outcome
from agentworkflow.workflow.findings import Fault, Finding, path_text
from agentworkflow.workflow.models import AgentWorkflow
from agentworkflow.workflow.source import read_documents

_SECONDS: Final = 120.0
_HINT: Final = "write module:attribute of something there, or install what it imports"


def find_broken_handlers(workflow: AgentWorkflow, file: Path, text: str) -> list[Finding]:
    """A finding for each function whose handler cannot be imported or called.

    Raises:
        CommandError: the functions' modules do not let the import come to an end.
    """
    table = build_table(workflow, file)
    if not table["functions"]:
        return []
    positions = {function.name: n for n, function in enumerate(workflow.spec.functions)}
    findings = []
    for function in _describe(table, workflow.metadata.name):
        error = function.get("error")
        if not error:
            continue
        path = ("spec", "functions", positions[function["name"]], "handler")
        line, column = locate_workflow(workflow, text, path)
        tail = "\n".join(f"    {each}" for each in error["traceback"])
        searched = ", ".join(error["path"])
        message = f"{error['title']}:\n{tail}\n    searched: {searched}\n   "
        findings.append(Finding(str(file), line, column, path_text(path), message, _HINT))
    return findings


def build_table(workflow: AgentWorkflow, file: Path) -> dict[str, Any]:
    """The function table of the handlers of a workflow, to be described."""
    folder = file.resolve().parent
    return {
        "namespace": workflow.metadata.namespace,
        "workflow": workflow.metadata.name,
        "path": [str(folder), str(folder / "src")],
        "functions": [
            {"name": function.name, "handler": function.handler}
            for function in workflow.spec.functions
            if function.handler is not None
        ],
    }


def _describe(table: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(table, file)
        file.flush()
        command = [sys.executable, "-P", "-m", "agentworkflow.functions", "--describe"]
        try:
            done = subprocess.run(
                [*command, "--table", file.name],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CommandError(
                f"the handlers of {name} were not imported within {_SECONDS:g} s; what a module "
                "does while it is imported must come to an end."
            ) from None
    try:
        functions: list[Mapping[str, Any]] = json.loads(done.stdout)["functions"]
    except (ValueError, KeyError):
        raise CommandError(
            f"the handlers of {name} cannot be described (exit code {done.returncode}): "
            f"{done.stderr.strip()[-2000:]}",
            Outcome.FAILED,
        ) from None
    return functions


def locate_workflow(
    workflow: AgentWorkflow, text: str, path: tuple[str | int, ...]
) -> tuple[int, int]:
    """Line and column of a value of one workflow in the text of its file."""
    documents, _ = read_documents(text, "")
    name = workflow.metadata.name
    document = next(each for each in documents if each.value["metadata"]["name"] == name)
    return document.locate(Fault(path, ""))
