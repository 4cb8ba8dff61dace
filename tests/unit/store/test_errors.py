"""What a failure of Redis means to a caller."""

import pytest
from redis import exceptions as redis_errors

from agentworkflow.store import StoreError, StoreUnavailable
from agentworkflow.store.errors import translate


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (redis_errors.ConnectionError("refused"), "Connection"),
        (ConnectionResetError("reset"), "Connection"),
        (redis_errors.TimeoutError("slow"), "Timeout"),
        (TimeoutError(), "Timeout"),
        (redis_errors.BusyLoadingError("dataset in memory"), "Loading"),
        (redis_errors.OutOfMemoryError("used memory > 'maxmemory'"), "OutOfMemory"),
        (redis_errors.ReadOnlyError("You can't write"), "ReadOnly"),
        (redis_errors.AuthenticationError("no"), "Authentication"),
        (redis_errors.ClusterDownError("CLUSTERDOWN Hash slot not served"), "Cluster"),
        (redis_errors.MasterDownError("MASTERDOWN link is down"), "Cluster"),
        (redis_errors.ResponseError("MISCONF Errors writing to the AOF file"), "Disk"),
        (redis_errors.ResponseError("NOREPLICAS Not enough good replicas"), "NoReplicas"),
        (redis_errors.ResponseError("BUSY Redis is busy running a script"), "Busy"),
        # How Redis 6.2 reports an error of a command inside a script.
        (
            redis_errors.ResponseError(
                "Error running script (call to f_1b): @user_script:31: @user_script: 31: "
                "-OOM command not allowed when used memory > 'maxmemory'. "
            ),
            "OutOfMemory",
        ),
        (
            redis_errors.ResponseError(
                "Error running script (call to f_1b): @user_script:31: "
                "-MISCONF Redis is configured to save RDB snapshots"
            ),
            "Disk",
        ),
    ],
)
def test_a_state_that_may_pass_is_unavailable_with_its_reason(
    error: Exception, reason: str
) -> None:
    translated = translate(error, "commit")

    assert isinstance(translated, StoreUnavailable)
    assert translated.reason == reason
    assert f"The store is not available ({reason}): " in str(translated)
    assert "commit" in str(translated)
    assert translated.outcome_unknown == (reason in {"Connection", "Timeout"})


@pytest.mark.parametrize(
    "message",
    [
        "WRONGTYPE Operation against a key holding the wrong kind of value",
        "unknown command 'FOO'",
        "a BUSYBODY said BUSYGROUP",
    ],
)
def test_a_mistake_is_no_state_that_passes(message: str) -> None:
    translated = translate(redis_errors.ResponseError(message), "commit")

    assert type(translated) is StoreError
    assert str(translated) == f"commit failed: {message}"
