"""What can go wrong between us and Redis, and which of it means «try again later».

`StoreUnavailable` is the only error that a caller handles as a state of the world (503, keep and
try again).  Every other `StoreError` is a mistake of ours or of the server's configuration.
"""

import re
from typing import Final

from redis import exceptions as redis_errors

__all__ = ["StoreError", "StoreUnavailable", "translate"]


class StoreError(Exception):
    """The store refused or could not understand what it was asked."""


class StoreUnavailable(StoreError):  # noqa: N818 - it names a state, as the contract does
    """The store cannot answer now.

    Attributes:
        reason: One word for logs and metrics: `Connection`, `Timeout`, `Loading`, `OutOfMemory`,
            `ReadOnly`, `Disk`, `NoReplicas`, `Cluster`, `Busy`, `Authentication` or `Closed`.
        outcome_unknown: True if the server may have done what it was asked.
    """

    def __init__(self, reason: str, detail: str, *, outcome_unknown: bool = False) -> None:
        super().__init__(f"The store is not available ({reason}): {detail}")
        self.reason = reason
        self.outcome_unknown = outcome_unknown


_ADVICE: Final = {
    "OutOfMemory": "Redis has reached maxmemory; raise it or shorten results.ttl",
    "ReadOnly": "Redis is a read-only replica; point the URL at the primary",
    "Disk": "Redis cannot write to its disk; free space or check its log",
    "Loading": "Redis is loading its data; it will answer when that is done",
    "NoReplicas": "Redis has fewer replicas than min-replicas-to-write asks for",
    "Cluster": "Redis Cluster does not serve this slot at the moment",
    "Busy": "Redis is busy with a script of another client",
    "Authentication": "Redis refused the user or password; check the URL",
}

# Redis 6.2 wraps the error of a command inside a script in a sentence of its own, newer servers
# pass it on; so the code is looked for anywhere in the message.
_CODES: Final = {
    "OOM": "OutOfMemory",
    "READONLY": "ReadOnly",
    "MISCONF": "Disk",
    "LOADING": "Loading",
    "NOREPLICAS": "NoReplicas",
    "CLUSTERDOWN": "Cluster",
    "MASTERDOWN": "Cluster",
    "TRYAGAIN": "Cluster",
    "BUSY": "Busy",
    "NOAUTH": "Authentication",
    "WRONGPASS": "Authentication",
}
_CODE: Final = re.compile(rf"(?:^|[\s-])({'|'.join(_CODES)})\s")

_CLASSES: Final[tuple[tuple[type[Exception], str], ...]] = (
    (redis_errors.AuthenticationError, "Authentication"),
    (redis_errors.BusyLoadingError, "Loading"),
    (redis_errors.OutOfMemoryError, "OutOfMemory"),
    (redis_errors.ReadOnlyError, "ReadOnly"),
    (redis_errors.ClusterDownError, "Cluster"),
    (redis_errors.TryAgainError, "Cluster"),
    (redis_errors.SlotNotCoveredError, "Cluster"),
)


def translate(error: Exception, action: str) -> StoreError:
    """Turn an error of the client into one of ours.

    Args:
        error: What redis-py or the socket raised.
        action: What was being done, for the message, e.g. `commit`.
    """
    if type(error) is redis_errors.ConnectionError and isinstance(
        error.__cause__, redis_errors.RedisError
    ):
        # What the server said to the greeting of a new connection is wrapped.
        error = error.__cause__
    for kind, reason in _CLASSES:
        if isinstance(error, kind):
            return StoreUnavailable(reason, f"{action} failed: {_ADVICE[reason]}. {error}")
    if isinstance(error, redis_errors.TimeoutError | TimeoutError):
        return StoreUnavailable(
            "Timeout", f"no answer to {action} in time. {error}", outcome_unknown=True
        )
    if isinstance(error, redis_errors.ConnectionError | OSError):
        return StoreUnavailable(
            "Connection", f"the connection failed during {action}. {error}", outcome_unknown=True
        )
    found = _CODE.search(str(error))
    if found is not None:
        reason = _CODES[found.group(1)]
        return StoreUnavailable(reason, f"{action} failed: {_ADVICE[reason]}. {error}")
    return StoreError(f"{action} failed: {error}")
