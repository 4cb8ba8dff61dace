"""Where a function's variables come from on one machine, and how the engine renders a workflow."""

import textwrap
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from agentworkflow.engine.environment import Resolved, SecretFiles, resolve_environment
from agentworkflow.engine.rendering import (
    Places,
    addresses,
    build_schedules,
    build_subscriptions,
    plan_hosts,
)
from agentworkflow.engine.windows import pool_size
from agentworkflow.workflow.models import AgentWorkflow, WarmPool
from agentworkflow.workflow.models_functions import Function, Runtime
from agentworkflow.workflow.validation import validate_text

PLACES = Places("http://127.0.0.1:1", "http://127.0.0.1:2", b"secret")

WORKFLOW = """
    apiVersion: agentworkflow.dev/v1alpha1
    kind: AgentWorkflow
    metadata: {name: shop}
    spec:
      runtime: {preload: [json]}
      functions:
        - {name: sum, handler: "made:sum", timeout: 5s, startTimeout: 1m, concurrency: 3,
           memory: 64Mi, scale: {window: 30s, retention: 10s}}
        - {name: own, handler: "made:own", env: [{name: REGION, value: eu}], scale: {min: 1}}
        - {name: legacy, image: "registry.example/legacy:1", timeout: 9m, startTimeout: 9m}
      triggers:
        - {name: started}
        - {name: summed, function: sum, input: {n: "${event.data.n}"}, reply: com.example.sum}
        - {name: old, function: legacy}
      sources:
        - {name: nightly, schedule: {cron: "0 2 * * *", timezone: Asia/Shanghai, data: {a: 1}}}
      steps: [{name: only, function: sum}]
      warmPool: {size: 1}
      broker: {name: orders}
"""


def workflow() -> AgentWorkflow:
    report = validate_text(textwrap.dedent(WORKFLOW), "workflow.yaml")
    assert [str(each) for each in report.findings] == []
    return report.workflows[0]


def resolve(directory: Path | None, *containers: Any, **inherited: str) -> Resolved:
    return resolve_environment(containers, SecretFiles(directory, inherited))


def function(**given: Any) -> Function:
    return Function.model_validate({"name": "f", "handler": "a:b"} | given)


def from_secret(optional: bool = False) -> dict[str, Any]:
    reference = {"name": "db", "key": "password", "optional": optional}
    return {"name": "PASSWORD", "valueFrom": {"secretKeyRef": reference}}


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "password").write_text("from the file\n", encoding="utf-8")
    (tmp_path / "db" / "user.name").write_text("no valid name", encoding="utf-8")
    return tmp_path


def test_a_functions_variable_is_laid_over_the_runtimes() -> None:
    runtime = Runtime.model_validate({"env": [{"name": "A", "value": "1"}, {"name": "B"}]})
    found = resolve(None, runtime, function(env=[{"name": "A", "value": "2"}]))
    assert found == Resolved({"A": "2", "B": ""}, ())


def test_a_key_of_a_secret_comes_from_its_file(secrets: Path) -> None:
    found = resolve(secrets, function(env=[from_secret()]), PASSWORD="from the environment")
    assert found == Resolved({"PASSWORD": "from the file"}, ())


def test_without_a_file_the_environment_speaks(tmp_path: Path) -> None:
    found = resolve(tmp_path, function(env=[from_secret()]), PASSWORD="from the environment")
    assert found.variables == {"PASSWORD": "from the environment"}


def test_a_missing_key_is_named_with_what_to_do() -> None:
    found = resolve(None, function(env=[from_secret()]))
    (missing,) = found.missing
    assert "db/password" in missing
    assert "--secrets" in missing


def test_a_missing_key_that_is_optional_is_left_out() -> None:
    assert resolve(None, function(env=[from_secret(optional=True)])) == Resolved({}, ())


def test_all_keys_of_a_secret_that_are_names_become_variables(secrets: Path) -> None:
    group = {"prefix": "DB_", "secretRef": {"name": "db"}}
    assert resolve(secrets, function(envFrom=[group])) == Resolved(
        {"DB_password": "from the file"}, ()
    )


@pytest.mark.parametrize("kind", ["secretRef", "configMapRef"])
def test_a_whole_secret_that_is_not_there_is_named_unless_it_is_optional(
    secrets: Path, kind: str
) -> None:
    (missing,) = resolve(secrets, function(envFrom=[{kind: {"name": "mail"}}])).missing
    assert "mail" in missing
    optional = {kind: {"name": "mail", "optional": True}}
    assert resolve(secrets, function(envFrom=[optional])) == Resolved({}, ())
    # Without a directory, what is exported is all that there is.
    assert resolve(None, function(envFrom=[{kind: {"name": "mail"}}])) == Resolved({}, ())


