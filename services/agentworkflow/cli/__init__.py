"""The command `agentworkflow` (alias `awf`).

This module decides how the process ends: what a user did wrong is one sentence and exit code 2,
never a traceback. It imports next to nothing, so that `--version` and `--help` answer at once.
"""

import sys

from agentworkflow.cli.errors import CommandError, Outcome


def main(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code.

    0: done (for `run`: the run succeeded). 1: the run ended in another state, or the engine failed.
    2: wrong usage, an invalid file, or a request that the engine refused. 130: interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments in (["--version"], ["-V"]):
        from importlib.metadata import version  # noqa: PLC0415 — 30 ms that --help need not pay

        sys.stdout.write(f"agentworkflow {version('agentworkflow')}\n")
        return 0

    from agentworkflow.cli.app import app  # noqa: PLC0415 — typer is not needed for --version

    try:
        app(arguments, prog_name="agentworkflow")
    except CommandError as error:
        sys.stderr.write(f"Error: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return Outcome.INTERRUPTED
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    return 0
