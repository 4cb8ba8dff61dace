"""The verdict on a resource: the models, the rules and the expressions, all errors at once."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from agentworkflow.workflow.findings import Fault, Finding, Report, nearest, path_text
from agentworkflow.workflow.models import API_VERSION, KIND, AgentWorkflow
from agentworkflow.workflow.rules import check_resource
from agentworkflow.workflow.source import Document, read_documents
from agentworkflow.workflow.view import View
from agentworkflow.workflow.words import faults_of

__all__ = ["Finding", "Report", "validate_resource", "validate_text"]


def validate_text(text: str, filename: str) -> Report:
    """Judge every document of a YAML text; findings carry file, line and column."""
    documents, findings = read_documents(text, filename)
    workflows: list[AgentWorkflow] = []
    if not documents and not findings:
        findings.append(_empty(filename))
    taken: set[tuple[str, str]] = set()
    for document in documents:
        workflow, faults = _judge(document.value)
        if workflow is not None:
            identity = (workflow.metadata.namespace, workflow.metadata.name)
            if identity in taken:
                faults.append(_second(identity))
                workflow = None
            taken.add(identity)
        findings += [_place(fault, document, filename) for fault in faults]
        if workflow is not None:
            workflows.append(workflow)
    ordered = sorted(dict.fromkeys(findings), key=lambda found: (found.line, found.column))
    return Report(tuple(workflows), tuple(ordered))


def validate_resource(obj: Mapping[str, Any]) -> Report:
    """Judge one resource that is in no file, such as an object of the API server."""
    workflow, faults = _judge(obj)
    findings = (
        Finding("", 0, 0, path_text(fault.path), fault.message, fault.hint) for fault in faults
    )
    return Report((workflow,) if workflow else (), tuple(dict.fromkeys(findings)))


def _judge(resource: Any) -> tuple[AgentWorkflow | None, list[Fault]]:
    faults = list(_check_kind(resource))
    if faults:
        return None, faults
    workflow = None
    try:
        workflow = AgentWorkflow.model_validate(resource)
    except ValidationError as error:
        faults += faults_of(error, AgentWorkflow)
    said = {fault.path for fault in faults}
    # What a model refuses, no rule need say again in other words.
    faults += [fault for fault in check_resource(View(resource)) if fault.path not in said]
    return (None if faults else workflow), faults


def _check_kind(resource: Any) -> Iterator[Fault]:
    if not isinstance(resource, dict):
        yield Fault((), "is no object", f"start with apiVersion: {API_VERSION}")
        return
    for key, expected in (("apiVersion", API_VERSION), ("kind", KIND)):
        given = resource.get(key)
        if given is None:
            yield Fault((key,), "is required", f"write {key}: {expected}")
        elif given != expected:
            close = nearest(str(given), [expected]).startswith("did")
            shown = f'must be {expected}, and is "{given}"'
            hint = (
                f"write {key}: {expected}"
                if close
                else f"write {key}: {expected}; only that is read here"
            )
            yield Fault((key,), shown, hint)


def _place(fault: Fault, document: Document, filename: str) -> Finding:
    line, column = document.locate(fault)
    return Finding(filename, line, column, path_text(fault.path), fault.message, fault.hint)


def _empty(filename: str) -> Finding:
    hint = f"write a resource that starts with apiVersion: {API_VERSION}"
    return Finding(filename, 1, 1, "", "the file holds no workflow", hint)


def _second(identity: tuple[str, str]) -> Fault:
    return Fault(
        ("metadata", "name"),
        f'the workflow "{"/".join(identity)}" is in this file twice',
        "choose another name, or remove one of them",
    )
