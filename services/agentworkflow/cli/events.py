"""Builds the events that `send` and `run --event` hand over, from a file and from options."""

import json
import uuid
from dataclasses import dataclass
from typing import Any

from agentworkflow.cli.errors import CommandError
from agentworkflow.cli.inputs import parse_json, parse_pairs, parse_value, read_source

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
_OWN_SOURCE = "/agentworkflow/cli"


@dataclass(frozen=True, slots=True)
class EventOptions:
    """What the options say about an event; None leaves the file's attribute as it is."""

    type: str | None = None
    source: str | None = None
    id: str | None = None
    subject: str | None = None
    extensions: tuple[str, ...] = ()
    data: str | None = None


@dataclass(frozen=True, slots=True)
class EventBody:
    """One event or a batch in the JSON form, ready to be posted."""

    body: bytes
    content_type: str
    count: int


def build_events(file: str | None, options: EventOptions) -> EventBody:
    """The events of a file with the options laid over them, or one event from options alone.

    Raises:
        CommandError: neither a file nor a type, or an event that is not a CloudEvent.
    """
    if file is None and options.type is None:
        raise CommandError("name a file with an event (`-` for standard input), or give --type.")
    content: Any = {"specversion": "1.0"} if file is None else _read_json(file)
    events = content if isinstance(content, list) else [content]
    for position, event in enumerate(events):
        if not isinstance(event, dict):
            raise CommandError(
                f"event {position + 1} of {file} is {_kind(event)}; a CloudEvent is a JSON object."
            )
    events = [lay_over(event, options) for event in events]
    if isinstance(content, list):
        return EventBody(json.dumps(events).encode(), BATCH, len(events))
    return EventBody(json.dumps(events[0]).encode(), STRUCTURED, 1)


def lay_over(event: dict[str, Any], options: EventOptions) -> dict[str, Any]:
    """A copy of the event (JSON form) with the options' attributes.

    An event made from options gets an id and a source; one from a file keeps its own, and what is
    missing there is left for the engine to refuse.
    """
    made_here = set(event) == {"specversion"}
    changed = {**event}
    if made_here:
        changed |= {"id": str(uuid.uuid4()), "source": _OWN_SOURCE}
    chosen = {
        "type": options.type,
        "source": options.source,
        "id": options.id,
        "subject": options.subject,
        **parse_pairs(options.extensions, "--extension"),
    }
    changed |= {name: value for name, value in chosen.items() if value is not None}
    if options.data is not None:
        changed.pop("data_base64", None)
        changed |= {
            "datacontenttype": "application/json",
            "data": parse_value(options.data, "--data"),
        }
    return changed


def _read_json(file: str) -> Any:
    return parse_json(read_source(file, "the event file"), _name(file))


def _name(file: str) -> str:
    return "standard input" if file == "-" else file


def _kind(value: Any) -> str:
    kinds = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")
