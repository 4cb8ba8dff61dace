"""What the pages promise and only a whole engine shows: pauses, and events through the broker.

Pauses are read from the run's log, which says when each attempt was asked for and is due.
"""

import datetime as dt
from typing import Any

from agentworkflow.testing import LocalEngine

WORKFLOWS = {
    "exponential": """
        functions:
          - {name: flaky, handler: "step_functions:flaky", retry: {limit: 6, delay: 10ms}}
        steps:
          - {name: each, function: flaky, forEach: "${input.items}", onFailure: Continue}
    """,
    "linear": """
        functions:
          - {name: flaky, handler: "step_functions:flaky",
             retry: {limit: 4, backoff: Linear, delay: 30ms}}
        steps:
          - {name: try, function: flaky}
    """,
    "asked": """
        triggers:
          - {name: asked, filters: [{exact: {type: dev.agentworkflow.run.requested}}]}
        steps:
          - {name: look, function: echo, input: "${input}"}
    """,
    "told": """
        triggers:
          - name: ended
            filters:
              - exact: {type: dev.agentworkflow.run.succeeded}
              - cesql: "awfworkflow = 'asked'"
        steps:
          - {name: look, function: echo,
             input: {data: "${event == null ? null : event.data}",
              depth: "${event == null ? null : event.awfdepth}"}}
    """,
    "greedy": """
        triggers:
          - {name: all}
        steps:
          - {name: look, function: echo}
    """,
}


def _milliseconds(text: str) -> int:
    return round(dt.datetime.fromisoformat(text).timestamp() * 1000)


def _pauses(log: list[dict[str, Any]]) -> dict[int | None, list[int]]:
    """For each item, the pause in ms before each attempt after its first."""
    found: dict[int | None, list[int]] = {}
    for entry in log:
        if entry["type"] == "step.requested" and entry["attempt"] > 1:
            pause = _milliseconds(entry["due"]) - _milliseconds(entry["time"])
            found.setdefault(entry.get("item"), []).append(pause)
    return found


def test_an_exponential_pause_is_drawn_from_all_of_a_doubling_range(engine: LocalEngine) -> None:
    view = engine.run("exponential", {"items": list(range(10))})

    pauses = _pauses(engine.log(view["run"]))
    assert [len(each) for each in pauses.values()] == [6] * 10
    for each in pauses.values():
        for retry, pause in enumerate(each):
            assert 0 <= pause <= 10 * 2**retry
    last = [each[-1] for each in pauses.values()]
    assert max(last) > 60  # neither constant nor linear: 10 draws up to 320 ms
    assert min(last) < 240  # full jitter reaches far below the range's end
    assert len(set(last)) > 3


def test_a_linear_pause_is_its_delay_times_the_number_of_the_attempt(engine: LocalEngine) -> None:
    view = engine.run("linear")

    assert _pauses(engine.log(view["run"])) == {None: [30, 60, 90, 120]}


def test_a_run_may_be_asked_for_by_an_event_and_its_end_starts_what_names_it(
    engine: LocalEngine,
) -> None:
    engine.send(
        {
            "specversion": "1.0",
            "id": "ask-1",
            "source": "/shop",
            "type": "dev.agentworkflow.run.requested",
            "awfdepth": 12,
            "data": {"n": 1},
        }
    )

    (asked,) = engine.poll("the run that was asked for", lambda: engine.runs(workflow="asked"))
    ended = engine.wait(asked["run"])
    (told,) = engine.poll("the run that its end starts", lambda: engine.runs(workflow="told"))
    view = engine.wait(told["run"])

    assert (ended["state"], ended["output"]) == ("Succeeded", {"look": {"n": 1}})
    assert ended["startedBy"]["event"]["id"] == "ask-1"
    seen = view["output"]["look"]
    assert (seen["data"]["run"], seen["data"]["output"]) == (asked["run"], {"look": {"n": 1}})
    # The sender's own `awfdepth` was dropped at the door; the first run's news lie one deep.
    assert str(seen["depth"]) == "1"
    # A trigger without a filter saw none of it, and takes what is no event of ours.
    assert engine.runs(workflow="greedy") == []
    engine.send({"specversion": "1.0", "id": "x", "source": "/shop", "type": "com.example.x"})
    (run,) = engine.poll("a run of any event", lambda: engine.runs(workflow="greedy"))
    engine.wait(run["run"])
