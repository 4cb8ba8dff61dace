"""What the pages promise and only a whole engine shows: pauses, events through the broker, images.

Pauses are read from the run's log, which says when each attempt was asked for and is due.
"""

import datetime as dt
import shutil
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from agentworkflow.testing import LocalEngine

from .conftest import STEP_FUNCTIONS, build_workflow

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
    "image": """
        functions:
          - {name: foreign, image: "registry.example/foreign:1"}
        steps:
          - {name: ask, function: foreign, input: {n: 20}}
    """,
}
FOREIGN = '''
    """A function in any language: an HTTP server on $PORT, with no library of ours."""
    import json, os
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            data = json.loads(self.rfile.read(int(self.headers["content-length"])))
            body = json.dumps({"n": data["n"] + 1, "key": self.headers["ce-id"]}).encode()
            self.send_response(200)
            for name in ("run", "step", "item", "attempt", "token", "function"):
                value = self.headers.get("ce-awf" + name)
                if value is not None:
                    self.send_header("ce-awf" + name, value)
            for name, value in {
                "ce-specversion": "1.0",
                "ce-id": self.headers["ce-id"] + "/answer",
                "ce-source": "/foreign",
                "ce-type": "dev.agentworkflow.step.completed",
                "content-type": "application/json",
                "content-length": str(len(body)),
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
'''


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEngine]:
    folder = tmp_path_factory.mktemp("promises")
    shutil.copy(STEP_FUNCTIONS, folder)
    foreign = folder / "foreign.py"
    foreign.write_text(textwrap.dedent(FOREIGN), encoding="utf-8")
    workflows = [build_workflow(name, spec) for name, spec in WORKFLOWS.items()]
    file = folder / "workflows.yaml"
    file.write_text(yaml.safe_dump_all(workflows, sort_keys=False), encoding="utf-8")
    command = f"foreign={sys.executable} {foreign}"
    with LocalEngine(file, data_dir=folder / "data", arguments=["--command", command]) as running:
        yield running


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


def test_a_container_in_any_language_is_a_function(engine: LocalEngine) -> None:
    view = engine.run("image")

    assert view["state"] == "Succeeded", view
    assert view["output"] == {"ask": {"n": 21, "key": f"{view['run']}/ask/1/requested"}}
