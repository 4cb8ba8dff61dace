"""Wrong files: every error at once, each with its place, what is wrong and what to write."""

import copy
from typing import Any

import pytest

from agentworkflow.workflow.validation import validate_resource, validate_text

HEAD = "apiVersion: agentworkflow.dev/v1alpha1\nkind: AgentWorkflow\nmetadata: {name: shop}\n"
FUNCTIONS = 'spec:\n  functions:\n    - {name: f, handler: "m:f"}\n'


def found(text: str) -> list[str]:
    return [str(finding) for finding in validate_text(text, "workflow.yaml").findings]


def test_yaml_that_does_not_parse_names_the_line_and_the_remedy() -> None:
    text = HEAD + FUNCTIONS + "  steps:\n    - {name: s, function: f, input: {order: ${input}}}\n"

    assert found(text) == [
        (
            "workflow.yaml:8:46: the YAML does not parse: expected ',' or '}', but got '{'"
            ' (while parsing a flow mapping) — put the expression in quotes: "${…}"'
        )
    ]


def test_an_unknown_field_is_found_with_the_nearest_name() -> None:
    text = HEAD + FUNCTIONS + "  steps:\n    - name: s\n      function: f\n      onFailur: Fail\n"

    assert found(text) == [
        (
            'workflow.yaml:10:7: spec.steps[0].onFailur: unknown field "onFailur"'
            ' — did you mean "onFailure"?'
        )
    ]


def test_a_cycle_in_needs_is_named() -> None:
    steps = (
        "  steps:\n"
        "    - {name: a, function: f, needs: [c]}\n"
        "    - {name: b, function: f, needs: [a]}\n"
        "    - {name: c, function: f, needs: [b]}\n"
    )

    assert found(HEAD + FUNCTIONS + steps) == [
        (
            "workflow.yaml:8:37: spec.steps[0].needs: the steps wait for each other: a → c → b → a"
            ' — remove one of these needs, such as "c" here'
        )
    ]


def test_an_expression_with_an_unknown_step_is_found_at_its_column() -> None:
    steps = (
        '  steps:\n    - name: s\n      function: f\n      when: "${steps.analise.output > 0}"\n'
    )

    assert found(HEAD + FUNCTIONS + steps) == [
        "workflow.yaml:10:16: spec.steps[0].when: there is no step `analise` — known here: s"
    ]


def test_an_expression_with_a_step_that_is_not_needed_is_found_at_its_column() -> None:
    steps = (
        "  steps:\n"
        "    - {name: a, function: f}\n"
        "    - name: b\n"
        "      function: f\n"
        "      input:\n"
        "        total: total ${steps.a.output}\n"
    )

    assert found(HEAD + FUNCTIONS + steps) == [
        (
            "workflow.yaml:12:24: spec.steps[1].input.total: step `a` may not have ended here"
            " — add `a` to this step's `needs`"
        )
    ]


def test_a_step_over_others_is_visible() -> None:
    steps = (
        "  steps:\n"
        "    - {name: a, function: f}\n"
        "    - {name: b, function: f, needs: [a]}\n"
        '    - {name: c, function: f, needs: [b], when: "${steps.a.output > 0}"}\n'
    )

    assert found(HEAD + FUNCTIONS + steps) == []


def test_duplicate_names_are_found() -> None:
    steps = "  steps:\n    - {name: s, function: f}\n    - {name: s, function: f}\n"

    assert found(HEAD + FUNCTIONS + steps) == [
        (
            'workflow.yaml:9:14: spec.steps[1].name: the name "s" is taken by steps[0]'
            " — choose another name"
        )
    ]


def test_a_field_of_later_work_is_refused_by_name() -> None:
    steps = "  steps:\n    - {name: s, function: f}\n  planner:\n    model: x\n"

    assert found(HEAD + FUNCTIONS + steps) == [
        "workflow.yaml:9:3: spec.planner: not supported yet — leave planner out"
    ]


