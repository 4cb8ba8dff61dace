"""The plan of a run: its steps, compiled, and what waits for what.

Static `steps` of the resource are a plan's first content; a run may grow its own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from agentworkflow.workflow.expressions import Expression
from agentworkflow.workflow.parts import Part, items_of
from agentworkflow.workflow.templates import Template

NO_PARTS: frozenset[Part] = frozenset()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When and how late an attempt gets a successor.

    Attributes:
        limit: attempts after the first.
        backoff: `Exponential` (delay·2ⁿ, full jitter, capped) or `Linear` (delay·n).
        delay_ms: the base delay.
        on: reasons that allow another attempt.
    """

    limit: int = 3
    backoff: Literal["Exponential", "Linear"] = "Exponential"
    delay_ms: int = 500
    on: frozenset[str] = frozenset({"Retry", "DeadlineExceeded", "Crash"})


@dataclass(frozen=True, slots=True)
class WaitSpec:
    """What a step without a function waits for.

    Attributes:
        signal: name of the signal, or None for a plain pause.
        timeout_ms: how long; None waits until the run's own deadline.
        has_default: a timeout gives `default` instead of failing.
        default: that value.
    """

    signal: str | None
    timeout_ms: int | None
    has_default: bool = False
    default: Any = None


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One step of a plan, compiled.

    Attributes:
        name: unique in the plan.
        function: what it calls, or None for a step that waits.
        needs: steps that have to be terminal before it starts.
        when: condition, or None.
        input: template of the call's input, or None.
        for_each: list to run over, or None.
        parallelism: items in flight at once.
        wait: what it waits for, if it calls no function.
        continue_on_failure: `onFailure: Continue`.
        timeout_ms: of the handler.
        start_timeout_ms: queue and cold start, on top.
        retry: of its attempts.
    """

    name: str
    function: str | None = None
    needs: tuple[str, ...] = ()
    when: Expression | None = None
    input: Template | None = None
    for_each: Expression | None = None
    parallelism: int = 10
    wait: WaitSpec | None = None
    continue_on_failure: bool = False
    timeout_ms: int = 60_000
    start_timeout_ms: int = 300_000
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    @property
    def start_parts(self) -> frozenset[Part]:
        """What has to be loaded to decide whether, and over what, the step starts."""
        when = self.when.parts if self.when else NO_PARTS
        return when | (self.for_each.parts if self.for_each else NO_PARTS)

    @property
    def call_parts(self) -> frozenset[Part]:
        """What has to be loaded to make the input of a call."""
        parts = self.input.parts if self.input else NO_PARTS
        return parts | {items_of(self.name)} if self.for_each else parts


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps by name, in the order they were written, and who needs whom.

    Attributes:
        steps: the specifications.
        dependents: step → the steps that name it in `needs`.
    """

    steps: Mapping[str, StepSpec] = field(default_factory=dict)
    dependents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def leaves(self) -> tuple[str, ...]:
        """Steps that nothing needs: their outputs are the run's, if it has no `output`."""
        return tuple(name for name in self.steps if not self.dependents.get(name))

    def additions(self, specs: Iterable[StepSpec]) -> tuple[StepSpec, ...]:
        """What of `specs` the plan can take: all that is new, or nothing.

        A step that needs one that is nowhere, or itself by way of others, would never start, so
        such an addition is none.
        """
        added: dict[str, StepSpec] = {}
        for spec in specs:
            if spec.name not in self.steps:
                added.setdefault(spec.name, spec)
        settled = set(self.steps)
        rest = list(added.values())
        while rest:
            ready = [spec.name for spec in rest if settled.issuperset(spec.needs)]
            if not ready:
                return ()
            settled.update(ready)
            rest = [spec for spec in rest if spec.name not in settled]
        return tuple(added.values())

    def grown(self, added: Iterable[StepSpec]) -> "Plan":
        """The plan with more steps. A step that is there already stays as it is."""
        steps = dict(self.steps)
        dependents = dict(self.dependents)
        for spec in added:
            if spec.name in steps:
                continue
            steps[spec.name] = spec
            for need in spec.needs:
                dependents[need] = (*dependents.get(need, ()), spec.name)
        return replace(self, steps=steps, dependents=dependents)
