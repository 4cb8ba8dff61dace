"""Plans: who needs whom, what a step reads, and how a plan grows."""

from agentworkflow.workflow.expressions import Scope
from agentworkflow.workflow.parts import INPUT, items_of, output_of
from agentworkflow.workflow.plan import Plan, StepSpec
from agentworkflow.workflow.templates import compile_single, compile_template

ANY = Scope(every_step=True)


def spec(name: str, *needs: str) -> StepSpec:
    return StepSpec(name, function="f", needs=needs)


def test_a_plan_knows_dependents_and_leaves() -> None:
    plan = Plan().grown([spec("a"), spec("b", "a"), spec("c", "a"), spec("d", "b")])
    assert list(plan.steps) == ["a", "b", "c", "d"]
    assert plan.dependents == {"a": ("b", "c"), "b": ("d",)}
    assert plan.leaves == ("c", "d")


def test_growing_makes_a_new_plan_and_keeps_what_is_there() -> None:
    plan = Plan().grown([spec("a")])
    grown = plan.grown([StepSpec("a", function="g"), spec("b", "a")])
    assert plan.leaves == ("a",)
    assert grown.steps["a"].function == "f"
    assert grown.leaves == ("b",)
    assert grown.grown([spec("b", "a")]) == grown


def test_additions_are_what_is_new() -> None:
    plan = Plan().grown([spec("a")])
    assert plan.additions([spec("a"), spec("c", "b"), spec("b", "a"), spec("b")]) == (
        spec("c", "b"),
        spec("b", "a"),
    )
    assert plan.additions([]) == ()


def test_additions_that_would_never_start_are_none() -> None:
    plan = Plan().grown([spec("a")])
    assert plan.additions([spec("b"), spec("c", "nowhere")]) == ()
    assert plan.additions([spec("b", "c"), spec("c", "b")]) == ()
    assert plan.additions([spec("b", "b")]) == ()


def test_a_step_reads_some_parts_to_start_and_others_to_be_called() -> None:
    step = StepSpec(
        "s",
        function="f",
        when=compile_single("${input.go}", ANY),
        for_each=compile_single("${steps.a.output}", ANY),
        input=compile_template({"x": "${steps.b.output}"}, ANY),
    )
    assert step.start_parts == {INPUT, output_of("a")}
    assert step.call_parts == {output_of("b"), items_of("s")}
    plain = spec("p")
    assert (plain.start_parts, plain.call_parts) == (frozenset(), frozenset())
