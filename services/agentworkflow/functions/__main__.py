"""`python -m agentworkflow.functions`: the host's command line, and the image's entry point."""

import argparse
import json
import os
import socket
import sys
from collections.abc import Sequence

from agentworkflow.functions.front import describe, serve
from agentworkflow.functions.table import (
    FunctionTable,
    TableError,
    read_table,
    table_of_handler,
)

_WRONG_USAGE = 2
_BACKLOG = 2048


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        table = _table(options)
    except TableError as error:
        sys.stderr.write(f"{error}\n")
        return _WRONG_USAGE
    if options.describe:
        json.dump(describe(table), sys.stdout, ensure_ascii=False)
        sys.stdout.write("\n")
        return 0
    try:
        listener = _listener(options)
    except OSError as error:
        sys.stderr.write(
            f"{options.host}:{options.port}: cannot listen: {error.strerror}; "
            "choose another port with --port, or 0 for a free one\n"
        )
        return _WRONG_USAGE
    return serve(table, listener, options.idle_exit)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m agentworkflow.functions", description="Answers CloudEvents with handlers."
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--table", metavar="FILE", help="function table (JSON)")
    what.add_argument("--handler", metavar="MODULE:ATTRIBUTE", help="one handler, without a table")
    parser.add_argument("--name", help="name of the function of --handler")
    parser.add_argument("--fd", type=int, metavar="N", help="inherited listening socket")
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on")  # noqa: S104 - a container's only door
    parser.add_argument(
        "--port", type=int, default=int(os.environ.get("PORT", "8080")), help="default: $PORT, 8080"
    )
    parser.add_argument(
        "--idle-exit", type=float, metavar="SECONDS", help="exit after so long without an event"
    )
    parser.add_argument(
        "--describe", action="store_true", help="print the functions' schemas and load errors"
    )
    return parser


def _table(options: argparse.Namespace) -> FunctionTable:
    if options.table is not None:
        return read_table(options.table)
    return table_of_handler(options.handler, options.name)


def _listener(options: argparse.Namespace) -> socket.socket:
    if options.fd is not None:
        return socket.socket(fileno=options.fd)
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listener = socket.create_server((options.host, options.port), family=family, backlog=_BACKLOG)
    host, port = listener.getsockname()[:2]
    sys.stderr.write(f"listening on http://{host}:{port}\n")
    sys.stderr.flush()
    return listener


if __name__ == "__main__":
    sys.exit(main())
