import hashlib
import itertools
import json
from typing import Any

import pytest


@pytest.fixture(scope="module")
def host(start_host: Any) -> Any:
    return start_host(
        {"large": "orders:large", "size-of": "orders:size_of", "reports": "behaviours:reports"}
    )


def test_an_output_over_256_kib_is_stored_and_answered_by_reference(
    host: Any, event_port: Any
) -> None:
    answer = host.step("large", {"mib": 1}, run="blob-00", headers={"ce-awfitem": "4"})
    body = json.dumps("x" * 1024 * 1024).encode()
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    assert (answer.type, answer.headers["ce-dataref"]) == (
        "dev.agentworkflow.step.completed",
        digest,
    )
    assert answer.body == b""
    assert event_port.blobs[digest] == body
    headers = next(
        h for m, p, h, *_ in event_port.requests if (m, p) == ("PUT", f"/blobs/{digest}")
    )
    assert headers["authorization"] == "Bearer token"
    assert [headers[f"awf-{name}"] for name in ("run", "step", "item", "attempt")] == [
        *("blob-00", "large", "4", "1")
    ]


def test_an_output_of_fifty_mebibytes_is_stored_whole(host: Any, event_port: Any) -> None:
    answer = host.step("large", {"mib": 50})
    assert len(event_port.blobs.pop(answer.headers["ce-dataref"])) == 50 * 1024 * 1024 + 2


def test_an_output_that_is_too_large_for_any_store_says_so(host: Any) -> None:
    problem = host.step("large", {"mib": 65}).json()
    assert problem["reason"] == "BadAnswer"
    assert "too large" in problem["title"]


def test_storing_is_tried_again_when_the_event_port_is_busy(host: Any, event_port: Any) -> None:
    event_port.refuse_with[:] = [503, 502]
    assert "ce-dataref" in host.step("large", {"mib": 1}).headers


def test_an_output_that_cannot_be_stored_fails_the_attempt(host: Any, event_port: Any) -> None:
    event_port.refuse_with[:] = [503, 503, 503]
    problem = host.step("large", {"mib": 1}).json()
    assert (problem["reason"], "answered 503" in problem["detail"]) == ("Crash", True)
    event_port.refuse_with[:] = [413]
    assert host.step("large", {"mib": 1}).json()["reason"] == "BadAnswer"


def test_an_input_by_reference_is_fetched(host: Any, event_port: Any) -> None:
    event_port.blobs["sha256:abc"] = json.dumps({"text": "y" * 300_000}).encode()
    answer = host.step("size-of", headers={"ce-dataref": "sha256:abc"})
    assert answer.json() == 300_000
    headers = [h for m, p, h, *_ in event_port.requests if (m, p) == ("GET", "/blobs/sha256:abc")]
    assert headers[0]["authorization"] == "Bearer token"


def test_an_input_that_cannot_be_fetched_fails_the_attempt(host: Any) -> None:
    problem = host.step("size-of", headers={"ce-dataref": "sha256:none"}).json()
    assert (problem["reason"], "answered 404" in problem["detail"]) == ("Crash", True)


def test_progress_is_posted_at_most_once_a_second_and_the_latest_wins(
    host: Any, event_port: Any
) -> None:
    host.step("reports", {"times": 50, "pause": 0.05}, run="progress-00")
    posted = event_port.progress("progress-00")
    assert posted[0][0] == {"fraction": 0.02, "message": "part 1"}
    assert 2 <= len(posted) <= 4
    fractions = [data["fraction"] for data, _ in posted]
    assert fractions == sorted(set(fractions))
    times = [at for _, at in posted]
    assert all(b - a > 0.8 for a, b in itertools.pairwise(times))
    headers = next(h for _, p, h, *_ in event_port.requests if p == "/progress")
    assert headers["authorization"] == "Bearer token"
    assert headers["ce-id"] == "progress-00/reports/1/progressed/1"
    assert headers["ce-type"] == "dev.agentworkflow.step.progressed"
    assert headers["ce-awftoken"] == "token"


def test_a_handler_that_reports_all_the_time_slows_nobody(host: Any, event_port: Any) -> None:
    answer = host.step("reports", {"times": 20_000}, run="chatty-00")
    assert answer.type == "dev.agentworkflow.step.completed"
    assert len(event_port.progress("chatty-00")) <= 3
