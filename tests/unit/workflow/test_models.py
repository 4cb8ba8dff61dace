"""The models: defaults, and what they give back."""

from typing import Any

import pytest
from pydantic import ValidationError

from agentworkflow.workflow.models import AgentWorkflow, Function, Spec, WaitFor


def test_absent_fields_have_the_documented_defaults() -> None:
    function = Function.model_validate({"name": "f"})

    assert function.model_dump(exclude_none=True) == {
        "name": "f",
        "env": [],
        "envFrom": [],
        "timeout": "60s",
        "startTimeout": "5m",
        "concurrency": 10,
        "scale": {"min": 0, "max": 20, "window": "60s", "retention": "5m"},
        "retry": {
            "limit": 3,
            "backoff": "Exponential",
            "delay": "500ms",
            "on": ["Retry", "DeadlineExceeded", "Crash"],
        },
    }


def test_a_spec_has_its_defaults_too() -> None:
    spec = Spec.model_validate({})

    assert spec.model_dump(exclude_none=True) == {
        "functions": [],
        "triggers": [],
        "sources": [],
        "routes": [],
        "steps": [],
        "results": {"ttl": "168h"},
        "broker": {"name": "default", "create": False},
    }


def test_a_default_of_null_is_told_from_none() -> None:
    with_null = WaitFor.model_validate({"signal": "a", "timeout": "1s", "default": None})
    without = WaitFor.model_validate({"signal": "a", "timeout": "1s"})

    assert "default" in with_null.model_fields_set
    assert "default" not in without.model_fields_set


def test_a_null_elsewhere_is_an_absent_field() -> None:
    function = Function.model_validate({"name": "f", "timeout": None, "retry": None})

    assert function.model_fields_set == {"name"}


@pytest.mark.parametrize("given", [{"on": ["Crash"]}, {"true": ["Crash"]}])
def test_a_bare_on_that_kubectl_read_as_a_boolean_is_still_on(given: dict[str, Any]) -> None:
    function = Function.model_validate({"name": "f", "retry": given})

    assert function.retry.on == ["Crash"]


def test_what_the_server_wrote_is_left_out() -> None:
    workflow = AgentWorkflow.model_validate(
        {
            "apiVersion": "agentworkflow.dev/v1alpha1",
            "kind": "AgentWorkflow",
            "metadata": {"name": "a", "uid": "x", "managedFields": []},
            "spec": {},
            "status": {"anything": 1},
        }
    )

    assert workflow.model_dump(exclude_unset=True) == {
        "apiVersion": "agentworkflow.dev/v1alpha1",
        "kind": "AgentWorkflow",
        "metadata": {"name": "a"},
        "spec": {},
    }


def test_a_resource_read_from_its_own_dump_is_the_same() -> None:
    workflow = AgentWorkflow.model_validate(
        {
            "apiVersion": "agentworkflow.dev/v1alpha1",
            "kind": "AgentWorkflow",
            "metadata": {"name": "a"},
            "spec": {"steps": [{"name": "s", "waitFor": {"duration": "1s"}}], "output": {"a": 1}},
        }
    )

    assert AgentWorkflow.model_validate(workflow.model_dump(exclude_unset=True)) == workflow


def test_models_cannot_be_changed() -> None:
    function = Function.model_validate({"name": "f"})

    with pytest.raises(ValidationError):
        function.name = "g"  # type: ignore[misc]


@pytest.mark.parametrize("value", [[], "x", 3])
def test_a_resource_of_another_type_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        AgentWorkflow.model_validate(value)
    with pytest.raises(ValidationError):
        AgentWorkflow.model_validate(
            {
                "apiVersion": "agentworkflow.dev/v1alpha1",
                "kind": "AgentWorkflow",
                "metadata": value,
                "spec": {},
            }
        )
