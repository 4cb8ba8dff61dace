"""Hand-written resources, judged alike by the models and by the CRD's schema."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentworkflow.workflow.source import read_documents
from agentworkflow.workflow.validation import validate_resource, validate_text

Refusals = Callable[[dict[str, Any]], list[str]]
LaidOver = Callable[[dict[str, Any]], dict[str, Any]]

CORPUS = Path(__file__).parent / "corpus"
VALID = sorted((CORPUS / "valid").glob("*.yaml"))
# Read by our own reader, as PyYAML's would make a boolean of the key `on`.
INVALID: list[dict[str, Any]] = read_documents((CORPUS / "invalid.yaml").read_text(), "")[0][
    0
].value

# What the CRD cannot say, or not cheaply: the operator says it with `Accepted=False`.
LEFT_TO_THE_OPERATOR = {
    "JSON Schemas": "a schema is judged by its meta-schema, which CEL does not have",
    "a way to run": "it depends on the runtime's image, and free-form http has no place in CEL",
    "default of a wait": "a free-form field cannot be named in CEL",
    "expressions": "CEL cannot compile CEL",
    "fields of values": "schemas and expressions are free-form",
    "filters": "they are recursive, and hold CESQL",
    "input of a wait": "a free-form field cannot be named in CEL",
    "memory below the container's limit": "quantities of other objects in free maps",
    "needs name steps": "200 steps with 20 needs over 200 names are beyond the cost budget",
    "no cycles": "CEL has no recursion",
    "output needs steps": "a free-form field cannot be named in CEL",
    "paths of function triggers": "free-form",
    "plain values": "free-form",
    "range of memory": "a quantity is an amount in any of its units",
    "schedules": "cron and the database of time zones are not in CEL",
    "shape of a step's input": "free-form",
    "unique routes": "host and method have defaults, which keys of a list cannot have",
    "variables of Knative": "Knative's own webhook refuses them, and its list may grow",
}


@pytest.mark.parametrize("file", VALID, ids=lambda file: file.stem)
def test_a_valid_resource_is_accepted_by_the_models(file: Path) -> None:
    report = validate_text(file.read_text(), file.name)

    assert [str(finding) for finding in report.findings] == []
    assert len(report.workflows) == 1


@pytest.mark.parametrize("file", VALID, ids=lambda file: file.stem)
def test_a_valid_resource_is_accepted_by_the_crd(file: Path, crd_refusals: Refusals) -> None:
    [document], _ = read_documents(file.read_text(), file.name)

    assert crd_refusals(document.value) == []


@pytest.mark.parametrize("case", INVALID, ids=lambda case: case["case"])
def test_an_invalid_resource_is_refused_with_these_words(
    case: dict[str, Any], laid_over: LaidOver
) -> None:
    report = validate_resource(laid_over(case))

    assert [str(finding) for finding in report.findings] == case["says"]
    assert report.workflows == ()


@pytest.mark.parametrize("case", INVALID, ids=lambda case: case["case"])
def test_the_crd_refuses_it_too_unless_the_rule_is_the_operators(
    case: dict[str, Any], laid_over: LaidOver, crd_refusals: Refusals
) -> None:
    refusals = crd_refusals(laid_over(case))

    assert bool(refusals) is ("left" not in case), refusals


def test_each_rule_that_is_left_to_the_operator_is_listed_and_has_a_case() -> None:
    used = {case["left"] for case in INVALID if "left" in case}

    assert sorted(used) == sorted(LEFT_TO_THE_OPERATOR)


def test_the_names_of_the_cases_are_unique() -> None:
    names = [case["case"] for case in INVALID]

    assert sorted(set(names)) == sorted(names)
