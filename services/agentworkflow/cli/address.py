"""Where a running engine is: named by --url, or found by the data directory's engine.json."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from agentworkflow.cli.client import ApiClient
from agentworkflow.cli.errors import CommandError
from agentworkflow.engine.settings import default_data_dir


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """How to reach one engine's API."""

    url: str
    key: str | None
    namespace: str

    def connect(self) -> ApiClient:
        """A client for it, to be used as an async context manager."""
        return ApiClient(self.url, key=self.key, namespace=self.namespace)


def find_engine(
    url: str | None, key: str | None, data_dir: Path | None, namespace: str
) -> EngineAddress:
    """The engine that a command talks to.

    Raises:
        CommandError: no URL is given and no engine runs on the data directory.
    """
    if url is not None:
        if not url.startswith(("http://", "https://")):
            raise CommandError(f"--url {url} is no URL; write http://HOST:PORT.")
        return EngineAddress(url, key, namespace)
    return EngineAddress(read_engine_file(data_dir or default_data_dir()), key, namespace)


def read_engine_file(data_dir: Path) -> str:
    """The API's URL of the engine that runs on a data directory.

    Raises:
        CommandError: none does.
    """
    idle = CommandError(
        f"no engine runs on the data directory {data_dir}: start one with "
        "`agentworkflow dev FILE`, or name another with --data-dir or --url."
    )
    try:
        found = json.loads((data_dir / "engine.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise idle from error
    if not _is_alive(found["pid"]):
        raise idle
    return str(found["api"])


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
