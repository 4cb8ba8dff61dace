"""The parts of a run that an expression can read.

An expression is compiled to the set of parts it reads, so that a shell loads those parts and no
others: a run of two thousand steps costs an expression only what it names.
"""

from typing import Literal, NamedTuple

Kind = Literal["input", "event", "session", "output", "error", "items"]


class Part(NamedTuple):
    """One loadable part of a run.

    Attributes:
        kind: `input`, `event` and `session` belong to the run; `output` and `error` to a step;
            `items` is the list that a `forEach` step runs over.
        step: the step's name, for the last three.
    """

    kind: Kind
    step: str | None = None


INPUT = Part("input")
EVENT = Part("event")
SESSION = Part("session")


def output_of(step: str) -> Part:
    """The output of a step."""
    return Part("output", step)


def error_of(step: str) -> Part:
    """The problem that a step ended with."""
    return Part("error", step)


def items_of(step: str) -> Part:
    """The list that a `forEach` step runs over."""
    return Part("items", step)
