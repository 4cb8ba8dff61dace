"""The commit that ends a run."""

from typing import Any

import pytest
from tests.unit.runs.world import World, build_definition

from agentworkflow.dispatcher.shell.committing import Step, build_commit
from agentworkflow.runs.events import RunFinished
from agentworkflow.runs.values import Inline, dump


@pytest.mark.parametrize("value", [None, 0, {"a": "é"}, ["x" * 300_000]])
def test_a_sessions_new_value_is_written_whole_however_large(value: Any) -> None:
    world = World(build_definition([{"name": "a", "function": "f"}]), session="ada")
    ending = RunFinished(time=world.now, state="Succeeded", session=Inline(value))

    commit = build_commit(Step(world.run).folded(ending), world.now)

    assert commit.finished is not None
    assert commit.finished.session_value == dump(value)


def test_a_session_without_a_new_value_is_left_as_it_was() -> None:
    world = World(build_definition([{"name": "a", "function": "f"}]), session="ada")
    ending = RunFinished(time=world.now, state="Failed", reason="StepFailed")

    commit = build_commit(Step(world.run).folded(ending), world.now)

    assert commit.finished is not None
    assert commit.finished.session_value is None
