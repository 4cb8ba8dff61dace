"""The problems that a run itself ends or fails its steps with, as watchers and clients see them."""

from typing import Any, Final

from agentworkflow.runs.model import Failure, Run
from agentworkflow.workflow.expressions import EvaluationError

_TYPES: Final = "https://agentworkflow.dev/problems/"


def build_problem(reason: str, title: str, detail: str = "") -> dict[str, Any]:
    """A problem of ours: its type is a page, its reason the one word that states show."""
    problem = {"type": f"{_TYPES}{reason}", "title": title}
    return problem | ({"detail": detail} if detail else {}) | {"reason": reason}


def cancel_problem(reason: str) -> dict[str, Any]:
    """The problem of a run that was cancelled."""
    return build_problem(reason, "The run was cancelled")


def deadline_problem(run: Run) -> dict[str, Any]:
    """The problem of a run whose deadline is over."""
    allowed = ((run.deadline or run.created) - run.created) / 1000
    return build_problem(
        "DeadlineExceeded",
        "The run did not end before its deadline",
        f"`deadline` allows {allowed:g} s.",
    )


def step_problem(failure: Failure) -> dict[str, Any]:
    """The problem of a run that one of its steps ended: the step's own, and which it was."""
    problem = {**failure.problem, "step": failure.slot.step}
    return problem if failure.slot.item is None else problem | {"item": failure.slot.item}


def signal_problem(step: str, signal: str, timeout_ms: int | None) -> dict[str, Any]:
    """The problem of a step whose signal did not come."""
    return build_problem(
        "SignalTimeout",
        f"The signal {signal!r} did not come in time",
        f"Step {step!r} waited {(timeout_ms or 0) / 1000:g} s. "
        "Give `waitFor` a `default` to go on without the signal.",
    )


def expression_problem(error: EvaluationError) -> dict[str, Any]:
    """The problem of an expression that failed at run time: the expression, and CEL's message."""
    problem = build_problem("ExpressionFailed", "An expression failed", error.message)
    return problem | {"expression": f"${{{error.source}}}"}


def budget_problem(allowed: int, spent: int, wanted: int) -> dict[str, Any]:
    """The problem of a run that would need more attempts than it may start.

    Args:
        allowed: by `budget.steps`.
        spent: attempts that were started.
        wanted: attempts that were to start next.
    """
    problem = build_problem(
        "BudgetExhausted",
        "The run's budget is spent",
        f"`budget.steps` allows {allowed} attempts: {spent} were started, and {wanted} more "
        "had to be.",
    )
    return problem | {"allowed": allowed, "spent": spent, "wanted": wanted}