def test_all_errors_are_told_in_the_order_of_the_file() -> None:
    text = (
        "apiVersion: agentworkflow.dev/v1alpha1\n"
        "kind: AgentWorkflow\n"
        "metadata: {name: Shop}\n"
        "spec:\n"
        "  functions:\n"
        "    - {name: f, handler: m, timeout: 10m}\n"
        "  steps:\n"
        "    - {name: s, function: g, needs: [t]}\n"
        "  outptu: 3\n"
    )

    assert [line.split(": ")[0] + ": " + line.split(": ")[1] for line in found(text)] == [
        "workflow.yaml:3:18: metadata.name",
        "workflow.yaml:6:26: spec.functions[0].handler",
        "workflow.yaml:6:38: spec.functions[0].timeout",
        "workflow.yaml:8:27: spec.steps[0].function",
        "workflow.yaml:8:38: spec.steps[0].needs[0]",
        "workflow.yaml:9:3: spec.outptu",
    ]


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("", "1:1: the file holds no workflow"),
        ("# nothing\n---\n", "1:1: the file holds no workflow"),
    ],
)
def test_a_file_without_a_workflow_is_refused(text: str, finding: str) -> None:
    assert found(text) == [
        (
            f"workflow.yaml:{finding} — write a resource that starts with"
            " apiVersion: agentworkflow.dev/v1alpha1"
        )
    ]


def test_a_document_that_is_no_object_is_refused() -> None:
    assert found("- a\n") == [
        "workflow.yaml:1:1: is no object — start with apiVersion: agentworkflow.dev/v1alpha1"
    ]


def test_another_kind_is_refused_without_a_word_about_its_fields() -> None:
    assert found("apiVersion: v1\nkind: Secret\ndata: {a: b}\n") == [
        (
            'workflow.yaml:1:13: apiVersion: must be agentworkflow.dev/v1alpha1, and is "v1"'
            " — write apiVersion: agentworkflow.dev/v1alpha1; only that is read here"
        ),
        (
            'workflow.yaml:2:7: kind: must be AgentWorkflow, and is "Secret"'
            " — write kind: AgentWorkflow; only that is read here"
        ),
    ]


def test_a_missing_kind_and_a_near_version_are_told() -> None:
    assert found("apiVersion: agentworkflow.dev/v1\nspec: {}\n") == [
        "workflow.yaml:1:1: kind: is required — write kind: AgentWorkflow",
        (
            "workflow.yaml:1:13: apiVersion: must be agentworkflow.dev/v1alpha1, and is"
            ' "agentworkflow.dev/v1" — write apiVersion: agentworkflow.dev/v1alpha1'
        ),
    ]


def test_many_workflows_may_stand_in_one_file() -> None:
    one = HEAD + FUNCTIONS + "  steps:\n    - {name: s, function: f}\n"
    two = one.replace("name: shop", "name: bank")

    report = validate_text(f"{one}---\n{two}---\n{one}", "workflow.yaml")

    assert [workflow.metadata.name for workflow in report.workflows] == ["shop", "bank"]
    assert [str(finding) for finding in report.findings] == [
        (
            'workflow.yaml:21:18: metadata.name: the workflow "default/shop" is in this file twice'
            " — choose another name, or remove one of them"
        )
    ]
    assert not report.ok


def test_a_valid_workflow_beside_a_wrong_one_is_still_read() -> None:
    one = HEAD + FUNCTIONS + "  steps:\n    - {name: s, function: f}\n"
    two = one.replace("name: shop", "name: bank").replace("name: s,", "nam: s,")

    report = validate_text(f"{two}---\n{one}", "workflow.yaml")

    assert [workflow.metadata.name for workflow in report.workflows] == ["shop"]
    assert len(report.findings) == 2


def small(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "agentworkflow.dev/v1alpha1",
        "kind": "AgentWorkflow",
        "metadata": {"name": "shop"},
        "spec": {
            "functions": [{"name": "f", "handler": "m:f"}],
            "steps": [{"name": "s", "function": "f"}],
            **spec,
        },
    }


def many(count: int, **fields: Any) -> list[dict[str, Any]]:
    return [{"name": f"n{number}", **fields} for number in range(count)]


