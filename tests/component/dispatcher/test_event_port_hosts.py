"""What function hosts ask of the event port: progress and blobs, with their attempt's token."""

import hashlib
import json
from typing import Any

import pytest

from agentworkflow.runs.tokens import token_of

RUNS = "/v1/namespaces/default/runs"
CALLS_NOBODY = {
    "functions": [{"name": "report", "handler": "api_functions:report"}],
    "steps": [{"name": "tell", "function": "report"}],
}


@pytest.fixture
async def attempt(dispatcher: Any, receiver: Any) -> dict[str, str]:
    return await begin_attempt(dispatcher, receiver)


async def begin_attempt(dispatcher: Any, receiver: Any) -> dict[str, str]:
    """An attempt that is running, as headers; its host says nothing until the test ends."""
    receiver.statuses.extend([503] * 100)
    await dispatcher.publish("shop", CALLS_NOBODY, functions={"report": [receiver.url]})
    run = await dispatcher.start("shop")
    await receiver.count(1)
    head = await dispatcher.store.load(run)
    return {
        "awf-run": run,
        "awf-step": "tell",
        "awf-attempt": "1",
        "authorization": f"Bearer {token_of(head.secret, 'tell', None, 1)}",
    }


def progress_headers(attempt: dict[str, str]) -> dict[str, str]:
    return {
        "ce-specversion": "1.0",
        "ce-id": f"{attempt['awf-run']}/tell/1/progressed/1",
        "ce-source": "/agentworkflow/default/shop",
        "ce-type": "dev.agentworkflow.step.progressed",
        "ce-awfrun": attempt["awf-run"],
        "ce-awfstep": "tell",
        "ce-awfattempt": "1",
        "ce-awftoken": attempt["authorization"].removeprefix("Bearer "),
        "content-type": "application/json",
    }


async def progressed(dispatcher: Any, run: str) -> list[dict[str, Any]]:
    log = await dispatcher.core.runs.log("default", run)
    return [entry for _, entry in log if entry["type"] == "step.progressed"]


async def test_progress_is_appended_to_the_log(dispatcher: Any, attempt: dict[str, str]) -> None:
    response = await dispatcher.events.post(
        "/progress",
        content=json.dumps({"fraction": 0.25, "message": "a quarter"}),
        headers=progress_headers(attempt),
    )
    assert response.status_code == 204
    (entry,) = await progressed(dispatcher, attempt["awf-run"])
    assert (entry["step"], entry["fraction"], entry["message"]) == ("tell", 0.25, "a quarter")


async def test_more_than_one_progress_per_second_is_dropped(
    dispatcher: Any, attempt: dict[str, str]
) -> None:
    for _ in range(5):
        response = await dispatcher.events.post(
            "/progress", content=b'{"fraction": 0.5}', headers=progress_headers(attempt)
        )
        assert response.status_code == 204
    assert len(await progressed(dispatcher, attempt["awf-run"])) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"ce-awftoken": "forged"},
        {"ce-awfattempt": "2"},
        {"ce-awfstep": "other"},
        {"ce-awfrun": "5b1f0000-0000-4000-8000-000000000000-00"},
        {"ce-awfrun": "nonsense"},
    ],
)
async def test_progress_without_the_attempts_token_changes_nothing(
    dispatcher: Any, attempt: dict[str, str], change: dict[str, str]
) -> None:
    response = await dispatcher.events.post(
        "/progress", content=b'{"fraction": 1}', headers=progress_headers(attempt) | change
    )
    assert response.status_code == 403
    assert response.json()["reason"] == "AttemptRefused"
    assert await progressed(dispatcher, attempt["awf-run"]) == []


@pytest.mark.parametrize(
    "data", [b"[]", b'{"fraction": "half"}', b'{"fraction": true}', b'{"message": 1}']
)
async def test_progress_that_is_none_is_400(
    dispatcher: Any, attempt: dict[str, str], data: bytes
) -> None:
    response = await dispatcher.events.post(
        "/progress", content=data, headers=progress_headers(attempt)
    )
    assert response.status_code == 400


async def test_a_blob_is_kept_and_read_back_with_the_token(
    dispatcher: Any, attempt: dict[str, str]
) -> None:
    content = json.dumps("x" * 300_000).encode()
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    put = await dispatcher.events.put(f"/blobs/{digest}", content=content, headers=attempt)
    got = await dispatcher.events.get(f"/blobs/{digest}", headers=attempt)
    assert put.status_code == 201
    assert (got.status_code, got.content) == (200, content)


async def test_a_blob_over_the_limit_is_413(start_dispatcher: Any, receiver: Any) -> None:
    dispatcher = await start_dispatcher(max_blob=1000)
    headers = await begin_attempt(dispatcher, receiver)
    digest = "sha256:" + "0" * 64
    response = await dispatcher.events.put(f"/blobs/{digest}", content=b"x" * 1001, headers=headers)
    assert response.status_code == 413


