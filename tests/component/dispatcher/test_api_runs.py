"""Starting, listing, showing, signalling and cancelling runs over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

START = "/v1/namespaces/default/workflows/{}/runs"
RUNS = "/v1/namespaces/default/runs"

WAITING = {
    "steps": [{"name": "hold", "waitFor": {"signal": "go", "timeout": "1h"}}],
    "output": "${steps.hold.output}",
}
IMMEDIATE = {
    "steps": [{"name": "pause", "waitFor": {"duration": "1ms"}}],
    "output": {"got": "${input}"},
}
CHECKED = IMMEDIATE | {
    "inputSchema": {
        "type": "object",
        "required": ["order"],
        "properties": {
            "order": {"type": "string"},
            "lines": {"type": "array", "items": {"type": "integer"}},
        },
    }
}


@pytest.fixture
async def published(dispatcher: Any) -> Any:
    await dispatcher.publish("waiting", WAITING)
    await dispatcher.publish("immediate", IMMEDIATE)
    await dispatcher.publish("checked", CHECKED)
    return dispatcher


async def test_a_start_is_answered_with_a_ticket_that_says_where_to_look(published: Any) -> None:
    response = await published.api.post(START.format("waiting"), json={"order": 1})
    body = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == f"{RUNS}/{body['run']}"
    assert response.headers["retry-after"] == "1"
    assert body["created"] is True
    assert (body["namespace"], body["workflow"]) == ("default", "waiting")
    assert body["links"]["self"] == response.headers["location"]
    shown = await published.api.get(response.headers["location"])
    assert shown.json()["state"] == "Waiting"


async def test_a_start_that_waits_is_answered_with_the_finished_run(published: Any) -> None:
    response = await published.api.post(
        START.format("immediate"), json={"order": 1}, headers={"prefer": "wait=20"}
    )
    assert response.status_code == 200
    assert response.headers["preference-applied"] == "wait=20"
    assert response.json()["state"] == "Succeeded"
    assert response.json()["output"] == {"got": {"order": 1}}


async def test_a_wait_that_ends_too_early_gives_the_ticket(published: Any) -> None:
    response = await published.api.post(
        START.format("waiting"), json={}, headers={"prefer": 'respond-async, wait="1"'}
    )
    assert response.status_code == 202
    assert response.headers["preference-applied"] == "wait=1"
    assert response.headers["retry-after"] == "1"
    assert response.json()["run"]


async def test_a_wait_is_capped_by_the_setting(start_dispatcher: Any) -> None:
    dispatcher = await start_dispatcher(max_wait=0.05)
    await dispatcher.publish("waiting", WAITING)
    response = await dispatcher.api.post(
        START.format("waiting"), json={}, headers={"prefer": "wait=600"}
    )
    assert response.status_code == 202
    assert response.headers["preference-applied"] == "wait=0.05"


async def test_a_preference_that_makes_no_sense_is_ignored(published: Any) -> None:
    response = await published.api.post(
        START.format("waiting"), json={}, headers={"prefer": "wait=soon"}
    )
    assert response.status_code == 202
    assert "preference-applied" not in response.headers


async def test_no_body_is_an_empty_object(published: Any) -> None:
    response = await published.api.post(START.format("immediate"), headers={"prefer": "wait=20"})
    assert response.json()["output"] == {"got": {}}


async def test_the_same_key_is_the_same_run(published: Any) -> None:
    answers = [
        await published.api.post(
            START.format("waiting"), json={"n": 1}, headers={"idempotency-key": key}
        )
        for key in ("order-1", '"order-1"')
    ]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json()["run"] == answers[1].json()["run"]
    assert [answer.json()["created"] for answer in answers] == [True, False]


async def test_the_same_key_with_another_body_is_a_conflict(published: Any) -> None:
    key = {"idempotency-key": "order-1"}
    await published.api.post(START.format("waiting"), json={"n": 1}, headers=key)
    response = await published.api.post(START.format("waiting"), json={"n": 2}, headers=key)
    assert response.status_code == 409
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["reason"] == "KeyReused"


async def test_many_starts_with_one_key_at_once_are_one_run(published: Any) -> None:
    answers = await asyncio.gather(
        *(
            published.api.post(
                START.format("waiting"), json={"n": 1}, headers={"idempotency-key": "k"}
            )
            for _ in range(20)
        )
    )
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["run"] for answer in answers}) == 1
    assert sum(answer.json()["created"] for answer in answers) == 1


@pytest.mark.parametrize("given", [{"params": {"session": "s1"}}, {"headers": {"session": "s1"}}])
async def test_a_session_is_a_parameter_or_a_header(published: Any, given: Any) -> None:
    run = await published.start("waiting", **given)
    assert (await published.view(run))["session"] == "s1"


async def test_a_session_given_twice_and_differently_is_refused(published: Any) -> None:
    response = await published.api.post(
        START.format("waiting"), params={"session": "a"}, headers={"session": "b"}, json={}
    )
    assert response.status_code == 400
    assert response.json()["reason"] == "BadParameter"


@pytest.mark.parametrize(
    ("header", "value"),
    [("idempotency-key", ""), ("idempotency-key", "k" * 256), ("session", "s" * 257)],
)
async def test_a_parameter_that_cannot_be_kept_is_refused(
    published: Any, header: str, value: str
) -> None:
    response = await published.api.post(START.format("waiting"), json={}, headers={header: value})
    assert response.status_code == 400
    assert response.json()["reason"] == "BadParameter"


async def test_a_body_over_the_limit_is_413_by_its_announced_length(published: Any) -> None:
    response = await published.api.post(START.format("waiting"), json={"text": "x" * (1024 * 1024)})
    assert response.status_code == 413
    assert response.json()["reason"] == "BodyTooLarge"


async def test_a_body_over_the_limit_is_413_when_it_comes_in_chunks(published: Any) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"text":"'
        for _ in range(40):
            yield b"x" * 32 * 1024
        yield b'"}'

    response = await published.api.post(
        START.format("waiting"),
        content=chunks(),
        headers={"content-type": "application/json"},
    )
    assert response.status_code == 413


async def test_a_body_of_exactly_the_limit_is_taken(published: Any) -> None:
    frame = len(json.dumps({"text": ""}))
    body = json.dumps({"text": "x" * (1024 * 1024 - frame)}).encode()
    assert len(body) == 1024 * 1024
    response = await published.api.post(
        START.format("waiting"), content=body, headers={"content-type": "application/json"}
    )
    assert response.status_code == 202


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", None],
)
async def test_another_type_than_json_is_415(published: Any, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    response = await published.api.post(START.format("waiting"), content=b"{}", headers=headers)
    assert response.status_code == 415
    assert response.json()["reason"] == "UnsupportedMediaType"


async def test_a_type_that_ends_in_json_is_taken(published: Any) -> None:
    response = await published.api.post(
        START.format("waiting"),
        content=b"{}",
        headers={"content-type": "application/vnd.shop+json; charset=UTF-8"},
    )
    assert response.status_code == 202


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff",
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'"\\ud800"',
        b"[" * 100_000,
        b"[" * 200 + b"]" * 200,
    ],
    ids=["cut", "not-utf8", "nan", "infinite", "surrogate", "bottomless", "deep"],
)
async def test_a_body_that_is_no_json_is_400(published: Any, body: bytes) -> None:
    response = await published.api.post(
        START.format("waiting"), content=body, headers={"content-type": "application/json"}
    )
    assert response.status_code == 400
    assert response.json()["reason"] == "MalformedBody"


async def test_a_body_of_a_hundred_levels_goes_through_expressions(published: Any) -> None:
    body = b"[" * 100 + b"]" * 100
    response = await published.api.post(
        START.format("immediate"),
        content=body,
        headers={"content-type": "application/json", "prefer": "wait=20"},
    )
    assert response.json()["output"] == {"got": json.loads(body)}


async def test_an_input_that_the_schema_refuses_is_422_with_the_path_of_each_error(
    published: Any,
) -> None:
    response = await published.api.post(
        START.format("checked"), json={"lines": [1, "two", 3, "four"]}
    )
    assert response.status_code == 422
    assert response.json()["reason"] == "InvalidInput"
    assert [error["path"] for error in response.json()["errors"]] == [
        "/lines/1",
        "/lines/3",
        "/order",
    ]
    assert (await published.api.get(RUNS)).json()["items"] == []


async def test_a_schema_is_that_of_the_generation_that_is_published(published: Any) -> None:
    assert (await published.api.post(START.format("checked"), json={})).status_code == 422
    await published.publish("checked", IMMEDIATE, generation=2)
    assert (await published.api.post(START.format("checked"), json={})).status_code == 202


async def test_an_unknown_workflow_is_404_and_the_known_ones_are_named(published: Any) -> None:
    response = await published.api.post(START.format("wating"), json={})
    assert response.status_code == 404
    assert response.json()["reason"] == "UnknownWorkflow"
    assert "checked, immediate, waiting" in response.json()["detail"]


OF_A_RUN = [
    ("GET", ""),
    ("GET", "/result"),
    ("GET", "/events"),
    ("POST", "/cancel"),
    ("POST", "/signals/go"),
]


@pytest.mark.parametrize(("method", "path"), OF_A_RUN)
async def test_an_unknown_ticket_is_404(published: Any, method: str, path: str) -> None:
    unknown = "5b1f0000-0000-4000-8000-000000000000-00"
    for run in (unknown, "nonsense", "a" * 3000, "..%2f..", "%00"):
        response = await published.api.request(method, f"{RUNS}/{run}{path}")
        assert response.status_code == 404
        assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("method", "path"), OF_A_RUN)
async def test_a_run_is_seen_in_its_own_namespace_only(
    published: Any, method: str, path: str
) -> None:
    run = await published.start("waiting")
    response = await published.api.request(method, f"/v1/namespaces/other/runs/{run}{path}")
    assert response.status_code == 404
    assert (await published.view(run))["state"] == "Waiting"


async def test_runs_are_listed_page_by_page_newest_first(published: Any) -> None:
    started = [await published.start("waiting", {"n": n}) for n in range(5)]
    seen: list[str] = []
    cursor = None
    pages = 0
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await published.api.get(RUNS, params=query)).json()
        seen += [item["run"] for item in page["items"]]
        pages += 1
        cursor = page["cursor"]
        if cursor is None:
            break
    assert pages == 3
    assert sorted(seen) == sorted(started)


async def test_runs_are_filtered_by_workflow_state_and_session(published: Any) -> None:
    waiting = await published.start("waiting", params={"session": "s"})
    finished = await published.start("immediate")
    await published.finished(finished)

    async def listed(**query: str) -> set[str]:
        page = (await published.api.get(RUNS, params=query)).json()
        return {item["run"] for item in page["items"]}

    assert await listed(workflow="waiting") == {waiting}
    assert await listed(state="Succeeded") == {finished}
    assert await listed(state="Waiting") == {waiting}
    assert await listed(state="Failed") == set()
    assert await listed(workflow="waiting", session="s") == {waiting}
    assert await listed(workflow="waiting", session="t") == set()


@pytest.mark.parametrize(
    ("query", "status"),
    [({"limit": "0"}, 422), ({"limit": "many"}, 422), ({"state": "Lost"}, 422)],
)
async def test_a_list_that_cannot_be_made_is_refused(
    published: Any, query: dict[str, str], status: int
) -> None:
    response = await published.api.get(RUNS, params=query)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["errors"]


@pytest.mark.parametrize("path", ["runs", "workflows", "dead-letters"])
async def test_a_foreign_cursor_is_refused(published: Any, path: str) -> None:
    response = await published.api.get(f"/v1/namespaces/default/{path}", params={"cursor": "!!!"})
    assert response.status_code == 400
    assert response.json()["reason"] == "BadParameter"


async def test_a_result_is_the_output_alone(published: Any) -> None:
    run = await published.start("immediate", {"n": 1})
    await published.finished(run)
    response = await published.api.get(f"{RUNS}/{run}/result")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"got": {"n": 1}}


async def test_a_result_that_is_not_there_yet_is_409_with_the_state(published: Any) -> None:
    run = await published.start("waiting")
    response = await published.api.get(f"{RUNS}/{run}/result")
    assert response.status_code == 409
    assert response.headers["retry-after"] == "1"
    assert (response.json()["reason"], response.json()["state"]) == ("NoResult", "Waiting")


async def test_a_signal_with_a_value_lets_the_run_go_on(published: Any) -> None:
    run = await published.start("waiting")
    response = await published.api.post(f"{RUNS}/{run}/signals/go", json={"ok": True})
    assert response.status_code == 202
    assert (await published.finished(run))["output"] == {"ok": True}


async def test_a_signal_without_a_value_is_null(published: Any) -> None:
    run = await published.start("waiting")
    assert (await published.api.post(f"{RUNS}/{run}/signals/go")).status_code == 202
    view = await published.finished(run)
    assert (view["state"], view["output"]) == ("Succeeded", None)


async def test_a_signal_that_no_step_waits_for_is_404_and_says_which_there_are(
    published: Any,
) -> None:
    run = await published.start("waiting")
    response = await published.api.post(f"{RUNS}/{run}/signals/stop", json=1)
    assert response.status_code == 404
    assert response.json()["reason"] == "UnknownSignal"
    assert "go" in response.json()["detail"]


async def test_a_cancelled_run_stays_cancelled(published: Any) -> None:
    run = await published.start("waiting")
    first = await published.api.post(f"{RUNS}/{run}/cancel")
    again = await published.api.post(f"{RUNS}/{run}/cancel")
    late = await published.api.post(f"{RUNS}/{run}/signals/go", json=1)
    assert [first.status_code, again.status_code, late.status_code] == [202, 202, 409]
    view = await published.view(run)
    assert (view["state"], view["reason"]) == ("Cancelled", "CancelRequested")


async def test_a_finished_run_cannot_be_cancelled(published: Any) -> None:
    run = await published.start("immediate")
    await published.finished(run)
    response = await published.api.post(f"{RUNS}/{run}/cancel")
    assert response.status_code == 409
    assert response.json()["reason"] == "RunFinished"


async def test_a_purged_key_names_no_second_run(published: Any) -> None:
    key = {"idempotency-key": "once"}
    run = await published.start("immediate", headers=key)
    await published.finished(run)
    assert await published.store.purge(run)
    response = await published.api.post(START.format("immediate"), json={}, headers=key)
    assert response.status_code == 410
    assert response.json()["reason"] == "RunExpired"
