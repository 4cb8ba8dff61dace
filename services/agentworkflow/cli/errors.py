"""How a command fails: one sentence for the user, and the exit code that goes with it."""

from enum import IntEnum


class Outcome(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    INTERRUPTED = 130


class CommandError(Exception):
    """What a user is told instead of a traceback: what failed, which object, what to do."""

    def __init__(self, message: str, exit_code: int = Outcome.USAGE) -> None:
        super().__init__(message)
        self.exit_code = exit_code