async def test_a_blob_under_another_digest_is_refused(
    dispatcher: Any, attempt: dict[str, str]
) -> None:
    response = await dispatcher.events.put(
        "/blobs/sha256:" + "0" * 64, content=b"{}", headers=attempt
    )
    assert (response.status_code, response.json()["reason"]) == (422, "DigestMismatch")


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"authorization": "Bearer forged"}, 403),
        ({"authorization": ""}, 403),
        ({"awf-attempt": "2"}, 403),
        ({"awf-step": ""}, 400),
        ({"awf-attempt": "first"}, 400),
    ],
)
async def test_a_blob_is_refused_without_the_attempts_token(
    dispatcher: Any, attempt: dict[str, str], method: str, change: dict[str, str], status: int
) -> None:
    digest = "sha256:" + hashlib.sha256(b"{}").hexdigest()
    response = await dispatcher.events.request(
        method,
        f"/blobs/{digest}",
        content=b"{}" if method == "PUT" else None,
        headers=attempt | change,
    )
    assert response.status_code == status


async def test_who_has_no_token_is_refused_before_the_blob_is_read(
    dispatcher: Any, attempt: dict[str, str]
) -> None:
    forged = attempt | {"authorization": "Bearer forged"}
    digest = "sha256:" + "0" * 64
    response = await dispatcher.events.put(f"/blobs/{digest}", content=b"{}", headers=forged)
    # Were it read, its digest would be the fault.
    assert (response.status_code, response.json()["reason"]) == (403, "AttemptRefused")


async def test_a_digest_that_is_none_is_400(dispatcher: Any, attempt: dict[str, str]) -> None:
    for digest in ("sha256:0", "md5:" + "0" * 64, "sha256:" + "Z" * 64):
        response = await dispatcher.events.get(f"/blobs/{digest}", headers=attempt)
        assert (response.status_code, response.json()["reason"]) == (400, "MalformedDigest")


async def test_an_unknown_blob_is_404(dispatcher: Any, attempt: dict[str, str]) -> None:
    response = await dispatcher.events.get("/blobs/sha256:" + "0" * 64, headers=attempt)
    assert (response.status_code, response.json()["reason"]) == (404, "UnknownBlob")


async def test_a_large_result_of_a_real_host_is_kept_by_reference_and_served(
    dispatcher: Any, host: str
) -> None:
    await dispatcher.publish(
        "large",
        {
            "functions": [{"name": "large", "handler": "api_functions:large"}],
            "steps": [{"name": "make", "function": "large", "input": {"size": 400_000}}],
            "output": "${steps.make.output}",
        },
        functions={"large": [host]},
    )
    run = await dispatcher.start("large")
    view = await dispatcher.finished(run)
    assert view["state"] == "Succeeded", view
    response = await dispatcher.api.get(f"{RUNS}/{run}/result")
    assert response.json() == "x" * 400_000


_LARGE = "x" * 400_000
_NEXT = {"name": "next", "function": "analyze", "needs": ["make"]}


@pytest.mark.parametrize(
    ("following", "output", "expected"),
    [
        ([], None, {"make": _LARGE}),
        ([], {"all": "${steps.make.output}"}, {"all": _LARGE}),
        ([], "${size(steps.make.output)}", len(_LARGE)),
        (
            [_NEXT | {"input": {"order": "${steps.make.output}"}}],
            None,
            {"next": {"order": _LARGE, "revenue": 2.0}},
        ),
    ],
    ids=["default output", "in an object", "in an expression", "input of the next step"],
)
async def test_a_large_result_reaches_whatever_reads_it_next(
    dispatcher: Any, host: str, following: list[dict[str, Any]], output: Any, expected: Any
) -> None:
    await dispatcher.publish(
        "large",
        {
            "functions": [
                {"name": "large", "handler": "api_functions:large"},
                {"name": "analyze", "handler": "api_functions:analyze"},
            ],
            "steps": [
                {"name": "make", "function": "large", "input": {"size": len(_LARGE)}},
                *following,
            ],
            **({} if output is None else {"output": output}),
        },
        functions={"large": [host], "analyze": [host]},
    )
    run = await dispatcher.start("large")
    view = await dispatcher.finished(run)
    assert view["state"] == "Succeeded", view
    response = await dispatcher.api.get(f"{RUNS}/{run}/result")
    assert response.json() == expected


async def test_a_real_host_runs_a_step_and_its_failure_is_shown(dispatcher: Any, host: str) -> None:
    await dispatcher.publish(
        "shop",
        {
            "functions": [
                {"name": "analyze", "handler": "api_functions:analyze"},
                {"name": "refuse", "handler": "api_functions:refuse"},
            ],
            "steps": [
                {"name": "first", "function": "analyze", "input": {"order": "${input.order}"}},
                {"name": "second", "function": "refuse", "needs": ["first"]},
            ],
        },
        functions={"analyze": [host], "refuse": [host]},
    )
    run = await dispatcher.start("shop", {"order": "a"})
    view = await dispatcher.finished(run)
    assert (view["state"], view["reason"]) == ("Failed", "StepFailed")
    assert view["problem"]["title"] == "Not today"
    first, second = view["steps"]
    assert (first["state"], first["output"]) == ("Succeeded", {"order": "a", "revenue": 2.0})
    assert (second["state"], second["reason"]) == ("Failed", "Failure")
    result = await dispatcher.api.get(f"{RUNS}/{run}/result")
    assert (result.status_code, result.json()["runReason"]) == (409, "StepFailed")
