"""A workflow as runs use it: compiled, with its durations in ms and its defaults filled in."""

import copy
import json
from typing import Any

import pytest

from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.workflow.definition import (
    Definition,
    compile_resource,
    definition_digest,
    event_binding,
    event_binding_of_json,
)
from agentworkflow.workflow.expressions import EvaluationError
from agentworkflow.workflow.plan import RetryPolicy, WaitSpec

FULL: dict[str, Any] = {
    "apiVersion": "agentworkflow.dev/v1alpha1",
    "kind": "AgentWorkflow",
    "metadata": {"name": "shop", "namespace": "demo", "labels": {"a": "b"}},
    "spec": {
        "functions": [
            {
                "name": "f",
                "handler": "shop:f",
                "timeout": "1m30s",
                "startTimeout": "10s",
                "retry": {"limit": 1, "backoff": "Linear", "delay": "2s", "on": ["Crash"]},
            },
            {"name": "g", "handler": "shop:g", "retry": {"on": ["Retry", "Failure"]}},
        ],
        "triggers": [
            {
                "name": "ordered",
                "filters": [{"exact": {"type": "order"}}],
                "input": {"n": "${event.data.n}"},
                "session": "${event.data.customer}",
            },
            {"name": "any"},
            {"name": "alone", "function": "f", "input": {"csv": "${event.data}"}},
        ],
        "inputSchema": {"type": "object"},
        "deadline": "48h",
        "budget": {"steps": 5},
        "results": {"ttl": "2h"},
        "session": {"ttl": "1h", "update": "${steps.a.output}"},
        "steps": [
            {"name": "a", "function": "f", "needs": []},
            {
                "name": "b",
                "function": "g",
                "needs": ["a"],
                "forEach": "${steps.a.output}",
                "parallelism": 3,
                "when": "${input.go}",
                "input": {"x": "${item}"},
                "onFailure": "Continue",
            },
            {"name": "w", "waitFor": {"signal": "go", "timeout": "1m", "default": None}},
            {"name": "v", "waitFor": {"signal": "stop"}},
            {"name": "p", "waitFor": {"duration": "1ms"}},
        ],
        "output": "${steps.b.output}",
    },
}


def smallest(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "agentworkflow.dev/v1alpha1",
        "kind": "AgentWorkflow",
        "metadata": {"name": "shop"},
        "spec": {
            "functions": [{"name": "f", "handler": "shop:f"}],
            "steps": [{"name": "a", "function": "f"}],
            **spec,
        },
    }


@pytest.fixture(scope="module")
def full() -> Definition:
    return compile_resource(FULL)


def test_everything_is_compiled(full: Definition) -> None:
    assert (full.namespace, full.name) == ("demo", "shop")
    assert (full.deadline_ms, full.budget_steps) == (172_800_000, 5)
    assert (full.results_ttl_ms, full.session_ttl_ms) == (7_200_000, 3_600_000)
    assert full.input_schema == {"type": "object"}
    assert full.output is not None
    assert full.output.reference == "b"
    assert full.session_update is not None
    assert full.session_update.steps == {"a"}
    assert full.signals == {"go", "stop"}


def test_steps_have_their_functions_settings(full: Definition) -> None:
    a, b = full.plan.steps["a"], full.plan.steps["b"]
    assert (a.function, a.timeout_ms, a.start_timeout_ms) == ("f", 90_000, 10_000)
    on = frozenset({"Crash", "OutOfMemory"})
    assert a.retry == RetryPolicy(limit=1, backoff="Linear", delay_ms=2_000, on=on)
    assert (b.timeout_ms, b.start_timeout_ms) == (60_000, 300_000)
    assert b.retry == RetryPolicy(on=frozenset({"Retry", "Failure"}))
    assert (b.needs, b.parallelism, b.continue_on_failure) == (("a",), 3, True)
    assert b.when is not None
    assert b.for_each is not None
    assert b.input is not None


def test_the_defaults_are_those_of_the_reference() -> None:
    definition = compile_resource(smallest())
    step = definition.plan.steps["a"]
    on = frozenset({"Retry", "DeadlineExceeded", "Crash", "OutOfMemory"})
    assert step.retry == RetryPolicy(limit=3, backoff="Exponential", delay_ms=500, on=on)
    assert (step.timeout_ms, step.start_timeout_ms, step.parallelism) == (60_000, 300_000, 10)
    assert (step.needs, step.when, step.input, step.for_each, step.wait) == (
        (),
        None,
        None,
        None,
        None,
    )
    assert step.continue_on_failure is False
    assert (definition.namespace, definition.deadline_ms) == ("default", None)
    assert (definition.budget_steps, definition.output, definition.session_update) == (None,) * 3
    assert definition.results_ttl_ms == 7 * 24 * 3_600_000
    assert definition.session_ttl_ms == 720 * 3_600_000


