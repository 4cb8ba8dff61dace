"""The events that `send` builds from a file, from options, or from both."""

import json
from pathlib import Path
from typing import Any

import pytest

from agentworkflow.cli.errors import CommandError
from agentworkflow.cli.events import EventOptions, build_events

ORDER = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order", "data": {"n": 1}}


def _file(folder: Path, content: Any) -> str:
    file = folder / "event.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    return str(file)


def test_a_files_event_is_sent_as_it_is(tmp_path: Path) -> None:
    events = build_events(_file(tmp_path, ORDER), EventOptions())

    assert json.loads(events.body) == ORDER
    assert events.content_type == "application/cloudevents+json"


def test_an_array_is_sent_as_a_batch(tmp_path: Path) -> None:
    events = build_events(_file(tmp_path, [ORDER, ORDER | {"id": "2"}]), EventOptions(type="other"))

    assert [event["type"] for event in json.loads(events.body)] == ["other", "other"]
    assert (events.content_type, events.count) == ("application/cloudevents-batch+json", 2)


def test_options_lie_over_the_file(tmp_path: Path) -> None:
    options = EventOptions(id="9", subject="s", extensions=("region=eu",), data='{"n": 2}')

    events = build_events(_file(tmp_path, ORDER), options)

    assert json.loads(events.body) == {
        **ORDER,
        "id": "9",
        "subject": "s",
        "region": "eu",
        "datacontenttype": "application/json",
        "data": {"n": 2},
    }


def test_an_event_from_options_alone_gets_an_id_and_a_source_of_its_own() -> None:
    first, second = (
        json.loads(build_events(None, EventOptions(type="order", data="5")).body) for _ in range(2)
    )

    assert first.pop("id") != second.pop("id")
    assert first == {
        "specversion": "1.0",
        "type": "order",
        "source": "/agentworkflow/cli",
        "datacontenttype": "application/json",
        "data": 5,
    }


def test_what_a_file_leaves_out_is_not_invented(tmp_path: Path) -> None:
    incomplete = {name: value for name, value in ORDER.items() if name not in ("id", "source")}

    events = build_events(_file(tmp_path, incomplete), EventOptions())

    assert json.loads(events.body) == incomplete


def test_an_event_needs_a_file_or_a_type() -> None:
    with pytest.raises(CommandError, match="or give --type"):
        build_events(None, EventOptions(data="1"))


def test_an_event_that_is_no_object_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"event 2 of .* is a string"):
        build_events(_file(tmp_path, [ORDER, "x"]), EventOptions())
