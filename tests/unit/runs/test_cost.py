"""Committing step n costs what step n brought, not what the run holds."""

import gc
import time
from dataclasses import replace

import pytest
from tests.unit.runs.world import START, World, build_definition

from agentworkflow.runs.decide import decide, wanted
from agentworkflow.runs.events import Event, StepCompleted
from agentworkflow.runs.evolve import evolve
from agentworkflow.runs.head import unsaved_fields
from agentworkflow.runs.model import Run, Unsaved
from agentworkflow.runs.values import Inline


def world_of(items: int) -> World:
    steps = [{"name": "each", "function": "f", "forEach": "${input.xs}", "parallelism": 10}]
    return World(build_definition(steps), input={"xs": list(range(items))}, checked=False)


def answer(run: Run, item: int) -> tuple[Run, list[Event]]:
    """Fold one answer, decide, and encode what a commit would write."""
    output = Inline({"n": item})
    event = StepCompleted(time=START, step="each", item=item, attempt=1, output=output)
    run = evolve(run, event)
    commands = decide(run, dict.fromkeys(wanted(run)), START)
    for command in commands:
        run = evolve(run, command)
    assert decide(run, dict.fromkeys(wanted(run)), START) == []
    unsaved_fields(run)
    assert run.unsaved.due
    assert run.unsaved.undue
    return replace(run, unsaved=Unsaved()), commands


def halfway(items: int) -> tuple[Run, int]:
    run = world_of(items).run
    for item in range(items // 2):
        run, _ = answer(run, item)
    return run, items // 2


def seconds_of_an_answer(run: Run, item: int) -> float:
    """The least of many: what it costs when nothing else is in the way."""
    best = float("inf")
    for _ in range(400):
        began = time.perf_counter()
        answer(run, item)
        best = min(best, time.perf_counter() - began)
    return best


def test_an_answer_in_a_run_of_2000_items_costs_at_most_half_more_than_in_one_of_20() -> None:
    few, many = halfway(30), halfway(2_000)
    gc.disable()
    try:
        # Another process may have the core during one of the measurements.
        for _ in range(5):
            ratio = seconds_of_an_answer(*many) / seconds_of_an_answer(*few)
            if ratio <= 1.5:
                return
    finally:
        gc.enable()
    pytest.fail(f"an answer among 2000 items costs {ratio:.2f} times one among 30")


def test_a_commit_writes_the_fields_that_changed_and_no_others() -> None:
    run, item = halfway(2_000)
    output = Inline(1)
    event = StepCompleted(time=START, step="each", item=item, attempt=1, output=output)
    changed = evolve(run, event)
    for command in decide(changed, {}, START):
        changed = evolve(changed, command)

    expected = {"run", "s:each", f"i:each:{item}", f"i:each:{item + 10}"}
    assert unsaved_fields(changed).keys() == expected
    assert all(len(text) < 400 for text in unsaved_fields(changed).values())


def test_a_batch_costs_what_its_events_bring() -> None:
    def seconds_of_a_start(parallelism: int) -> float:
        steps = [
            {"name": "each", "function": "f", "forEach": "${input.xs}", "parallelism": parallelism}
        ]
        definition = build_definition(steps)
        best = float("inf")
        for _ in range(3):
            began = time.perf_counter()
            World(definition, input={"xs": [0] * parallelism}, checked=False)
            best = min(best, time.perf_counter() - began)
        return best

    # Ten times the calls in one commit; were every event to copy the batch, it would be a hundred.
    few = seconds_of_a_start(100)
    assert any(seconds_of_a_start(1_000) < 25 * few for _ in range(4))
