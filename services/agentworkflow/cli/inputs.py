"""Reads what a user hands over on the command line: JSON, @FILE, - for standard input, durations.

Every mistake becomes a sentence that names the option and says what to write.
"""

import json
import sys
from pathlib import Path
from typing import Any

from agentworkflow.cli.errors import CommandError


def read_source(source: str, option: str) -> str:
    """The text of a file, or of standard input for `-`."""
    if source == "-":
        return sys.stdin.read()
    try:
        return Path(source).read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{option} {source} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{option} {source} is not UTF-8 text.") from error


def parse_json(text: str, where: str) -> Any:
    """JSON as the standard has it, without NaN; the error names line and column."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise CommandError(
            f"{where} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}."
        ) from error
    except ValueError as error:
        raise CommandError(f"{where} is not JSON: {error}.") from error


def parse_value(argument: str, option: str) -> Any:
    """The JSON value of `--option JSON` or `--option @FILE` (`@-` for standard input)."""
    if argument.startswith("@"):
        return parse_json(read_source(argument[1:], option), f"{option} {argument}")
    return parse_json(argument, option)


def parse_lenient_value(argument: str, option: str) -> Any:
    """JSON or @FILE; text that is no JSON is the string itself, as in `signal RUN approval yes`."""
    if argument.startswith("@"):
        return parse_value(argument, option)
    try:
        return json.loads(argument, parse_constant=_refuse_constant)
    except ValueError:
        return argument


def parse_pairs(pairs: tuple[str, ...], option: str) -> dict[str, str]:
    """`NAME=VALUE` options as a dict; the last of a name wins."""
    parsed = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name or not value:
            raise CommandError(f"{option} {pair!r} is not of the form NAME=VALUE.")
        parsed[name] = value
    return parsed


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")
