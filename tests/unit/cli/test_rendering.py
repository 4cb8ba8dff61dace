"""What runs, steps and log entries look like to a person."""

import io
import json
from typing import Any

import pytest
from rich.console import Console

from agentworkflow.cli import rendering

VIEW: dict[str, Any] = {
    "run": "5b1f0000-0000-4000-8000-000000000000-00",
    "namespace": "default",
    "workflow": "shop",
    "session": "ada",
    "state": "Failed",
    "reason": "StepFailed",
    "problem": {"type": "free-order", "title": "This order costs nothing"},
    "output": None,
    "createdAt": "2026-11-20T10:00:00.000Z",
    "durationMs": 1234,
    "startedBy": {
        "kind": "event",
        "trigger": "order-created",
        "event": {"source": "/shop", "id": "1", "type": "order"},
    },
    "steps": [
        {
            "name": "price",
            "state": "Failed",
            "reason": "Failure",
            "attempts": 1,
            "startType": "cold",
            "durationMs": 812,
            "output": None,
            "problem": {"title": "This order costs nothing"},
            "items": None,
        },
        {
            "name": "each",
            "state": "Requested",
            "reason": None,
            "attempts": 1,
            "startType": None,
            "durationMs": None,
            "output": None,
            "problem": None,
            "items": {"total": 10, "succeeded": 3, "failed": 1, "running": 2},
        },
    ],
}


def _text(renderable: Any) -> str:
    output = io.StringIO()
    Console(file=output, width=200, highlight=False).print(renderable)
    return output.getvalue()


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (None, ""),
        (0, "0 ms"),
        (999, "999 ms"),
        (1234, "1.23 s"),
        (59_000, "59.0 s"),
        (65_000, "1m 05s"),
        (3_600_000 + 120_000, "1h 02m"),
    ],
)
def test_durations_read_as_people_say_them(milliseconds: int | None, text: str) -> None:
    assert rendering.duration_text(milliseconds) == text


def test_a_long_value_is_cut() -> None:
    assert rendering.value_text("x" * 100, 10) == '"xxxxxxxx…'


def test_a_run_shows_what_started_it_its_steps_and_its_problem() -> None:
    text = _text(rendering.build_run(VIEW))

    assert "shop  5b1f0000-0000-4000-8000-000000000000-00  Failed (StepFailed)  1.23 s" in text
    assert "started by  event order-created (order 1 from /shop)" in text
    assert "price  Failed     Failure  1         cold   812 ms  This order costs nothing" in text
    assert "3/10 items, 1 failed" in text
    assert "This order costs nothing" in _text(rendering.build_ending(VIEW))


def test_text_that_looks_like_markup_is_printed_as_it_is() -> None:
    step = VIEW["steps"][0] | {"problem": {"title": "[red]x[/nothing]"}, "name": "price"}

    assert "[red]x[/nothing]" in _text(rendering.build_steps_table([step]))
    assert "[/a]" in _text(rendering.build_runs_table([VIEW | {"session": "[/a]"}]))


def test_a_runs_output_is_printed_as_json() -> None:
    view = VIEW | {"state": "Succeeded", "problem": None, "output": {"total": "[bold]19"}}

    assert '{\n  "total": "[bold]19"\n}' in _text(rendering.build_ending(view))


def test_no_line_is_broken_inside_an_output_however_narrow_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = {"told": "3 orders were late " * 40}

    Console(width=40).print(rendering.build_ending({"output": output}), soft_wrap=True)

    assert output == json.loads(capsys.readouterr().out)


def test_an_expression_that_failed_is_shown_with_its_step() -> None:
    problem = {
        "title": "An expression failed",
        "detail": "Key not found in map",
        "step": "confirm",
        "expression": "${steps.price.output.totl}",
    }

    assert rendering.problem_lines(problem) == [
        "An expression failed: Key not found in map",
        "  step: confirm",
        "  expression: ${steps.price.output.totl}",
    ]


def test_runs_are_listed_with_their_states() -> None:
    assert "shop      Failed  StepFailed  ada" in _text(rendering.build_runs_table([VIEW]))


def test_a_list_wider_than_the_terminal_loses_no_letter() -> None:
    output = io.StringIO()

    rendering.print_list(Console(file=output, width=40), rendering.build_runs_table([VIEW]))

    assert f"{VIEW['run']}  shop      Failed  StepFailed  ada" in output.getvalue()


def test_a_log_entry_is_one_line() -> None:
    entry = {
        "type": "step.completed",
        "time": "2026-11-20T10:00:01.250Z",
        "step": "each",
        "item": 0,
        "attempt": 2,
        "output": {"a": 1},
        "startType": None,
    }

    assert rendering.entry_line(entry) == (
        '10:00:01.250  step.completed    each[0]  attempt=2  output={"a": 1}'
    )


def test_a_step_at_work_shows_its_progress() -> None:
    step = VIEW["steps"][0] | {"state": "Requested", "problem": None, "name": "price"}
    note = rendering.progress_text({"fraction": 0.5, "message": "joined 3 tables"})

    assert "50% joined 3 tables" in _text(rendering.build_steps_table([step], {"price": note}))


def test_a_log_entry_shows_when_an_attempt_is_due_only_if_it_waits() -> None:
    entry = {
        "type": "step.requested",
        "time": "2026-11-20T20:00:00.000Z",
        "step": "price",
        "attempt": 2,
        "due": "2026-11-20T20:00:00.000Z",
        "deadline": "2026-11-20T20:05:00.000Z",
    }

    assert rendering.entry_line(entry) == "20:00:00.000  step.requested    price  attempt=2"
    assert "due=" in rendering.entry_line(entry | {"due": "2026-11-20T20:00:01.000Z"})
