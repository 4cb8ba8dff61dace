"""Sends a message once, to a file or to any of Apprise's hundred services.

A step may be tried again after its process died, so its handler may run twice. The idempotency
key is the same for both. It is written to the `notifications` table in the transaction that
sends: a second attempt finds the key, and one that runs at the same time waits for the first
and then finds it. What remains is the moment between the service's «accepted» and the commit;
only a service that takes idempotency keys itself could close it.
"""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import apprise
import sqlalchemy as sa
from apprise.decorators import notify

from order_insights.database import notifications


class AlreadySentError(RuntimeError):
    """A message with this key was sent before."""


class BadTargetError(ValueError):
    """Apprise knows no such service, or its URL is incomplete."""


class NotDeliveredError(RuntimeError):
    """A target did not take the message; a later attempt may have more luck."""


@notify(on="file", name="File")  # type: ignore[untyped-decorator]  # Apprise is not typed
def append_to_file(body: str, title: str, *_: Any, meta: dict[str, Any], **__: Any) -> bool:
    """The target `file:///folder/name.txt`: one write at the file's end per message."""
    path = Path("/" + unquote(meta["url"].removeprefix("file://").partition("?")[0]).lstrip("/"))
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, f"{title}\n{body}\n\n".encode())
    finally:
        os.close(descriptor)
    return True


def send_once(
    connection: sa.Connection, key: str, urls: list[str], *, title: str, body: str
) -> None:
    """Sends to all targets; the caller then commits the connection's transaction.

    Raises AlreadySentError, BadTargetError or NotDeliveredError, and the caller rolls it back.
    """
    service = apprise.Apprise()
    for number, url in enumerate(urls, start=1):
        if not service.add(url):  # the URL may hold a password: name its place and scheme only
            scheme = url.partition("://")[0]
            raise BadTargetError(f"target {number} ({scheme}://…) is not a URL that Apprise knows")
    try:
        connection.execute(
            notifications.insert().values(key=key, sent_at=datetime.now(UTC).replace(tzinfo=None))
        )
    except sa.exc.IntegrityError as error:
        raise AlreadySentError(key) from error
    if not service.notify(title=title, body=body):
        raise NotDeliveredError(f"not every one of the {len(urls)} targets took the message")
