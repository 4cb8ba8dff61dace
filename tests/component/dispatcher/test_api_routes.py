"""The workflows' own routes, and what is published."""

from dataclasses import replace
from typing import Any

import pytest

from agentworkflow.dispatcher.workflow_routes import is_reserved
from agentworkflow.store.registry import WorkflowRecord

WORKFLOWS = "/v1/namespaces/default/workflows"
STEPS: dict[str, Any] = {
    "steps": [{"name": "pause", "waitFor": {"duration": "1ms"}}],
    "output": "${input}",
}
HELD: dict[str, Any] = {"steps": [{"name": "hold", "waitFor": {"signal": "go"}}]}


async def test_a_route_that_waits_answers_with_the_finished_run(dispatcher: Any) -> None:
    await dispatcher.publish("shop", STEPS | {"routes": [{"path": "/analyze"}]})
    response = await dispatcher.api.post("/analyze", json={"order": 1})
    assert response.status_code == 200
    view = response.json()
    assert (view["workflow"], view["state"], view["output"]) == (
        "shop",
        "Succeeded",
        {"order": 1},
    )
    assert view["startedBy"] == {"kind": "route", "trigger": "/analyze", "event": None}
    assert response.headers["location"].endswith(view["run"])


async def test_a_route_that_waits_in_vain_answers_with_the_ticket(dispatcher: Any) -> None:
    route = {"path": "/analyze", "response": "Wait", "wait": "1s"}
    await dispatcher.publish("shop", HELD | {"routes": [route]})
    response = await dispatcher.api.post("/analyze", json={})
    assert response.status_code == 202
    assert (await dispatcher.view(response.json()["run"]))["state"] == "Waiting"


async def test_a_route_for_tickets_answers_at_once(dispatcher: Any) -> None:
    await dispatcher.publish(
        "shop", HELD | {"routes": [{"path": "/orders", "method": "PUT", "response": "Ticket"}]}
    )
    response = await dispatcher.api.put("/orders", json={})
    assert response.status_code == 202
    assert response.headers["retry-after"] == "1"


async def test_a_route_makes_the_input_of_the_body(dispatcher: Any) -> None:
    route = {"path": "/analyze", "input": {"id": "${input.order}", "from": "web"}}
    await dispatcher.publish("shop", STEPS | {"routes": [route]})
    response = await dispatcher.api.post("/analyze", json={"order": 7})
    assert response.json()["output"] == {"id": 7, "from": "web"}


async def test_a_body_of_which_no_input_can_be_made_is_422(dispatcher: Any) -> None:
    route = {"path": "/analyze", "input": {"id": "${input.order}"}}
    await dispatcher.publish("shop", STEPS | {"routes": [route]})
    response = await dispatcher.api.post("/analyze", json={})
    assert response.status_code == 422
    assert "input.order" in response.json()["detail"]


async def test_a_route_checks_the_input_by_the_schema(dispatcher: Any) -> None:
    spec = STEPS | {"routes": [{"path": "/analyze"}], "inputSchema": {"required": ["order"]}}
    await dispatcher.publish("shop", spec)
    response = await dispatcher.api.post("/analyze", json={})
    assert response.status_code == 422
    assert response.json()["errors"][0]["path"] == "/order"


async def test_a_route_takes_the_key_and_the_session_of_a_request(dispatcher: Any) -> None:
    await dispatcher.publish("shop", HELD | {"routes": [{"path": "/orders", "response": "Ticket"}]})
    headers = {"idempotency-key": "k", "session": "s"}
    answers = [await dispatcher.api.post("/orders", json={}, headers=headers) for _ in range(2)]
    assert [answer.json()["created"] for answer in answers] == [True, False]
    assert (await dispatcher.view(answers[0].json()["run"]))["session"] == "s"


async def test_another_method_is_405_and_names_those_that_are_taken(dispatcher: Any) -> None:
    routes = [{"path": "/orders"}, {"path": "/orders", "method": "PUT"}]
    await dispatcher.publish("shop", STEPS | {"routes": routes})
    response = await dispatcher.api.get("/orders")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST, PUT"
    assert response.headers["content-type"] == "application/problem+json"


async def test_the_first_to_claim_a_route_keeps_it(dispatcher: Any) -> None:
    await dispatcher.publish("first", STEPS | {"routes": [{"path": "/orders"}]})
    await dispatcher.publish("second", STEPS | {"routes": [{"path": "/orders"}]})
    assert (await dispatcher.api.post("/orders", json={})).json()["workflow"] == "first"
    # A new generation of the first is still the first.
    await dispatcher.publish("first", STEPS | {"routes": [{"path": "/orders"}]}, generation=2)
    assert (await dispatcher.api.post("/orders", json={})).json()["workflow"] == "first"


