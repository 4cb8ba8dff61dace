"""Names in expressions: what is not there, where it stands, and what to write instead."""

import pytest

from agentworkflow.workflow.expressions import ExpressionError, Scope, find_errors

STEPS = Scope(
    roots=frozenset({"input", "event", "session", "run", "steps"}),
    steps=frozenset({"a", "my-step"}),
    all_steps=frozenset({"a", "b", "my-step", "analyze", "far-away"}),
)
ITEMS = Scope(roots=STEPS.roots | {"item", "index"}, steps=STEPS.steps, all_steps=STEPS.all_steps)
EVENT_ONLY = Scope(roots=frozenset({"event"}))


def only(source: str, scope: Scope = STEPS) -> tuple[str, int | None, str]:
    (error,) = find_errors(source, scope)
    assert isinstance(error, ExpressionError)
    return error.message, error.column, error.hint


@pytest.mark.parametrize(
    "source",
    [
        "input.anything.at.all",
        "event.data + session.x",
        "[run.id, run.name, run.namespace, run.startedAt]",
        "steps.a.output.x",
        "steps.a.state + string(steps.a.error)",
        "steps['my-step'].output",
        "steps[\"a\"]['state']",
        "input.xs.map(x, x + input.y)",
        "input.xs.exists(steps, steps.b.output)",
        "math.round(1.5)",
        "optional.of(input).orValue(null)",
        "strings.quote('a')",
        "type(input) in [int, uint, double, bool, string, bytes, list, map, null_type]",
        "type(timestamp(input)) == google.protobuf.Timestamp",
        "google.protobuf.Duration{seconds: 5}",
        "dyn(input)",
    ],
)
def test_what_is_there_may_be_named(source: str) -> None:
    assert list(find_errors(source, STEPS)) == []


def test_an_unknown_root_has_the_nearest_name() -> None:
    assert only("1 + inptu.x") == ("`inptu` is not known", 5, "did you mean `input`?")
    message, column, hint = only("zzz")
    assert (message, column) == ("`zzz` is not known", 1)
    assert hint == "known here: event, input, run, session, steps"


def test_a_step_without_steps_is_told() -> None:
    assert only("analyze.output") == ("`analyze` is a step", 1, "write `steps.analyze.output`")


def test_item_and_index_exist_only_in_for_each() -> None:
    for name in ("item", "index"):
        assert only(name) == (f"`{name}` exists only inside a step with `forEach`", 1, "")
        assert list(find_errors(name, ITEMS)) == []


def test_a_root_of_another_place_is_told() -> None:
    expected = ("`input` does not exist here", 1, "here there is event")
    assert only("input.x", EVENT_ONLY) == expected


def test_an_unknown_field_of_run() -> None:
    expected = ("`run.started` does not exist", 1, "run has id, name, namespace, startedAt")
    assert only("run.started") == expected
    assert list(find_errors("run", STEPS)) == []


def test_an_unknown_step_has_the_nearest_name() -> None:
    expected = ("there is no step `analyse`", 5, "did you mean `analyze`?")
    assert only("1 + steps.analyse.output") == expected
    _, _, hint = only("steps.q.output")
    assert hint == "known here: a, analyze, b, far-away, my-step"


def test_a_workflow_without_steps_says_so() -> None:
    nothing = Scope(roots=STEPS.roots)
    assert only("steps.q.output", nothing)[2] == "the workflow has no steps"


def test_a_hyphen_is_read_as_minus() -> None:
    message, column, hint = next(
        (e.message, e.column, e.hint) for e in find_errors("steps.my-step.output", STEPS)
    )
    assert (message, column) == ("there is no step `my`", 1)
    assert hint == "a name with a hyphen is written `steps['my-step']`: CEL reads `-` as minus"


def test_a_step_that_is_not_needed() -> None:
    expected = ("step `b` may not have ended here", 1, "add `b` to this step's `needs`")
    assert only("steps.b.output") == expected
    assert only("steps['far-away'].state")[0] == "step `far-away` may not have ended here"


def test_steps_alone_or_by_a_computed_name() -> None:
    for source, column in [("steps", 1), ("steps[input.name].output", 1), ("size(steps)", 6)]:
        message, found, hint = only(source)
        assert (message, found) == ("`steps` must be followed by the name of a step", column)
        assert "steps['<name>'].output" in hint


def test_an_unknown_field_of_a_step() -> None:
    said = "`steps.a.outputs` does not exist: a step has state, output and error"
    assert only("steps.a.outputs") == (said, 1, "did you mean `output`?")
    assert only("steps.a.status")[2] == "did you mean `state`?"
    message, _, hint = only("steps.a.revenue")
    assert message == "`steps.a.revenue` does not exist: a step has state, output and error"
    assert hint == "write `steps.a.output.revenue`"


def test_names_are_checked_inside_everything() -> None:
    for source in [
        "has(nope.x)",
        "[1, nope]",
        "{'a': nope}",
        "{nope: 1}",
        "input.xs.map(x, nope)",
        "nope.map(x, x)",
        "input[nope]",
        "input.f(nope)",
        "true ? 1 : nope",
        "nope.?a",
        "-nope",
        "google.protobuf.Duration{seconds: nope}",
        "input.xs.all(x, x.all(y, y > nope))",
    ]:
        errors = list(find_errors(source, STEPS))
        assert [error.message for error in errors] == ["`nope` is not known"], source
        assert errors[0].column == source.index("nope") + 1


def test_a_comprehensions_variable_exists_inside_it_only() -> None:
    assert only("input.xs.map(x, x) == x") == ("`x` is not known", 23, only("x")[2])
    assert only("x.map(x, x)")[1] == 1
    assert list(find_errors("input.xs.map(x, input.ys.map(y, x + y))", STEPS)) == []
    assert only("input.xs.map(x, input.ys.map(y, y)).map(z, y)")[0] == "`y` is not known"


def test_every_name_error_is_said() -> None:
    found = [error.message for error in find_errors("one + two.x + steps.three.output", STEPS)]
    assert found == ["`one` is not known", "`two` is not known", "there is no step `three`"]


def test_a_checked_scope_takes_every_step() -> None:
    assert list(find_errors("steps.whatever.output", Scope(every_step=True))) == []