@pytest.mark.parametrize(
    ("spec", "most"),
    [
        ({"steps": many(201, function="f")}, 200),
        ({"functions": [{"name": "f", "handler": "m:f"}, *many(50, handler="m:f")]}, 50),
        ({"triggers": many(51)}, 50),
        ({"triggers": [{"name": "t", "filters": [{"exact": {"type": "a"}}] * 21}]}, 20),
        ({"sources": many(21, schedule={"cron": "0 2 * * *"})}, 20),
        ({"routes": [{"path": f"/{number}"} for number in range(51)]}, 50),
    ],
)
def test_lists_are_bounded(spec: dict[str, Any], most: int) -> None:
    report = validate_resource(small(**spec))

    [finding] = report.findings
    assert finding.message == f"has {most + 1} entries, and at most {most} fit"
    assert validate_resource(small(**_one_less(spec))).ok


def _one_less(spec: dict[str, Any]) -> dict[str, Any]:
    shorter = copy.deepcopy(spec)
    [members] = shorter.values()
    if "filters" in members[0]:
        members[0]["filters"].pop()
    else:
        members.pop()
    return shorter


def test_needs_are_bounded() -> None:
    steps = [*many(21, function="f")]
    steps.append({"name": "s", "function": "f", "needs": [step["name"] for step in steps]})

    [finding] = validate_resource(small(steps=steps)).findings

    assert str(finding) == (
        "spec.steps[21].needs: has 21 entries, and at most 20 fit — leave some out"
    )


def test_a_spec_of_more_than_64_kib_is_refused() -> None:
    assert validate_resource(small(inputSchema={"description": "x" * 65_000})).ok

    [finding] = validate_resource(small(inputSchema={"description": "x" * 66_000})).findings

    assert finding.path == "spec"
    assert finding.message.endswith("bytes as JSON, and at most 65536 fit")
    assert finding.hint == "split the workflow, or move data out of it"


def test_a_resource_of_the_api_server_has_no_line() -> None:
    [finding] = validate_resource(small(descripton="x")).findings

    assert (finding.file, finding.line, finding.column) == ("", 0, 0)
    assert str(finding).startswith("spec.descripton: unknown field")


def test_a_resource_that_is_no_object_at_all_is_refused() -> None:
    [finding] = validate_resource([]).findings  # type: ignore[arg-type]

    assert str(finding) == "is no object — start with apiVersion: agentworkflow.dev/v1alpha1"


@pytest.mark.parametrize("key", ["steps", "functions", "triggers", "sources", "routes"])
@pytest.mark.parametrize("value", [3, "x", {"a": 1}, [3], [None], [[]], [{"name": 3}]])
def test_any_wrong_type_is_a_finding_and_no_traceback(key: str, value: Any) -> None:
    report = validate_resource(small(**{key: value}))

    assert not report.ok
    assert report.workflows == ()


@pytest.mark.parametrize(
    "step",
    [
        {"name": "s", "function": 3, "needs": "a", "when": 3, "forEach": [], "input": []},
        {"name": ["s"], "function": {}, "needs": [3, None, {}], "waitFor": 3},
        {"name": "s", "waitFor": {"signal": 3, "duration": [], "timeout": {}, "default": "${"}},
    ],
)
def test_a_step_of_wrong_types_is_found_wrong(step: dict[str, Any]) -> None:
    assert not validate_resource(small(steps=[step])).ok


@pytest.mark.parametrize(
    "function",
    [
        {"env": 3, "envFrom": [3], "resources": 3, "scale": 3, "retry": []},
        {"env": [{"name": 3, "valueFrom": 3}], "scale": {"min": "1", "max": None}},
        {"timeout": "soon", "memory": "lots", "resources": {"limits": {"memory": []}}},
        {"inputSchema": [], "outputSchema": 3, "retry": {"on": "Retry"}},
    ],
)
def test_a_function_of_wrong_types_is_found_wrong(function: dict[str, Any]) -> None:
    assert not validate_resource(small(functions=[{"name": "f", **function}])).ok