async def test_a_route_that_is_given_up_goes_to_the_next_claim(dispatcher: Any) -> None:
    await dispatcher.publish("first", STEPS | {"routes": [{"path": "/orders"}]})
    await dispatcher.publish("second", STEPS | {"routes": [{"path": "/orders"}]})
    await dispatcher.store.withdraw("default", "first")
    await dispatcher.core.catalog.refresh()
    assert (await dispatcher.api.post("/orders", json={})).json()["workflow"] == "second"
    await dispatcher.store.withdraw("default", "second")
    await dispatcher.core.catalog.refresh()
    assert (await dispatcher.api.post("/orders", json={})).status_code == 404


async def test_a_route_for_a_host_comes_before_one_for_every_host(dispatcher: Any) -> None:
    await dispatcher.publish("everywhere", STEPS | {"routes": [{"path": "/orders"}]})
    await dispatcher.publish(
        "here", STEPS | {"routes": [{"path": "/orders", "host": "shop.example.com"}]}
    )
    there = await dispatcher.api.post("/orders", json={})
    here = await dispatcher.api.post("/orders", json={}, headers={"host": "Shop.Example.com:8080"})
    assert (there.json()["workflow"], here.json()["workflow"]) == ("everywhere", "here")


async def test_a_path_that_nobody_has_is_a_problem(dispatcher: Any) -> None:
    for path in ("/", "/analyze", "/v1", "/v1/namespaces/default/nonsense", "/e/a/b/c/d"):
        response = await dispatcher.api.post(path, json={})
        assert response.status_code == 404
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["reason"] == "UnknownPath"


def test_our_own_paths_and_what_is_below_them_are_reserved() -> None:
    own = [
        "/v1",
        "/v1/x",
        "/e/x",
        "/blobs/x",
        "/healthz",
        "/readyz",
        "/metrics",
        "/docs",
        "/docs/x",
    ]
    assert [path for path in own if not is_reserved(path)] == []
    assert [path for path in ("/v11", "/events", "/doc") if is_reserved(path)] == []


async def test_a_published_workflow_is_shown_with_its_input_schema(dispatcher: Any) -> None:
    schema = {"type": "object", "required": ["order"]}
    spec = HELD | {
        "description": "Holds.",
        "inputSchema": schema,
        "triggers": [{"name": "made", "filters": [{"exact": {"type": "com.example.made"}}]}],
        "routes": [{"path": "/hold"}],
    }
    await dispatcher.publish("shop", spec, generation=3)
    response = await dispatcher.api.get(f"{WORKFLOWS}/shop")
    assert response.status_code == 200
    shown = response.json()
    assert shown["publishedAt"].endswith("Z")
    assert {name: shown[name] for name in ("name", "description", "generation")} == {
        "name": "shop",
        "description": "Holds.",
        "generation": 3,
    }
    assert shown["inputSchema"] == schema
    assert shown["signals"] == ["go"]
    assert shown["triggers"][0]["name"] == "made"
    assert shown["routes"] == [{"host": None, "method": "POST", "path": "/hold"}]


async def test_workflows_are_listed_by_name_page_by_page(dispatcher: Any) -> None:
    for name in ("c", "a", "d", "b"):
        await dispatcher.publish(name, HELD)
    await dispatcher.publish("elsewhere", HELD, namespace="other")
    first = (await dispatcher.api.get(WORKFLOWS, params={"limit": 3})).json()
    second = (
        await dispatcher.api.get(WORKFLOWS, params={"limit": 3, "cursor": first["cursor"]})
    ).json()
    assert [each["name"] for each in first["items"]] == ["a", "b", "c"]
    assert [each["name"] for each in second["items"]] == ["d"]
    assert second["cursor"] is None


async def test_an_unknown_workflow_is_404(dispatcher: Any) -> None:
    await dispatcher.publish("shop", HELD, namespace="other")
    response = await dispatcher.api.get(f"{WORKFLOWS}/shop")
    assert response.status_code == 404
    assert response.json()["reason"] == "UnknownWorkflow"


async def test_what_another_process_publishes_is_seen(dispatcher: Any, until: Any) -> None:
    # `publish` of this harness refreshes; a publisher elsewhere only writes to the store.
    await dispatcher.publish("shop", HELD)
    record = await dispatcher.store.get_workflow("default", "shop")
    assert record is not None
    changed = replace(record, generation=2)
    version = dispatcher.core.catalog.version
    await dispatcher.store.publish(changed)
    await until(lambda: dispatcher.core.catalog.version != version)
    shown = await dispatcher.api.get(f"{WORKFLOWS}/shop")
    assert shown.json()["generation"] == 2


@pytest.mark.parametrize("broken", [{"spec": {}}, {"metadata": {}}])
async def test_a_record_that_cannot_be_read_takes_no_other_with_it(
    dispatcher: Any, broken: dict[str, Any]
) -> None:
    await dispatcher.store.publish(WorkflowRecord("default", "broken", 1, "sha256:0", broken))
    await dispatcher.publish("shop", HELD)
    listed = (await dispatcher.api.get(WORKFLOWS)).json()["items"]
    assert [each["name"] for each in listed] == ["shop"]
