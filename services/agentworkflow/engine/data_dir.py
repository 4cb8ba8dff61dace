"""The data directory: its lock, its secret, and what the engine says about itself in it.

Layout: ``engine.lock``, ``engine.json`` (while an engine runs), ``engine.key`` (0600),
``applied.json``, ``tables/``, ``logs/``, ``store/`` (the embedded Valkey).
"""

import base64
import fcntl
import json
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_SECRET_BYTES: Final = 32


class DataDirError(Exception):
    """The data directory cannot be used; the message says why and what to do."""


class DataDirInUse(DataDirError):  # noqa: N818 - the state that the message is about
    """Another engine works on the data directory.

    Attributes:
        pid: that engine's process, if it said so.
    """

    def __init__(self, path: Path, pid: int | None) -> None:
        holder = "another engine" if pid is None else f"another engine (process {pid})"
        super().__init__(
            f"the data directory {path} is in use by {holder}: "
            "stop that engine, or choose another directory with --data-dir"
        )
        self.pid = pid


class DataDir:
    """One data directory, locked for this process from `open` to `close`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    @property
    def store(self) -> Path:
        """Where the embedded Valkey keeps its data."""
        return self.path / "store"

    def open(self) -> None:
        """Make the directory if need be, and lock it.

        Raises:
            DataDirInUse: another engine has it.
            DataDirError: it cannot be made or written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path = self.path.resolve()
            lock = os.open(self.path / "engine.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DataDirError(
                f"the data directory {self.path} cannot be used ({error.strerror}): "
                "choose one that you may write, with --data-dir"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 20, 0).decode(errors="replace").strip()
            os.close(lock)
            raise DataDirInUse(self.path, int(holder) if holder.isdecimal() else None) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        self._lock = lock
        # Left by an engine that was killed: until this one is up, there is none.
        self.forget_engine()

    def close(self) -> None:
        """Give the directory to the next engine."""
        if self._lock is not None:
            self.forget_engine()
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None

    def identity(self) -> tuple[str, str]:
        """The engine's name and its event secret, drawn once for the directory.

        Raises:
            DataDirError: others may read the file.
        """
        path = self.path / "engine.key"
        if not path.exists():
            drawn = {"name": secrets.token_hex(8), "secret": secrets.token_urlsafe(_SECRET_BYTES)}
            self._write(path, drawn)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise DataDirError(
                f"{path} can be read by others, and holds the secret of the event port: "
                f"say chmod 600 {path}, or remove it to have another drawn"
            )
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            return str(kept["name"]), str(kept["secret"])
        except (ValueError, KeyError) as error:
            raise DataDirError(f"{path} is damaged: remove it to have another drawn") from error

    @property
    def webhook_secret_file(self) -> Path:
        """Where the secret that signs webhooks is, for who receives them."""
        return self.path / "webhook.secret"

    def webhook_secret(self) -> str:
        """The secret that signs webhooks, drawn once for the directory."""
        path = self.webhook_secret_file
        if not path.exists():
            drawn = base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
            self._write_new(path, f"whsec_{drawn}\n")
        return path.read_text(encoding="utf-8").strip()

    def announce_engine(self, urls: Mapping[str, str]) -> None:
        """Say where the engine is, for the commands that ask it."""
        self._write(self.path / "engine.json", {"pid": os.getpid(), **urls})

    def forget_engine(self) -> None:
        """Say that no engine is up."""
        (self.path / "engine.json").unlink(missing_ok=True)

    def write_table(self, key: str, table: Mapping[str, Any]) -> Path:
        """Write the function table of a host."""
        path = self.path / "tables" / f"{key}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._write(path, table)
        return path

    def log_of(self, key: str) -> Path:
        """The file for a host's output."""
        return self.path / "logs" / f"{key}.log"

    def read_applied(self) -> dict[str, str]:
        """The folders of the workflows (``<namespace>/<name>``) that this directory served."""
        try:
            found = json.loads((self.path / "applied.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {str(name): str(folder) for name, folder in found.items()}

    def write_applied(self, applied: Mapping[str, str]) -> None:
        """Remember which workflows this directory serves."""
        self._write(self.path / "applied.json", applied)

    def _write(self, path: Path, content: Mapping[str, Any]) -> None:
        """Write in one step: a reader sees the old file or the new one."""
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        beside.unlink(missing_ok=True)
        self._write_new(beside, json.dumps(content, indent=1, ensure_ascii=False))
        beside.replace(path)

    @staticmethod
    def _write_new(path: Path, text: str) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
