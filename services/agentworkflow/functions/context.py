"""What a handler may know of the call it serves, and the ways it can speak while it runs."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

__all__ = ["Context"]


def _unheard(_fraction: float, _message: str) -> None:
    """Progress of a call that nobody watches, as in a plain unit test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The call a handler serves. All has a default, so that a test makes one as `Context()`.

    `run` and `step` are None for an event that came without a run.
    `item` is the index in a `forEach` step, else None. `attempt` counts from 1.
    `idempotency_key` is the same for every attempt and delivery: use it for effects.
    `deadline` is when this attempt is ended from outside; None if nothing ends it.
    """

    function: str = ""
    workflow: str = ""
    namespace: str = "default"
    run: str | None = None
    step: str | None = None
    item: int | None = None
    attempt: int = 1
    session: str | None = None
    trigger: str | None = None
    deadline: datetime | None = None
    idempotency_key: str = ""
    report: Callable[[float, str], None] = field(default=_unheard, repr=False, compare=False)

    @property
    def logger(self) -> logging.Logger:
        """A logger whose lines reach the host's log with run and step before them."""
        return logging.getLogger(f"agentworkflow.function.{self.function or 'handler'}")

    def progress(self, fraction: float, message: str = "") -> None:
        """Tell who watches the run how far this attempt is: 0 to 1, and a few words.

        Call it as often as you like: at most one report a second leaves the host.
        """
        if isinstance(fraction, bool) or not math.isfinite(fraction) or not 0 <= fraction <= 1:
            raise ValueError(f"progress({fraction!r}): the fraction is a number from 0 to 1")
        self.report(float(fraction), str(message))

    def remaining(self) -> float | None:
        """Seconds until the deadline, never below 0; None without a deadline."""
        if self.deadline is None:
            return None
        return max(0.0, (self.deadline - datetime.now(UTC)).total_seconds())
