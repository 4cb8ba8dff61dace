"""What a run, a list or a log entry looks like to a person: pure, from the API's JSON to rich."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

_STYLES = {
    "Succeeded": "green",
    "Failed": "red",
    "Cancelled": "yellow",
    "Skipped": "dim",
    "Requested": "cyan",
    "Running": "cyan",
    "Waiting": "magenta",
    "Pending": "dim",
}
_WIDEST_VALUE = 60
_PIPE_WIDTH = 200
_WIDEST_LIST = 10_000
_SECOND, _MINUTE, _HOUR = 1_000, 60_000, 3_600_000
_PRECISE = 10_000


def build_console(*, stderr: bool = False) -> Console:
    """A console for tables and lines; into a pipe nothing is wrapped or coloured."""
    console = Console(stderr=stderr, highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console = Console(stderr=stderr, highlight=False, width=_PIPE_WIDTH)
    return console


def print_list(console: Console, table: Table) -> None:
    """Print a list with nothing cut: where it is wider than the terminal, its lines are broken.

    A run's id that lost its end, or a state that lost half its letters, would be of no use.
    """
    unbounded = console.options.update(width=_WIDEST_LIST)
    console.width = max(console.width, console.measure(table, options=unbounded).maximum)
    console.print(table, crop=False)


def duration_text(milliseconds: float | None) -> str:
    """A duration as people read it: `12 ms`, `3.4 s`, `2m 05s`, `1h 02m`; empty for None."""
    if milliseconds is None:
        return ""
    if milliseconds < _SECOND:
        return f"{milliseconds:.0f} ms"
    if milliseconds < _MINUTE:
        digits = 2 if milliseconds < _PRECISE else 1
        return f"{milliseconds / _SECOND:.{digits}f} s"
    if milliseconds < _HOUR:
        minutes, rest = divmod(int(milliseconds), _MINUTE)
        return f"{minutes}m {rest // _SECOND:02}s"
    hours, rest = divmod(int(milliseconds), _HOUR)
    return f"{hours}h {rest // _MINUTE:02}m"


def value_text(value: Any, widest: int = _WIDEST_VALUE) -> str:
    """A JSON value on one line, cut at `widest` characters; empty for None."""
    if value is None:
        return ""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= widest else f"{text[: widest - 1]}…"


def problem_lines(problem: Mapping[str, Any] | None) -> list[str]:
    """A run's or a step's problem as lines.

    First title and detail, then where it was, then each field's or item's error.
    """
    if not problem:
        return []
    title = str(problem.get("title") or problem.get("type") or "Problem")
    detail = str(problem.get("detail") or "")
    return [
        f"{title}: {detail}" if detail and detail != title else title,
        *(f"  {name}: {problem[name]}" for name in ("step", "expression") if problem.get(name)),
        *(
            f"  {error.get('path')}: {error.get('message')}"
            for error in problem.get("errors") or ()
        ),
    ]


def state_text(state: str) -> Text:
    """A state in its colour."""
    return Text(state, style=_STYLES.get(state, ""))


def progress_text(entry: Mapping[str, Any]) -> str:
    """A report of progress: `50 % joined 3 tables`."""
    return f"{entry.get('fraction', 0):.0%} {entry.get('message') or ''}".strip()


def build_steps_table(
    steps: Iterable[Mapping[str, Any]], notes: Mapping[str, str] | None = None
) -> Table:
    """The steps of a run: one row per step, in the order of the workflow.

    Args:
        steps: of the run's view.
        notes: what the steps that are at work last said of their progress.
    """
    table = _table("step", "state", "reason", "attempts", "start", "took", "output or problem")
    for step in steps:
        problem = problem_lines(step.get("problem"))
        _add(
            table,
            step["name"],
            state_text(step["state"]),
            step.get("reason") or "",
            str(step.get("attempts") or ""),
            step.get("startType") or "",
            duration_text(step.get("durationMs")),
            _outcome(step, problem, (notes or {}).get(step["name"], "")),
        )
    return table


def build_run(view: Mapping[str, Any]) -> RenderableType:
    """One run: what it is, and its steps. How it ended is `build_ending`."""
    parts: list[RenderableType] = [_headline(view)]
    started = view.get("startedBy") or {}
    event = started.get("event")
    by = started.get("kind") or ""
    if started.get("trigger"):
        by += f" {started['trigger']}"
    if event:
        by += f" ({event['type']} {event['id']} from {event['source']})"
    facts = [("started by", by), ("session", view.get("session")), ("created", view["createdAt"])]
    parts += [Text(f"  {name:<11} {value}") for name, value in facts if value]
    if view["steps"]:
        parts += [Text(), build_steps_table(view["steps"])]
    return Group(*parts)


def build_ending(view: Mapping[str, Any]) -> RenderableType:
    """How a run ended: its problem, or its output as JSON; nothing while it goes on.

    Print it with `soft_wrap=True`: a line break of ours inside a string would break the JSON.
    """
    parts: list[RenderableType] = []
    problem = problem_lines(view.get("problem"))
    if problem:
        parts += [Text(), *(Text(line, style="red") for line in problem)]
    if view.get("output") is not None:
        text = json.dumps(view["output"], indent=2, ensure_ascii=False)
        parts += [Text(), Text(text)]
    return Group(*parts)


def build_live(view: Mapping[str, Any], notes: Mapping[str, str] | None = None) -> RenderableType:
    """A run while it goes on: its state and its steps."""
    return Group(_headline(view), Text(), build_steps_table(view["steps"], notes))


def build_runs_table(views: Iterable[Mapping[str, Any]]) -> Table:
    """A list of runs."""
    table = _table("run", "workflow", "state", "reason", "session", "created", "took")
    for view in views:
        _add(
            table,
            view["run"],
            view["workflow"],
            state_text(view["state"]),
            view.get("reason") or "",
            view.get("session") or "",
            view["createdAt"],
            duration_text(view.get("durationMs")),
        )
    return table


def build_workflows_table(workflows: Iterable[Mapping[str, Any]]) -> Table:
    """What is published."""
    table = _table("workflow", "generation", "functions", "description")
    for workflow in workflows:
        _add(
            table,
            workflow["name"],
            str(workflow.get("generation") or ""),
            ", ".join(each["name"] for each in workflow.get("functions") or ()),
            workflow.get("description") or "",
        )
    return table


def build_dead_letters_table(letters: Iterable[Mapping[str, Any]]) -> Table:
    """Events that could not be delivered."""
    table = _table("id", "kind", "target", "event", "code", "reason", "since")
    for letter in letters:
        event = letter.get("event") or {}
        _add(
            table,
            letter["id"],
            letter["kind"],
            letter["target"],
            f"{event.get('type', '')} {event.get('id', '')}".strip(),
            str(letter.get("code") or ""),
            letter["reason"],
            letter["createdAt"],
        )
    return table


def entry_line(entry: Mapping[str, Any]) -> str:
    """One log entry on one line: the time, what happened, to which step, and the rest as fields."""
    rest = dict(entry)
    time = str(rest.pop("time", ""))
    rest.pop("deadline", None)
    if rest.get("due") == time:
        rest.pop("due")
    clock = time[11:23] if time[10:11] == "T" else time
    kind = rest.pop("type", "")
    where = str(rest.pop("step", None) or "")
    item = rest.pop("item", None)
    if where and item is not None:
        where += f"[{item}]"
    fields = "  ".join(
        f"{name}={value_text(value)}" for name, value in rest.items() if value is not None
    )
    return "  ".join(part for part in (clock, f"{kind:<16}", where, fields) if part).rstrip()


def _headline(view: Mapping[str, Any]) -> Text:
    line = Text.assemble(
        (view["workflow"], "bold"), "  ", view["run"], "  ", state_text(view["state"])
    )
    if view.get("reason"):
        line.append(f" ({view['reason']})")
    took = duration_text(view.get("durationMs"))
    if took:
        line.append(f"  {took}", style="dim")
    return line


def _outcome(step: Mapping[str, Any], problem: list[str], note: str) -> str | Text:
    items = _items_text(step.get("items"))
    if items:
        return items
    if problem:
        return Text(problem[0], style="red")
    if step["state"] == "Requested":
        return Text(note, style="dim")
    return Text(value_text(step.get("output")))


def _items_text(items: Mapping[str, int] | None) -> str:
    if not items or not items.get("total"):
        return ""
    done = f"{items['succeeded']}/{items['total']} items"
    return done + (f", {items['failed']} failed" if items["failed"] else "")


def _add(table: Table, *cells: str | Text) -> None:
    # A string would be read as rich's markup, and users' names may look like it.
    table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(name, no_wrap=name != "output or problem", overflow="fold")
    return table
