"""What every route has in common: problems, overload, a store that is down, the description."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from agentworkflow.engine.valkey import EmbeddedValkey
from agentworkflow.store import Store

BASE = "/v1/namespaces/default"
STARTS = {
    "steps": [{"name": "hold", "waitFor": {"signal": "go"}}],
    "output": "${steps.hold.output}",
    "triggers": [{"name": "made", "filters": [{"exact": {"type": "com.example.order.created"}}]}],
}


async def test_errors_of_the_framework_are_problems_too(dispatcher: Any) -> None:
    cases = [
        ("GET", f"{BASE}/nothing", 404, "UnknownPath"),
        ("PUT", f"{BASE}/runs", 405, "MethodNotAllowed"),
        ("GET", f"{BASE}/workflows/x/runs", 405, "MethodNotAllowed"),
        ("DELETE", "/healthz", 405, "MethodNotAllowed"),
        ("GET", f"{BASE}/runs?limit=x", 422, "BadParameter"),
    ]
    for method, path, status, reason in cases:
        response = await dispatcher.api.request(method, path)
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["reason"] == reason
        assert response.json()["status"] == status
        assert response.json()["detail"]


async def test_a_fault_of_ours_is_a_problem_that_gives_nothing_away(
    dispatcher: Any, monkeypatch: Any
) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise KeyError("something private")

    monkeypatch.setattr(type(dispatcher.core.runs), "view", broken)
    response = await dispatcher.api.get(f"{BASE}/runs/x")
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert "private" not in response.text
    assert (await dispatcher.api.get("/healthz")).status_code == 200


async def test_more_than_can_be_stored_at_once_is_429(
    start_dispatcher: Any, event_headers: Any
) -> None:
    dispatcher = await start_dispatcher(max_accepts=1)
    await dispatcher.publish("held", STARTS)
    starts = [dispatcher.api.post(f"{BASE}/workflows/held/runs", json={}) for _ in range(20)]
    answers = await asyncio.gather(*starts)
    counts = {status: sum(a.status_code == status for a in answers) for status in (202, 429)}
    assert counts[202] + counts[429] == 20
    assert counts[202] > 0
    assert counts[429] > 0
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["reason"] == "Overloaded"
    # What waits for a result is not being stored.
    waiting = asyncio.create_task(
        dispatcher.api.post(f"{BASE}/workflows/held/runs", json={}, headers={"prefer": "wait=1"})
    )
    events = await dispatcher.events.post(
        dispatcher.trigger("held", "made"), content=b"{}", headers=event_headers()
    )
    assert events.status_code == 202
    assert (await waiting).status_code == 202


@pytest.fixture
async def mortal() -> AsyncIterator[tuple[EmbeddedValkey, Store]]:
    """A store of one's own, to be stopped."""
    server = EmbeddedValkey(options={"appendfsync": "no"})
    await server.start()
    store = await Store.connect(server.url)
    yield server, store
    await store.aclose()
    await server.stop()


async def test_while_the_store_is_down_nothing_is_accepted_and_everything_says_so(
    start_dispatcher: Any, mortal: Any, event_headers: Any
) -> None:
    server, store = mortal
    dispatcher = await start_dispatcher(store=store)
    await dispatcher.publish("held", STARTS)
    run = await dispatcher.start("held")
    await server.stop()
    structured = {"content-type": "application/cloudevents+json"}
    event = {"specversion": "1.0", "id": "1", "source": "/x", "type": "com.example.x"}
    calls = [
        dispatcher.api.post(f"{BASE}/workflows/held/runs", json={}),
        dispatcher.api.get(f"{BASE}/runs/{run}"),
        dispatcher.api.get(f"{BASE}/runs/{run}/events"),
        dispatcher.api.get(f"{BASE}/runs"),
        dispatcher.api.post(f"{BASE}/runs/{run}/cancel"),
        dispatcher.api.post(f"{BASE}/runs/{run}/signals/go", json=1),
        dispatcher.api.post(f"{BASE}/events", content=json.dumps(event), headers=structured),
        dispatcher.api.get(f"{BASE}/dead-letters"),
        dispatcher.api.get("/readyz"),
        dispatcher.events.post(
            dispatcher.trigger("held", "made"), content=b"{}", headers=event_headers()
        ),
        dispatcher.events.post(
            dispatcher.trigger("held", "made") + "/dead", content=b"{}", headers=event_headers()
        ),
        dispatcher.events.get("/readyz"),
    ]
    for response in await asyncio.gather(*calls):
        assert response.status_code == 503, response.request.url
        assert int(response.headers["retry-after"]) >= 1
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["reason"] == "Unavailable"
    for client in (dispatcher.api, dispatcher.events):
        assert (await client.get("/healthz")).status_code == 200


