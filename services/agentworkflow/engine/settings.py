"""Every setting of an engine, with its unit, its default and why it has it."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agentworkflow.dispatcher.settings import Settings as DispatcherSettings
from agentworkflow.engine.lossy import Lossy


def default_data_dir(environment: Mapping[str, str] = os.environ) -> Path:
    """The data directory of engines that are given none: in the user's state directory."""
    state = environment.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "agentworkflow"


def _silent(_host: str, _line: str) -> None:
    """Show nothing; the log files have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How one engine runs.

    Attributes:
        data_dir: where everything is kept that outlives the engine; one engine works on it at a
            time. A folder that may be removed is the caller's to make and to remove.
        redis_url: a Redis to use in place of the embedded Valkey.
        host: address of the API; loopback, because there it needs no key.
        port: of the API; 0 takes a free one.
        event_port: where Triggers and function hosts reach the engine; 0 takes a free one.
        broker_port: where events are sent to brokers directly; 0 takes a free one.
        lossy: make the broker as unreliable as an in-memory channel may be.
        secrets_dir: Secrets and ConfigMaps as ``name/key`` files.
        commands: by function, the command that serves a function without a handler.
        dispatcher: limits, keys, webhooks; the engine fills in the store and the addresses.
        on_line: called with each line that a function host prints, and the host's key
            (``<namespace>/<workflow>/<function>``, or ``…/pool``).
    """

    data_dir: Path = field(default_factory=default_data_dir)
    redis_url: str | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    event_port: int = 0
    broker_port: int = 0
    lossy: Lossy | None = None
    secrets_dir: Path | None = None
    commands: Mapping[str, str] = field(default_factory=dict)
    dispatcher: DispatcherSettings = field(default_factory=DispatcherSettings)
    on_line: Callable[[str, str], None] = _silent
