"""Whatever the order in which things come, a run ends, ends alike, and never changes again."""

from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.runs.chaos import Scenario, in_disorder, in_order, scenarios, start
from tests.unit.runs.world import World, build_definition

from agentworkflow.runs.due import parse_due
from agentworkflow.runs.events import CancelRequested, DeadlineReached, Event
from agentworkflow.runs.model import RunState

BOUNDED = settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
SEEDS = st.integers(0, 2**32)


def outcome(world: World) -> tuple[object, ...]:
    """What the promise «the same terminal run» is about."""
    if world.run.state is not RunState.SUCCEEDED:
        # Which steps were under way when another one failed depends on time, and may.
        return world.state, world.reason
    view = world.view
    steps = [
        {key: step[key] for key in ("name", "state", "reason", "attempts", "output", "items")}
        for step in view["steps"]
    ]
    return world.state, world.reason, world.output, steps


@BOUNDED
@given(scenarios(), SEEDS)
def test_any_interleaving_ends_in_the_same_terminal_run(scenario: Scenario, seed: int) -> None:
    expected = in_order(scenario)
    assert outcome(in_disorder(scenario, Random(seed))) == outcome(expected)


@BOUNDED
@given(scenarios(gentle=True), SEEDS)
def test_a_run_that_goes_on_after_failures_ends_alike_too(scenario: Scenario, seed: int) -> None:
    expected = in_order(scenario)
    assert expected.state == "Succeeded"
    assert outcome(in_disorder(scenario, Random(seed))) == outcome(expected)


@BOUNDED
@given(scenarios(), SEEDS)
def test_the_log_alone_rebuilds_the_run(scenario: Scenario, seed: int) -> None:
    world = in_disorder(scenario, Random(seed))
    assert world.rebuilt() == world.run
    assert world.of_head(world.head) == world.run


@BOUNDED
@given(scenarios(), SEEDS)
def test_an_ended_run_leaves_nothing_due_but_its_publications(
    scenario: Scenario, seed: int
) -> None:
    world = in_disorder(scenario, Random(seed))
    assert {parse_due(member).kind for member in world.due} == {"pub"}
    numbers = sorted(parse_due(member).number for member in world.due)
    assert numbers == [2, len(world.log)]
    assert world.types.count("run.finished") == 1


@BOUNDED
@given(scenarios(), SEEDS, st.integers(0, 12), st.sampled_from(["cancel", "deadline"]))
def test_a_cancel_or_deadline_in_the_middle_ends_the_run_at_once(
    scenario: Scenario, seed: int, after: int, what: str
) -> None:
    random = Random(seed)
    world = start(scenario)
    cause: Event = CancelRequested(time=0) if what == "cancel" else DeadlineReached(time=0)
    for _ in range(after):
        if not world.calls:
            break
        slot = random.choice(sorted(world.run.live, key=str))
        world.complete(slot.step, 1, slot.item)
    was_over = world.run.is_terminal
    before = world.run

    world.give(cause, cause)

    if was_over:
        assert world.run is before
    else:
        expected = {"cancel": ("Cancelled", "CancelRequested")}.get(
            what, ("Failed", "DeadlineExceeded")
        )
        assert (world.state, world.reason) == expected
    assert {parse_due(member).kind for member in world.due} == {"pub"}


@BOUNDED
@given(scenarios(), SEEDS, st.integers(1, 12))
def test_a_run_never_starts_more_attempts_than_its_budget(
    scenario: Scenario, seed: int, budget: int
) -> None:
    limited = build_definition(
        scenario.steps, functions={"f": {}, "g": {}}, budget={"steps": budget}
    )
    given_input = {"flags": list(scenario.flags), "xs": ["x", "y", "z"]}
    world = World(limited, input=given_input)
    random = Random(seed)
    for signal in scenario.signals:
        world.give(signal)
    while not world.run.is_terminal and (world.calls or world.due_of("wait")):
        if world.calls:
            slot = random.choice(sorted(world.run.live, key=str))
            failed = random.random() < 0.4
            event = world.failed(slot.step, "Crash", slot.item)
            world.give(event if failed else world.completed(slot.step, 1, slot.item))
        else:
            world.fire(next(iter(world.due_of("wait"))))
        assert world.run.requested <= budget
    assert world.run.is_terminal
