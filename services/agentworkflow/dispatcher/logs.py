"""Logs on standard error, those of libraries too: JSON for machines, lines for people."""

import logging
import sys
from typing import Any, Final

import structlog

_SHARED: Final[tuple[Any, ...]] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
)
_PLAIN: Final[tuple[Any, ...]] = (
    structlog.stdlib.add_log_level,
    structlog.processors.format_exc_info,
)


def configure_logs(level: str = "INFO", *, for_people: bool = False) -> None:
    """Send every log of this process through one formatter.

    Args:
        level: the least that is shown.
        for_people: plain lines without a time, as a command on a terminal says them; otherwise
            one JSON object per line.
    """
    shared = _PLAIN if for_people else _SHARED
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0, pad_level=False)
        if for_people
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # One line per request is what metrics are for.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
