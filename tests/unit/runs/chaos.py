"""Random workflows with what their functions do, and two ways to execute them.

`in_order` answers one call after the other. `in_disorder` delays, doubles and reorders answers,
repeats old ones, fires old timers, batches what comes, restarts in the middle, and dies before a
commit. What a function answers depends on its input, step, item and attempt only, so both have to
end alike.
"""

import hashlib
import json
from dataclasses import dataclass
from random import Random
from typing import Any

from hypothesis import strategies as st
from tests.unit.runs.world import World, build_definition

from agentworkflow.runs import due
from agentworkflow.runs.events import Event, SignalReceived
from agentworkflow.runs.slots import Slot
from agentworkflow.runs.values import Inline
from agentworkflow.workflow.definition import Definition

SIGNALS = ("sent", "silent")
REASONS = ("Retry", "Crash", "Failure", "silence")
FUNCTIONS = {
    "f": {"retry": {"limit": 2, "delay": "10ms"}},
    "g": {"retry": {"limit": 1, "backoff": "Linear", "delay": "1s", "on": ["Crash"]}},
}


@dataclass(frozen=True)
class Scenario:
    """A workflow, and the reasons that the first attempts of each step fail with."""

    steps: tuple[dict[str, Any], ...]
    failures: dict[str, tuple[str, ...]]
    flags: tuple[bool, ...]

    @property
    def definition(self) -> Definition:
        return build_definition(self.steps, functions=FUNCTIONS, deadline="8000h")

    @property
    def signals(self) -> list[SignalReceived]:
        """One for each step that waits for the signal that is sent."""
        waits = [s for s in self.steps if s.get("waitFor", {}).get("signal") == "sent"]
        return [SignalReceived(time=0, name="sent", output=Inline("go")) for _ in waits]


@st.composite
def scenarios(draw: st.DrawFn, *, gentle: bool = False) -> Scenario:
    """Up to eight steps; `gentle` ones never end the run as failed."""
    steps: list[dict[str, Any]] = []
    failures = {}
    for n in range(draw(st.integers(1, 8))):
        name = f"s{n}"
        before = [step["name"] for step in steps]
        needs = draw(st.lists(st.sampled_from(before), unique=True, max_size=3)) if before else []
        step: dict[str, Any] = {"name": name, "needs": needs}
        kind = draw(st.sampled_from(["call", "call", "each", "wait"]))
        if gentle or draw(st.booleans()):
            step["onFailure"] = "Continue"
        if draw(st.integers(0, 3)) == 0:
            step["when"] = f"${{input.flags[{n}]}}"
        if kind == "wait":
            step["waitFor"] = draw(st.sampled_from(WAITS))
        else:
            step["function"] = draw(st.sampled_from(sorted(FUNCTIONS)))
            step["input"] = {need: f"${{steps.{need}.output}}" for need in needs}
            failures[name] = tuple(draw(st.lists(st.sampled_from(REASONS), max_size=3)))
        if kind == "each":
            step["parallelism"] = draw(st.integers(1, 3))
            step["forEach"] = "${input.xs}" if not needs else _list_of(needs[0])
            step["input"] |= {"it": "${item}", "at": "${index}"}
        steps.append(step)
    flags = draw(st.tuples(*[st.booleans()] * 8))
    return Scenario(tuple(steps), failures, flags)


WAITS = (
    {"signal": "sent"},
    {"signal": "silent", "timeout": "1h", "default": [1, 2]},
    {"signal": "silent", "timeout": "2h"},
    {"duration": "10m"},
)


def _list_of(step: str) -> str:
    output = f"steps.{step}.output"
    return f"${{type({output}) == list ? {output} : [{output}, 1, 2]}}"


def start(scenario: Scenario) -> World:
    return World(scenario.definition, input={"flags": list(scenario.flags), "xs": ["x", "y", "z"]})


def in_order(scenario: Scenario) -> World:
    """One event at a time, in the order in which things became due, signals at the very end."""
    world = start(scenario)
    signals = scenario.signals
    while not world.run.is_terminal:
        pending = _pending(world, scenario)
        if pending:
            world.now += 1
            world.give(pending[0])
        else:
            world.give(signals.pop())
    return world


def in_disorder(scenario: Scenario, random: Random) -> World:
    """Everything late, double, in batches and across restarts."""
    world = start(scenario)
    signals = scenario.signals
    past: list[Event] = []
    while not world.run.is_terminal:
        world.now += random.randrange(5)
        batch = [event for event in _pending(world, scenario) if random.random() < 0.5]
        batch += [signals.pop() for _ in range(len(signals)) if random.random() < 0.2]
        if not batch and not signals:
            batch = _pending(world, scenario)[:1]
            assert batch, "the run waits for nothing"
        fresh = list(batch)
        batch += [event for event in batch if _counts_once(event) and random.random() < 0.3]
        batch += random.sample(past, min(len(past), random.randrange(4)))
        random.shuffle(batch)
        if random.random() < 0.2:
            world.lose(*batch)
        world.give(*batch)
        past += [event for event in fresh if _counts_once(event)]
        if random.random() < 0.3:
            world.restart()
    ended = world.run
    assert world.give(*past, *scenario.signals) == [False] * (len(past) + len(scenario.signals))
    assert world.run is ended
    return world


def _counts_once(event: Event) -> bool:
    # A signal that is sent twice is two signals: it has no identity of its own.
    return not isinstance(event, SignalReceived)


def _pending(world: World, scenario: Scenario) -> list[Event]:
    """What would come next of everything that is due: answers, or timers where none comes."""
    events: list[Event] = []
    for member in sorted(world.due, key=lambda each: (world.due[each], each)):
        entry = due.parse_due(member)
        if entry.kind == "call" and entry.slot is not None:
            events.append(_answer(world, scenario, entry.slot, entry.number))
        elif entry.kind == "wait":
            events.append(world.timer_event(member))
    return events


def _answer(world: World, scenario: Scenario, slot: Slot, attempt: int) -> Event:
    failures = scenario.failures[slot.step]
    # Each item fails in its own way.
    failures = failures[(slot.item or 0) % 2 :]
    if attempt > len(failures):
        given = json.dumps(world.input(slot.step, slot.item), sort_keys=True)
        seen = hashlib.sha256(f"{slot}|{attempt}|{given}".encode()).hexdigest()[:8]
        return world.completed(slot.step, seen, slot.item)
    reason = failures[attempt - 1]
    if reason == "silence":
        return world.timer_event(due.attempt_timer_of(world.run.id, slot, attempt))
    return world.failed(slot.step, reason, slot.item)
