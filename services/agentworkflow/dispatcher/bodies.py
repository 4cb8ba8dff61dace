"""Reads what a client sends as JSON: its media type, its size, its text; and the small headers."""

import re
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.requests import Request

from agentworkflow.dispatcher.limits import read_body
from agentworkflow.dispatcher.problems import Refused
from agentworkflow.events.media import parse_media_type
from agentworkflow.events.payload import JsonError, parse_json

_WAIT: Final = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?(?=$|[,;\s])", re.IGNORECASE)
MAX_NESTING: Final = 100
"""Levels of a JSON value; what recurses over it would end at Python's limit otherwise."""

_SESSION_MAX: Final = 256
_KEY_MAX: Final = 255


async def read_json(request: Request, limit: int, *, absent: Any) -> Any:
    """The JSON value of a body; `absent` if there is no body.

    Raises:
        Refused: 413, 415 or 400.
    """
    body = await read_body(request, limit)
    content_type = request.headers.get("content-type")
    if not body and content_type is None:
        return absent
    _require_json(content_type)
    if not body:
        return absent
    try:
        value = parse_json(body.decode(), "the body")
    except UnicodeDecodeError as error:
        raise _not_json(f"the body is not UTF-8: {error}") from error
    except JsonError as error:
        raise _not_json(str(error)) from error
    # Few brackets cannot nest deeply; counting them is a hundred times as fast as looking.
    if body.count(b"[") + body.count(b"{") > MAX_NESTING and is_too_deep(value):
        raise _not_json(f"the body is nested more than {MAX_NESTING} levels deep")
    return value


def is_too_deep(value: Any) -> bool:
    """Whether a JSON value is nested deeper than expressions and schemas can follow."""
    level = [value]
    for _ in range(MAX_NESTING + 1):
        level = [
            member
            for each in level
            if isinstance(each, dict | list)
            for member in (each.values() if isinstance(each, dict) else each)
            if isinstance(member, dict | list)
        ]
        if not level:
            return False
    return True


def _require_json(content_type: str | None) -> None:
    media = parse_media_type(content_type or "")
    if media is None or not media.is_json or media.charset.lower() not in {"utf-8", "us-ascii"}:
        raise Refused(
            415,
            "The content type is not JSON",
            f"The body is {content_type or 'of no type'}: send it as application/json in UTF-8.",
            reason="UnsupportedMediaType",
            headers={"accept": "application/json"},
        )


def _not_json(message: str) -> Refused:
    return Refused(400, "The body is not JSON", message, reason="MalformedBody")


def preferred_wait(headers: Headers, most: float) -> float | None:
    """Seconds of `Prefer: wait=N` that are granted, or None. What is malformed is ignored."""
    for line in headers.getlist("prefer"):
        found = _WAIT.search(line)
        if found:
            return min(float(found[1]), most)
    return None


def idempotency_key(headers: Headers) -> str | None:
    """The `Idempotency-Key`, plain or as a quoted string. Raises: Refused."""
    raw = headers.get("idempotency-key")
    if raw is None:
        return None
    key = raw.strip()
    if len(key) > 1 and key.startswith('"') and key.endswith('"'):
        key = key[1:-1]
    return check_text("Idempotency-Key", key, _KEY_MAX)


def query_or_header(request: Request, name: str) -> str | None:
    """A value that may be given as a query parameter or as a header. Raises: Refused."""
    query = request.query_params.get(name)
    header = request.headers.get(name)
    if query is not None and header is not None and query != header:
        raise bad_parameter(name, "is given as a query parameter and as a header, and they differ")
    return query if query is not None else header


def check_session(value: str | None) -> str | None:
    """A session id that can be stored and shown. Raises: Refused."""
    return None if value is None else check_text("session", value, _SESSION_MAX)


def check_text(name: str, value: str, most: int) -> str:
    """A short printable text. Raises: Refused."""
    if not value:
        raise bad_parameter(name, "is empty: leave it out")
    if len(value) > most:
        raise bad_parameter(name, f"has {len(value)} characters, at most {most} are taken")
    if not value.isprintable():
        raise bad_parameter(name, "holds characters that cannot be printed")
    return value


def bad_parameter(name: str, message: str) -> Refused:
    """The refusal of a query parameter or header."""
    return Refused(400, "A parameter is wrong", f"{name} {message}.", reason="BadParameter")
