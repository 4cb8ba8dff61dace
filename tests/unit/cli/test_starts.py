"""What `run` decides to start, and every reason not to."""

import json
from pathlib import Path
from typing import Any

import pytest

from agentworkflow.cli.checking import check_files
from agentworkflow.cli.errors import CommandError
from agentworkflow.cli.starts import EventStart, RequestStart, choose_start

WORKFLOWS = """
apiVersion: agentworkflow.dev/v1alpha1
kind: AgentWorkflow
metadata: {name: shop}
spec:
  functions: [{name: price, handler: "functions:price"}]
  triggers:
    - name: ordered
      filters: [{exact: {type: com.example.ordered}}]
      input: {amount: "${event.data.amount}"}
  inputSchema: {type: object, properties: {amount: {type: integer}}}
  steps: [{name: cost, function: price, input: "${input}"}]
---
apiVersion: agentworkflow.dev/v1alpha1
kind: AgentWorkflow
metadata: {name: back}
spec:
  functions: [{name: price, handler: "functions:price"}]
  triggers: [{name: sent-back, filters: [{prefix: {type: com.example.back}}]}]
  steps: [{name: cost, function: price}]
---
apiVersion: agentworkflow.dev/v1alpha1
kind: AgentWorkflow
metadata: {name: wired}
spec:
  functions: [{name: price, handler: "functions:price"}]
  triggers:
    - {name: upload, function: price, filters: [{exact: {type: com.example.upload}}]}
"""
EVENT = {
    "specversion": "1.0",
    "id": "1",
    "source": "/shop",
    "type": "com.example.ordered",
    "data": {"amount": 5},
}


def _start(folder: Path, **options: Any) -> RequestStart | EventStart:
    file = folder / "workflow.yaml"
    file.write_text(WORKFLOWS)
    checked = check_files([file])
    assert checked.findings == ()
    if isinstance(options.get("event"), dict):
        (folder / "event.json").write_text(json.dumps(options["event"]))
        options["event"] = str(folder / "event.json")
    chosen = {"name": None, "event": None, "given": None, "session": None} | options
    return choose_start(checked.workflows, **chosen)


def test_an_input_starts_the_workflow_that_is_named(tmp_path: Path) -> None:
    start = _start(tmp_path, name="shop", given='{"amount": 1}', session="ada")

    assert isinstance(start, RequestStart)
    assert start.workflow.resource.metadata.name == "shop"
    assert (start.input, start.session) == ({"amount": 1}, "ada")


def test_an_event_starts_the_workflow_whose_trigger_matches(tmp_path: Path) -> None:
    start = _start(tmp_path, event=EVENT)

    assert isinstance(start, EventStart)
    assert start.workflow.resource.metadata.name == "shop"
    assert (start.event.id, start.broker) == ("1", "default")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"event": EVENT, "given": "{}"}, "--event or --input, not both"),
        ({"event": EVENT, "session": "ada"}, "--session goes with --input"),
        ({"given": "{}"}, "choose one of shop, back with --workflow"),
        ({"name": "shp"}, "no workflow is named shp; the file holds shop, back, wired."),
        ({"name": "wired", "given": "{}"}, "wired has no steps"),
        ({"name": "shop", "given": "{"}, "--input is not JSON: line 1, column 2"),
        ({"name": "shop", "given": '{"amount": "x"}'}, "amount: 'x' is not of type 'integer'"),
        ({"event": EVENT | {"data": {}}}, "trigger ordered cannot make an input of the event"),
        ({"event": EVENT | {"data": {"amount": "x"}}}, "does not fit inputSchema of shop"),
        ({"event": {**EVENT, "id": ""}}, "is no CloudEvent:\n  id: "),
        ({"event": "nowhere.json"}, "nowhere.json cannot be read"),
    ],
)
def test_what_cannot_be_started_is_one_sentence(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(CommandError) as caught:
        _start(tmp_path, **options)

    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_an_event_that_nothing_matches_lists_the_triggers_and_their_filters(
    tmp_path: Path,
) -> None:
    with pytest.raises(CommandError) as caught:
        _start(tmp_path, event=EVENT | {"type": "com.example.upload"})

    assert str(caught.value) == (
        "no trigger starts a run for the event com.example.upload from /shop:\n"
        '  shop, trigger ordered: filters [{"exact": {"type": "com.example.ordered"}}]\n'
        '  back, trigger sent-back: filters [{"prefix": {"type": "com.example.back"}}]\n'
        "  wired, trigger upload (calls price without a run): filters "
        '[{"exact": {"type": "com.example.upload"}}]'
    )
