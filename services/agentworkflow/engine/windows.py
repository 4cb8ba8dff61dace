"""Decides how many instances a warm pool keeps at a time: its size, or that of an open window."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from agentworkflow.workflow.durations import parse_duration
from agentworkflow.workflow.models import WarmPool, Window


def pool_size(pool: WarmPool, now: datetime) -> int:
    """The size that holds at ``now``, which carries a time zone: the largest open window's."""
    sizes = [window.size for window in pool.windows if is_open(window, now)]
    return max(sizes) if sizes else pool.size


def is_open(window: Window, now: datetime) -> bool:
    """Whether the window's last start lies less than its duration back."""
    # A search backwards finds only what lies before; a start at this very second counts too.
    local = now.astimezone(ZoneInfo(window.timezone)) + timedelta(seconds=1)
    start = next(CronSim(window.cron, local, reverse=True), None)
    return start is not None and now - start < timedelta(seconds=parse_duration(window.duration))
