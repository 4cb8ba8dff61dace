"""Rules of what starts a run or a function: triggers, sources, routes, and the pool's windows."""

import re
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

from cronsim import CronSim, CronSimError

from agentworkflow.events.filters import DIALECTS, FilterError, compile_filters
from agentworkflow.workflow import crd_rules as words
from agentworkflow.workflow.findings import Fault, Path, nearest
from agentworkflow.workflow.rules_steps import check_function_exists, unique_names
from agentworkflow.workflow.templates import is_template
from agentworkflow.workflow.view import View

_HOLE: Final = re.compile(r"\$\{([^}]*)\}?")
_EVENT_PATH: Final = re.compile(
    r"""\s*event(\.[A-Za-z_]\w*|\[\d+\]|\["[^"\]]+"\]|\['[^'\]]+'\])*\s*"""
)
_CRON_FIELDS: Final = 5
# What both cronsim and Knative's PingSource (robfig/cron) read: no L, W, # or ?.
_CRON_TOKEN: Final = re.compile(r"\*|[0-9]+|[A-Za-z]{3}")


def check_starts(spec: View) -> Iterator[Fault]:
    """Every breach of a rule about triggers, sources, routes and windows."""
    yield from unique_names(spec, "triggers")
    yield from unique_names(spec, "sources")
    for trigger in spec.objects("triggers"):
        yield from _check_trigger(trigger)
        yield from check_function_exists(trigger, spec)
    for source in spec.objects("sources"):
        yield from _check_source(source)
    for window in spec.at("warmPool").objects("windows"):
        yield from _check_schedule(window)
    yield from _check_routes(spec)


def _check_trigger(trigger: View) -> Iterator[Fault]:
    yield from _check_filters(trigger.at("filters"))
    alone = trigger.has("function")
    if trigger.has("reply") and not alone:
        yield trigger.breach(words.TRIGGER_REPLY)
    if trigger.has("session") and alone:
        yield trigger.breach(words.TRIGGER_SESSION)
    if alone:
        yield from _check_paths(trigger.at("input").value, trigger.at("input").path)


def _check_filters(filters: View) -> Iterator[Fault]:
    if not isinstance(filters.value, list):
        return
    if not all(isinstance(each, dict) for each in filters.value):
        return
    for index, each in enumerate(filters.value):
        # One at a time, so that each has its own error.
        try:
            compile_filters([each])
        except FilterError as error:
            below = _path_of(error.path)[1:]
            unknown = bool(below) and isinstance(below[-1], str) and below[-1] not in DIALECTS
            close = nearest(str(below[-1]), DIALECTS) if unknown else ""
            hint = close if close.startswith("did") else ""
            yield Fault((*filters.path, index, *below), error.message, hint)


def _path_of(text: str) -> Path:
    """`[0].any[1].exact` as a path."""
    return tuple(
        int(index) if index else name for index, name in re.findall(r"\[(\d+)\]|\.([^.\[]*)", text)
    )


def _check_paths(value: Any, path: Path) -> Iterator[Fault]:
    if isinstance(value, dict):
        for key, member in value.items():
            yield from _check_paths(member, (*path, key))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from _check_paths(member, (*path, index))
    elif isinstance(value, str):
        for hole in _HOLE.finditer(value):
            if not _EVENT_PATH.fullmatch(hole[1]) or not hole[0].endswith("}"):
                yield Fault(
                    path,
                    f"{hole[0]} is no path into event, and no run is around this function",
                    "write a path, such as ${event.data.id}; or start a run, without function",
                    column=hole.start() + 1,
                )


def _check_source(source: View) -> Iterator[Fault]:
    if not any(source.has(kind) for kind in ("schedule", "postgres", "objectStorage")):
        yield source.breach(words.SOURCE_KIND)
    schedule = source.at("schedule")
    yield from _check_schedule(schedule)
    if is_template(schedule.at("data").value):
        yield schedule.at("data").fault(
            "data is sent as it is: expressions in it are not evaluated",
            "write plain values, and compute in a step's input",
        )


def _check_schedule(schedule: View) -> Iterator[Fault]:
    cron = schedule.text("cron")
    if cron is not None:
        problem = _cron_problem(cron)
        if problem:
            yield schedule.at("cron").fault(
                f'"{cron}" is no cron schedule: {problem}',
                'write minute hour day month weekday, as "0 2 * * *"',
            )
    timezone = schedule.text("timezone")
    if timezone is not None and timezone not in _timezones():
        hint = nearest(timezone, _timezones(), shown=0)
        close = (
            hint if hint.startswith("did") else "write one of the IANA database, as Asia/Shanghai"
        )
        yield schedule.at("timezone").fault(f'there is no time zone "{timezone}"', close)


def _cron_problem(cron: str) -> str:
    fields = cron.split()
    if len(fields) != _CRON_FIELDS:
        return f"it has {len(fields)} fields, and there are {_CRON_FIELDS}"
    for field in fields:
        for token in re.split(r"[,/-]", field):
            if not _CRON_TOKEN.fullmatch(token):
                return f'"{field}" has more than numbers, names and * , - / in it'
    if "7" in re.split(r"[,/-]", fields[-1]):
        return "a weekday is 0 (Sunday) to 6"
    try:
        CronSim(cron, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        return str(error).lower()
    return ""


@cache
def _timezones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def _check_routes(spec: View) -> Iterator[Fault]:
    first: dict[tuple[str | None, str, str], int] = {}
    for position, route in enumerate(spec.members("routes")):
        path = route.text("path")
        if path is None:
            continue
        if any(path == each or path.startswith(f"{each}/") for each in words.RESERVED_PATHS):
            yield route.breach(words.ROUTE_RESERVED)
        if route.has("wait") and route.text("response") not in (None, "Wait"):
            yield route.breach(words.ROUTE_WAIT)
        address = (route.text("host"), path, route.text("method") or "POST")
        if address in first:
            yield route.at("path").fault(
                f"{address[2]} {path} is taken by routes[{first[address]}]", "choose another path"
            )
        first.setdefault(address, position)