async def test_every_problem_is_counted_by_its_reason(dispatcher: Any) -> None:
    await dispatcher.api.get(f"{BASE}/runs/nothing")
    await dispatcher.api.post(f"{BASE}/workflows/nothing/runs", json={})
    text = (await dispatcher.api.get("/metrics")).text
    assert 'agentworkflow_refusals_total{reason="UnknownRun"} 1.0' in text
    assert (
        'agentworkflow_http_requests_total{method="GET",port="api",'
        'route="/v1/namespaces/{ns}/runs/{run}",status="404"} 1.0' in text
    )
    assert (
        'agentworkflow_http_requests_total{method="POST",port="api",'
        'route="/v1/namespaces/{ns}/workflows/{name}/runs",status="404"} 1.0' in text
    )


async def test_the_description_is_complete(dispatcher: Any) -> None:
    document = (await dispatcher.api.get("/openapi.json")).json()
    operations = {
        f"{method.upper()} {path.removeprefix('/v1/namespaces/{ns}')}"
        for path, found in document["paths"].items()
        for method in found
    }
    assert operations == {
        "GET /workflows",
        "GET /workflows/{name}",
        "POST /workflows/{name}/runs",
        "GET /runs",
        "GET /runs/{run}",
        "GET /runs/{run}/events",
        "GET /runs/{run}/result",
        "POST /runs/{run}/signals/{name}",
        "POST /runs/{run}/cancel",
        "POST /events",
        "GET /dead-letters",
        "GET /dead-letters/{letter}",
        "POST /dead-letters/{letter}/redrive",
        "DELETE /dead-letters/{letter}",
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
    }
    assert set(document["components"]["securitySchemes"]) == {"bearer", "apiKey"}
    assert document["security"] == [{"bearer": []}, {"apiKey": []}]
    assert (await dispatcher.api.get("/docs")).status_code == 200
    text = json.dumps(document)
    assert "HTTPValidationError" not in text
    for reference in {part.split('"')[0] for part in text.split('"$ref": "')[1:]}:
        target: Any = document
        for key in reference.removeprefix("#/").split("/"):
            target = target[key]


async def test_the_description_is_true(dispatcher: Any, event_headers: Any) -> None:
    await dispatcher.publish("held", STARTS | {"routes": [{"path": "/held"}]})
    document = (await dispatcher.api.get("/openapi.json")).json()
    run = await dispatcher.start("held", {"n": 1}, params={"session": "s"})
    address = dispatcher.trigger("held", "made")
    await dispatcher.events.post(address, content=b"{}", headers=event_headers("1"))
    await dispatcher.events.post(f"{address}/dead", content=b"{}", headers=event_headers("2"))
    (letter,) = (await dispatcher.api.get(f"{BASE}/dead-letters")).json()["items"]
    structured = {"content-type": "application/cloudevents-batch+json"}
    batch = [{"specversion": "1.0", "id": "1", "source": "/x", "type": "com.example.x"}, {}]
    templates: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/workflows", {}),
        ("GET", "/workflows/{name}", {}),
        ("GET", "/workflows/{other}", {}),
        ("POST", "/workflows/{name}/runs", {"json": {}}),
        ("POST", "/workflows/{name}/runs", {"content": b"{"}),
        ("GET", "/runs", {}),
        ("GET", "/runs", {"params": {"limit": -1}}),
        ("GET", "/runs/{run}", {}),
        ("GET", "/runs/{run}/result", {}),
        ("POST", "/runs/{run}/signals/{signal}", {"json": 1}),
        ("POST", "/events", {"content": json.dumps(batch), "headers": structured}),
        ("POST", "/events", {"content": b"{}"}),
        ("GET", "/dead-letters", {}),
        ("GET", "/dead-letters/{letter}", {}),
        ("POST", "/dead-letters/{letter}/redrive", {}),
    ]
    values = {
        "name": "held",
        "other": "nothing",
        "run": run,
        "signal": "go",
        "letter": letter["id"],
    }
    for method, template, request in templates:
        response = await dispatcher.api.request(method, BASE + template.format(**values), **request)
        name = template.replace("{other}", "{name}").replace("{signal}", "{name}")
        path = "/v1/namespaces/{ns}" + name
        described = document["paths"][path][method.lower()]["responses"]
        assert str(response.status_code) in described, (template, response.text)
        content = described[str(response.status_code)].get("content", {})
        media = response.headers.get("content-type")
        if media is None:
            assert content == {}
            continue
        schema = {**content[media]["schema"], "components": document["components"]}
        errors = [
            error.message for error in Draft202012Validator(schema).iter_errors(response.json())
        ]
        assert errors == [], template
    finished = await dispatcher.finished(run)
    view = {"$ref": "#/components/schemas/RunView", "components": document["components"]}
    assert list(Draft202012Validator(view).iter_errors(finished)) == []
