"""The rules that cross fields, over a resource that may be wrong elsewhere."""

import json
from collections.abc import Iterator
from typing import Final

from agentworkflow.workflow import crd_rules as words
from agentworkflow.workflow.findings import Fault
from agentworkflow.workflow.rules_expressions import check_expressions
from agentworkflow.workflow.rules_functions import check_functions
from agentworkflow.workflow.rules_outputs import check_outputs
from agentworkflow.workflow.rules_schemas import check_schema
from agentworkflow.workflow.rules_starts import check_starts
from agentworkflow.workflow.rules_steps import check_steps
from agentworkflow.workflow.view import View

SPEC_BYTES: Final = 64 * 1024


def check_resource(resource: View) -> Iterator[Fault]:
    """Every breach of a rule."""
    spec = resource.at("spec")
    if not isinstance(spec.value, dict):
        return
    size = len(json.dumps(spec.value, ensure_ascii=False, separators=(",", ":")).encode())
    if size > SPEC_BYTES:
        yield spec.fault(
            f"spec has {size} bytes as JSON, and at most {SPEC_BYTES} fit",
            "split the workflow, or move data out of it",
        )
        return
    yield from _check_plan(spec)
    yield from check_functions(spec)
    yield from check_starts(spec)
    yield from check_steps(spec)
    yield from check_schema(spec.at("inputSchema"))
    yield from check_expressions(spec)
    yield from check_outputs(spec)


def _check_plan(spec: View) -> Iterator[Fault]:
    if spec.has("planner"):
        return
    has_steps = bool(spec.at("steps").value)
    triggers = list(spec.members("triggers"))
    only_functions = bool(triggers) and all(trigger.has("function") for trigger in triggers)
    if has_steps == only_functions:
        yield spec.breach(words.ONE_PLAN)
    if not has_steps:
        given = [name for name in words.RUN_FIELDS if spec.has(name)]
        for name in given:
            yield spec.at(name).fault(
                words.RUN_FIELDS_NEED_STEPS.message, words.RUN_FIELDS_NEED_STEPS.hint
            )