def test_waits_tell_a_default_of_null_from_none(full: Definition) -> None:
    steps = full.plan.steps
    assert steps["w"].wait == WaitSpec("go", 60_000, has_default=True, default=None)
    assert steps["v"].wait == WaitSpec("stop", None, has_default=False)
    assert steps["p"].wait == WaitSpec(None, 1)


def test_a_default_of_null_is_still_there_after_it_was_stored(full: Definition) -> None:
    again = compile_resource(json.loads(full.resource_json))
    assert again.plan.steps["w"].wait == full.plan.steps["w"].wait


def test_what_is_stored_compiles_to_the_same_definition(full: Definition) -> None:
    again = compile_resource(json.loads(full.resource_json))
    assert again.digest == full.digest
    assert again.resource_json == full.resource_json
    assert again.plan == full.plan


def test_a_digest_names_identity_and_specification_only() -> None:
    digest = definition_digest(smallest())
    assert digest == KNOWN_DIGEST
    assert compile_resource(smallest()).digest == digest

    same = copy.deepcopy(smallest())
    same["metadata"] |= {"namespace": "default", "labels": {"x": "y"}, "annotations": {"z": "1"}}
    same["spec"] = dict(reversed(same["spec"].items()))
    assert definition_digest(same) == digest

    others = [smallest(), smallest(), smallest(deadline="1h")]
    others[0]["metadata"]["name"] = "bank"
    others[1]["metadata"]["namespace"] = "demo"
    assert len({digest, *(definition_digest(other) for other in others)}) == 4


KNOWN_DIGEST = "sha256:a251420fdba3b51e7850fa65901f3716547a78b1640f3bb4476f953f6e43ee94"


def test_text_that_utf_8_cannot_hold_has_a_digest_too() -> None:
    odd = smallest(output={"text": "é\ud800"})
    assert definition_digest(odd).startswith("sha256:")
    compile_resource(odd).resource_json.encode()


EVENT = CloudEvent(
    id="7",
    source="/shop",
    type="order",
    extensions={"tier": "gold"},
    data={"n": 3, "customer": "ada"},
)


def test_a_trigger_maps_its_event_to_input_and_session(full: Definition) -> None:
    trigger = full.triggers["ordered"]
    assert trigger.filter.matches(EVENT)
    assert not trigger.filter.matches(EVENT.replace(type="other"))
    assert trigger.input_of(EVENT) == {"n": 3}
    assert trigger.session_of(EVENT) == "ada"
    assert trigger.function is None


def test_the_default_input_is_the_events_data(full: Definition) -> None:
    trigger = full.triggers["any"]
    assert trigger.input_of(EVENT) == {"n": 3, "customer": "ada"}
    assert trigger.session_of(EVENT) is None
    assert trigger.filter.matches(EVENT)


def test_a_trigger_of_a_function_leaves_its_mapping_to_the_host(full: Definition) -> None:
    assert full.triggers["alone"].function == "f"
    assert full.triggers["alone"].input_of(EVENT) == EVENT.data


@pytest.mark.parametrize(
    ("customer", "session"),
    [(None, None), ("ada", "ada"), (7, "7"), (True, "true"), ({"b": 1, "a": 2}, '{"a":2,"b":1}')],
)
def test_a_session_id_is_text(full: Definition, customer: Any, session: str | None) -> None:
    event = EVENT.replace(data={"n": 1, "customer": customer})
    assert full.triggers["ordered"].session_of(event) == session


def test_a_mapping_that_fails_on_an_event_says_so(full: Definition) -> None:
    with pytest.raises(EvaluationError):
        full.triggers["ordered"].input_of(EVENT.replace(data={}))
    with pytest.raises(EvaluationError):
        full.triggers["ordered"].session_of(EVENT.replace(data={"n": 1}))


def test_an_event_in_expressions_has_its_attributes_and_data() -> None:
    expected = {
        "specversion": "1.0",
        "id": "7",
        "source": "/shop",
        "type": "order",
        "tier": "gold",
        "data": {"n": 3, "customer": "ada"},
    }
    assert event_binding(EVENT) == expected
    assert event_binding_of_json(expected) == expected


def test_steps_that_a_run_adds_are_compiled_alike(full: Definition) -> None:
    (added,) = full.compile_steps([{"name": "z", "function": "f", "needs": ["a"]}])
    assert (added.timeout_ms, added.retry) == (90_000, full.plan.steps["a"].retry)


def test_a_choreography_has_no_steps() -> None:
    resource = smallest(triggers=[{"name": "t", "function": "f"}])
    del resource["spec"]["steps"]
    assert compile_resource(resource).plan.steps == {}
