"""The CloudEvents SDK reads what we write, and we read what it writes."""

import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings.http import (
    HTTPMessage,
    from_binary,
    from_structured,
    to_binary,
    to_structured,
)
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent as SdkEvent

from agentworkflow.events import CloudEvent
from agentworkflow.events.http import decode, encode_binary, encode_structured

EVENT = CloudEvent(
    id="A-1",
    source="/shop/orders",
    type="com.example.order",
    time="2026-01-31T08:30:00Z",
    subject="Euro € 😀 100%",
    datacontenttype="application/json",
    extensions={"region": "eu west"},
    data={"total": 12.5, "items": ["a", None]},
)


def shown(event: Any) -> dict[str, Any]:
    return {
        "id": event.get_id(),
        "source": event.get_source(),
        "type": event.get_type(),
        "subject": event.get_subject(),
        "region": event.get_extension("region"),
        "data": event.get_data(),
    }


def expected() -> dict[str, Any]:
    names = ("id", "source", "type", "subject", "region")
    return {**{name: EVENT.get(name) for name in names}, "data": EVENT.data}


def test_the_sdk_reads_our_binary_events() -> None:
    headers, body = encode_binary(EVENT)
    made = from_binary(HTTPMessage(headers=headers, body=body), JSONFormat(), SdkEvent)
    assert shown(made) == expected()


def test_the_sdk_reads_our_structured_events() -> None:
    headers, body = encode_structured(EVENT)
    made = from_structured(HTTPMessage(headers=headers, body=body), JSONFormat(), SdkEvent)
    assert shown(made) == expected()


@pytest.mark.parametrize("write", [to_binary, to_structured])
def test_we_read_the_events_of_the_sdk(write: Any) -> None:
    time = datetime(2026, 1, 31, 8, 30, tzinfo=UTC)
    attributes = {**EVENT.attributes(), "time": time}
    message = write(SdkEvent(attributes=attributes, data=EVENT.data), JSONFormat())
    assert decode(message.headers, message.body) == EVENT


def test_reading_and_filtering_events_loads_nothing_heavy() -> None:
    heavy = {"cloudevents", "dateutil", "lark", "pydantic", "yaml", "asyncio", "datetime"}
    code = (
        "import sys, agentworkflow.events.http, agentworkflow.events.filters; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert heavy & set(done.stdout.split()) == set()