def test_there_is_a_host_for_each_function_and_one_for_the_pool() -> None:
    plans = {plan.key: plan for plan in plan_hosts(workflow(), Path("/w"), PLACES.events)}
    assert list(plans) == [f"default/shop/{name}" for name in ("sum", "own", "legacy", "pool")]
    assert plans["default/shop/sum"].idle_exit == 40
    assert [plan.warm for plan in plans.values()] == [False, True, False, True]
    # Only functions whose template is the runtime's can share a host.
    assert plans["default/shop/pool"].functions == ("sum",)
    assert plans["default/shop/legacy"].table is None


def test_a_table_holds_what_the_host_must_know() -> None:
    (plan, *_) = plan_hosts(workflow(), Path("/w"), PLACES.events)
    assert plan.table == {
        "namespace": "default",
        "workflow": "shop",
        "role": "own",
        "path": ["/w", "/w/src"],
        "preload": ["json"],
        "callback": PLACES.events,
        "functions": [
            {
                "name": "sum",
                "handler": "made:sum",
                "timeout": 5.0,
                "concurrency": 3,
                "memory": 64 * 2**20,
                "inputSchema": None,
                "outputSchema": None,
                "triggers": [
                    {
                        "name": "summed",
                        "input": {"n": "${event.data.n}"},
                        "reply": "com.example.sum",
                    }
                ],
            }
        ],
    }


def test_the_pool_is_asked_first_and_the_functions_own_host_last() -> None:
    plans = plan_hosts(workflow(), Path("/w"), PLACES.events)
    urls = {plan.key: f"http://{plan.key.rsplit('/', 1)[1]}" for plan in plans}
    assert addresses(plans, urls) == {
        "sum": ["http://pool/", "http://sum/"],
        "own": ["http://own/"],
        "legacy": ["http://legacy/"],
    }


def test_triggers_lead_to_the_event_port_to_a_handler_or_to_an_image() -> None:
    urls = {"default/shop/sum": "http://sum", "default/shop/legacy": "http://legacy"}
    started, summed, old = build_subscriptions(workflow(), urls, PLACES)
    assert started.broker == "default/orders"
    assert started.group == "shop/started"
    assert started.url.startswith("http://127.0.0.1:1/e/default/shop/started/")
    assert started.dead_letter_url == started.url + "/dead"
    assert started.policy.retry == 12
    assert started.policy.backoff == "Exponential"
    assert summed.url == "http://sum/functions/sum/triggers/summed"
    assert (summed.concurrency, summed.policy.timeout) == (3, 65)
    assert old.url == "http://legacy/"
    assert old.policy.timeout == 600


def test_a_schedule_has_the_name_that_its_pingsource_has() -> None:
    (schedule,) = build_schedules(workflow())
    assert schedule.source == "/apis/v1/namespaces/default/pingsources/shop--nightly"
    assert schedule.broker == "default/orders"
    assert (schedule.cron, schedule.timezone) == ("0 2 * * *", "Asia/Shanghai")
    assert schedule.data == {"a": 1}


@pytest.mark.parametrize(
    ("now", "size"),
    [
        ("2026-03-02T07:59:59+08:00", 1),
        ("2026-03-02T08:00:00+08:00", 3),
        ("2026-03-02T10:00:00+00:00", 1),
        ("2026-03-02T17:59:59+08:00", 3),
        ("2026-03-02T18:00:00+08:00", 1),
        ("2026-03-07T09:00:00+08:00", 0),
    ],
)
def test_a_pool_has_the_size_of_its_largest_open_window(now: str, size: int) -> None:
    pool = WarmPool.model_validate(
        {
            "size": 1,
            "windows": [
                {
                    "cron": "0 8 * * 1-5",
                    "timezone": "Asia/Shanghai",
                    "duration": "10h",
                    "size": 3,
                },
                {"cron": "0 9 * * 1-5", "timezone": "Asia/Shanghai", "duration": "1h", "size": 2},
                {"cron": "0 0 * * 6", "timezone": "Asia/Shanghai", "duration": "24h", "size": 0},
            ],
        }
    )
    assert pool_size(pool, datetime.fromisoformat(now)) == size
