"""The event port's answers to Brokers."""

import json
from typing import Any

import pytest

RUNS = "/v1/namespaces/default/runs"
LETTERS = "/v1/namespaces/default/dead-letters"
PAUSE = {"steps": [{"name": "pause", "waitFor": {"duration": "1ms"}}], "output": "${input}"}
MADE = {"name": "made", "filters": [{"exact": {"type": "com.example.order.created"}}]}


@pytest.fixture
async def published(dispatcher: Any) -> Any:
    await dispatcher.publish("shop", PAUSE | {"triggers": [MADE]})
    return dispatcher


async def runs_of(dispatcher: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await dispatcher.api.get(RUNS)).json()["items"]
    return items


async def deliver(dispatcher: Any, headers: dict[str, str], **options: Any) -> Any:
    address = dispatcher.trigger(options.get("workflow", "shop"), options.get("trigger", "made"))
    body = options.get("body", b'{"order": 1}')
    return await dispatcher.events.post(address, content=body, headers=headers)


async def test_an_event_starts_a_run_and_is_kept_with_it(
    published: Any, event_headers: Any
) -> None:
    response = await deliver(published, event_headers("7"))
    assert (response.status_code, response.content) == (202, b"")
    (run,) = await runs_of(published)
    view = await published.finished(run["run"])
    assert view["output"] == {"order": 1}
    assert view["startedBy"] == {
        "kind": "event",
        "trigger": "made",
        "event": {"source": "/shop", "id": "7", "type": "com.example.order.created"},
    }


async def test_a_duplicate_is_acknowledged_and_starts_nothing(
    published: Any, event_headers: Any
) -> None:
    first = await deliver(published, event_headers("7"))
    # A duplicate is never compared: another body is the same event.
    again = await deliver(published, event_headers("7"), body=b'{"order": 2}')
    other = await deliver(published, event_headers("8"))
    assert [first.status_code, again.status_code, other.status_code] == [202, 200, 202]
    assert again.content == b""
    assert len(await runs_of(published)) == 2


async def test_an_event_of_a_purged_run_is_acknowledged(published: Any, event_headers: Any) -> None:
    await deliver(published, event_headers("7"))
    (run,) = await runs_of(published)
    await published.finished(run["run"])
    assert await published.store.purge(run["run"])
    response = await deliver(published, event_headers("7"))
    assert response.status_code == 200
    assert await runs_of(published) == []


async def test_the_same_event_at_two_triggers_of_a_workflow_starts_one_run(
    dispatcher: Any, event_headers: Any
) -> None:
    await dispatcher.publish("shop", PAUSE | {"triggers": [MADE, MADE | {"name": "again"}]})
    await deliver(dispatcher, event_headers("7"))
    await deliver(dispatcher, event_headers("7"), trigger="again")
    (run,) = await runs_of(dispatcher)
    assert run["startedBy"]["trigger"] == "made"


@pytest.mark.parametrize(
    ("namespace", "workflow", "trigger"),
    [("other", "shop", "made"), ("default", "shop2", "made"), ("default", "shop", "other")],
)
async def test_an_address_of_one_trigger_opens_no_other(
    published: Any, event_headers: Any, namespace: str, workflow: str, trigger: str
) -> None:
    mac = published.trigger("shop", "made").rpartition("/")[2]
    for path in ("", "/dead"):
        response = await published.events.post(
            f"/e/{namespace}/{workflow}/{trigger}/{mac}{path}",
            content=b"{}",
            headers=event_headers(),
        )
        assert response.status_code == 403
        assert response.json()["reason"] == "ForgedAddress"
    assert await runs_of(published) == []


async def test_namespace_and_workflow_come_from_the_address_and_not_from_attributes(
    published: Any, event_headers: Any
) -> None:
    headers = event_headers("7", awfnamespace="other", awfworkflow="other", awfrun="x")
    assert (await deliver(published, headers)).status_code == 202
    (run,) = await runs_of(published)
    assert (run["namespace"], run["workflow"]) == ("default", "shop")


async def test_a_token_in_an_event_is_not_kept(dispatcher: Any, event_headers: Any) -> None:
    made = MADE | {"input": {"has": "${has(event.awftoken)}"}}
    await dispatcher.publish("shop", PAUSE | {"triggers": [made]})
    await deliver(dispatcher, event_headers("7", awftoken="secret-token"))
    (run,) = await runs_of(dispatcher)
    view = await dispatcher.finished(run["run"])
    assert view["output"] == {"has": False}


async def test_input_and_session_are_made_of_the_event(dispatcher: Any, event_headers: Any) -> None:
    made = MADE | {
        "input": {"id": "${event.id}", "order": "${event.data.order}"},
        "session": "${event.data.customer}",
    }
    await dispatcher.publish("shop", PAUSE | {"triggers": [made]})
    body = json.dumps({"order": 5, "customer": "ada"}).encode()
    assert (await deliver(dispatcher, event_headers("7"), body=body)).status_code == 202
    (run,) = await runs_of(dispatcher)
    view = await dispatcher.finished(run["run"])
    assert view["output"] == {"id": "7", "order": 5}
    assert view["session"] == "ada"


