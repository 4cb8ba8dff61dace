"""How long to wait before an attempt gets its successor."""

from typing import Final

from agentworkflow.workflow.plan import RetryPolicy

MAX_DELAY_MS: Final = 5 * 60_000
"""Cap of an exponential delay, before its jitter."""

MAX_ASKED_MS: Final = 365 * 24 * 3600 * 1000
"""Cap of what a handler may ask for: a time that is not absurd still has a date."""


def retry_delay(policy: RetryPolicy, attempt: int, jitter: float, asked: int | None) -> int:
    """How long to wait after an attempt failed, in ms.

    Args:
        policy: of the function.
        attempt: the one that failed, from 1.
        jitter: in [0, 1), for `Exponential`: full jitter over the delay.
        asked: what the handler asked for with `Retry(after=…)`; it is taken as it is,
            up to a year.
    """
    if asked is not None:
        return min(max(asked, 0), MAX_ASKED_MS)
    if policy.backoff == "Linear":
        return policy.delay_ms * attempt
    # 2**attempt outgrows any cap long before it outgrows memory.
    doubled: int = policy.delay_ms * 2 ** min(attempt - 1, 32)
    return round(min(doubled, MAX_DELAY_MS) * jitter)
