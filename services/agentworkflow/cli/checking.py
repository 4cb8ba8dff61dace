"""`agentworkflow validate`, and the same check in front of `run` and `dev`.

The verdict on the text is workflow/'s; whether the handlers can be imported is asked of a function
host, in a process of its own, so that user code never runs in this one.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from agentworkflow.cli.errors import CommandError, Outcome
from agentworkflow.cli.handlers import find_broken_handlers, locate_workflow
from agentworkflow.workflow.models import AgentWorkflow
from agentworkflow.workflow.validation import Finding, validate_text


@dataclass(frozen=True, slots=True)
class LoadedWorkflow:
    """A valid workflow, the file that it came from, and the text that it was parsed from."""

    resource: AgentWorkflow
    file: Path
    text: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What a set of files holds: workflows, and everything that is wrong."""

    workflows: tuple[LoadedWorkflow, ...]
    findings: tuple[Finding, ...]


def check_files(files: Sequence[Path]) -> Checked:
    """Read and validate workflow files.

    Raises:
        CommandError: a file cannot be read.
    """
    workflows: list[LoadedWorkflow] = []
    findings: list[Finding] = []
    for file in files:
        text = read_workflow(file)
        report = validate_text(text, str(file))
        findings += report.findings
        workflows += [LoadedWorkflow(resource, file, text) for resource in report.workflows]
    findings += _find_doubles(workflows)
    return Checked(tuple(workflows), tuple(findings))


def check_handlers(workflows: Iterable[LoadedWorkflow]) -> list[Finding]:
    """Import what the functions name, in processes of their own; what is wrong with it."""
    return [
        finding
        for workflow in workflows
        for finding in find_broken_handlers(workflow.resource, workflow.file, workflow.text)
    ]


def require_valid(files: Sequence[Path]) -> tuple[LoadedWorkflow, ...]:
    """The workflows of the files, in order.

    Raises:
        CommandError: anything is wrong; the message holds every finding, one per line.
    """
    checked = check_files(files)
    if checked.findings:
        raise CommandError(findings_text(checked.findings))
    return checked.workflows


def require_handlers(workflows: Iterable[LoadedWorkflow]) -> None:
    """Raise CommandError with every finding, unless all handlers can be had."""
    findings = check_handlers(workflows)
    if findings:
        raise CommandError(findings_text(findings))


def print_report(files: Sequence[Path], *, handlers: bool, as_json: bool) -> int:
    """Print what is wrong with the files, or that nothing is; the exit code."""
    checked = check_files(files)
    if handlers and not checked.findings:
        checked = replace(checked, findings=tuple(check_handlers(checked.workflows)))
    if as_json:
        typer.echo(json.dumps(build_report(checked), indent=2, ensure_ascii=False))
    elif checked.findings:
        typer.echo(findings_text(checked.findings), err=True)
    else:
        for workflow in checked.workflows:
            typer.echo(f"{workflow.file}: {workflow.resource.metadata.name} is valid")
    return Outcome.USAGE if checked.findings else Outcome.DONE


def findings_text(findings: Iterable[Finding]) -> str:
    """One line per finding, and how many there are."""
    lines = [str(finding) for finding in findings]
    return "\n".join([*lines, f"{len(lines)} error{'' if len(lines) == 1 else 's'}"])


def build_report(checked: Checked) -> dict[str, object]:
    """The report of `validate --json`."""
    return {
        "valid": not checked.findings,
        "workflows": [
            {"file": str(workflow.file), "name": workflow.resource.metadata.name}
            for workflow in checked.workflows
        ],
        "errors": [
            {
                "file": finding.file,
                "line": finding.line,
                "column": finding.column,
                "path": finding.path,
                "message": finding.message,
                "hint": finding.hint,
            }
            for finding in checked.findings
        ],
    }


def read_workflow(file: Path) -> str:
    """The text of a workflow file."""
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CommandError(
            f"{file} is not UTF-8 text: byte {error.start}; save it as UTF-8."
        ) from error


def _find_doubles(workflows: Sequence[LoadedWorkflow]) -> list[Finding]:
    """A finding for each workflow that an earlier file has already."""
    findings: list[Finding] = []
    first: dict[tuple[str, str], Path] = {}
    for workflow in workflows:
        metadata = workflow.resource.metadata
        known = first.setdefault((metadata.namespace, metadata.name), workflow.file)
        if known != workflow.file:
            line, column = locate_workflow(workflow.resource, workflow.text, ("metadata", "name"))
            findings.append(
                Finding(
                    str(workflow.file),
                    line,
                    column,
                    "metadata.name",
                    f'the workflow "{metadata.name}" is in {known} already',
                    "choose another name, or leave one of the files out",
                )
            )
    return findings