async def test_an_event_of_which_no_input_can_be_made_is_422(
    dispatcher: Any, event_headers: Any
) -> None:
    made = MADE | {"input": {"order": "${event.data.missing}"}}
    await dispatcher.publish("shop", PAUSE | {"triggers": [made]})
    response = await deliver(dispatcher, event_headers())
    assert response.status_code == 422
    assert "event.data.missing" in response.json()["detail"]


async def test_an_input_that_the_schema_refuses_is_422_and_no_run(
    dispatcher: Any, event_headers: Any
) -> None:
    schema = {"inputSchema": {"properties": {"order": {"type": "string"}}}}
    await dispatcher.publish("shop", PAUSE | {"triggers": [MADE]} | schema)
    response = await deliver(dispatcher, event_headers())
    assert response.status_code == 422
    assert response.json()["errors"] == [{"path": "/order", "message": "1 is not of type 'string'"}]
    assert await runs_of(dispatcher) == []


@pytest.mark.parametrize(
    ("headers", "body", "path"),
    [
        ({"ce-id": ""}, b"{}", "id"),
        ({"ce-source": ""}, b"{}", "source"),
        ({"ce-specversion": "0.3"}, b"{}", "specversion"),
        ({}, b"{", "data"),
        ({}, b"[" * 200 + b"]" * 200, "data"),
        ({"ce-awfdepth": "deep"}, b"{}", "awfdepth"),
    ],
)
async def test_a_malformed_event_is_400_and_says_which_attribute(
    published: Any, event_headers: Any, headers: dict[str, str], body: bytes, path: str
) -> None:
    response = await deliver(published, event_headers() | headers, body=body)
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["errors"][0]["path"] == path


async def test_a_workflow_or_trigger_that_is_not_published_is_404_so_that_it_is_retried(
    published: Any, event_headers: Any
) -> None:
    workflow = await deliver(published, event_headers(), workflow="later")
    trigger = await deliver(published, event_headers(), trigger="later")
    assert (workflow.status_code, workflow.json()["reason"]) == (404, "UnknownWorkflow")
    assert (trigger.status_code, trigger.json()["reason"]) == (404, "UnknownTrigger")


async def test_a_trigger_without_filters_is_not_started_by_events_of_ours(
    dispatcher: Any, event_headers: Any
) -> None:
    await dispatcher.publish("shop", PAUSE | {"triggers": [{"name": "all"}]})
    ours = event_headers("7") | {"ce-type": "dev.agentworkflow.run.succeeded"}
    theirs = event_headers("8") | {"ce-type": "dev.agentworkflowish.run"}
    assert (await deliver(dispatcher, ours, trigger="all")).status_code == 204
    assert (await deliver(dispatcher, theirs, trigger="all")).status_code == 202
    assert len(await runs_of(dispatcher)) == 1


async def test_a_trigger_that_names_a_type_of_ours_exactly_is_started_by_it(
    dispatcher: Any, event_headers: Any
) -> None:
    kind = "dev.agentworkflow.run.succeeded"
    prefix = {"name": "prefix", "filters": [{"prefix": {"type": "dev.agentworkflow."}}]}
    exact = {"name": "exact", "filters": [{"any": [{"exact": {"type": kind}}]}]}
    await dispatcher.publish("shop", PAUSE | {"triggers": [prefix, exact]})
    headers = event_headers("7") | {"ce-type": kind}
    assert (await deliver(dispatcher, headers, trigger="prefix")).status_code == 204
    assert (await deliver(dispatcher, headers, trigger="exact")).status_code == 202


async def test_a_start_that_lies_too_deep_is_a_dead_letter_for_its_loop(
    published: Any, event_headers: Any
) -> None:
    allowed = await deliver(published, event_headers("16", awfdepth="16"))
    refused = await deliver(published, event_headers("17", awfdepth="17"))
    assert (allowed.status_code, refused.status_code) == (202, 204)
    (letter,) = (await published.api.get(LETTERS)).json()["items"]
    assert (letter["reason"], letter["target"]) == ("Loop", "made")
    assert letter["event"]["id"] == "17"
    assert len(await runs_of(published)) == 1


async def test_a_trigger_of_a_function_starts_no_run(dispatcher: Any, event_headers: Any) -> None:
    await dispatcher.publish(
        "shop",
        {
            "functions": [{"name": "analyze", "handler": "api_functions:analyze"}],
            "triggers": [{"name": "made", "function": "analyze"}],
        },
    )
    response = await deliver(dispatcher, event_headers())
    assert (response.status_code, response.json()["reason"]) == (422, "Misdirected")


async def test_the_api_is_not_on_the_event_port(published: Any) -> None:
    for path in ("/v1/namespaces/default/runs", "/docs", "/openapi.json"):
        response = await published.events.get(path)
        assert response.status_code == 404
        assert response.headers["content-type"] == "application/problem+json"


async def test_the_event_port_is_not_on_the_api(published: Any, event_headers: Any) -> None:
    address = published.trigger("shop", "made")
    response = await published.api.post(address, content=b"{}", headers=event_headers())
    assert response.status_code == 404


async def test_both_ports_tell_their_health(published: Any) -> None:
    for client in (published.api, published.events):
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert (await client.get("/readyz")).json() == {"status": "ready"}
        metrics = await client.get("/metrics")
        assert metrics.headers["content-type"].startswith("text/plain")
        assert "agentworkflow_http_requests_total" in metrics.text
