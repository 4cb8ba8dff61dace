"""Starts function hosts at the first connection, and lets them go when they are idle.

It stands where Knative Serving stands on a cluster.
The engine holds the listening socket of each host for good, so a connection that comes while the
host starts, leaves, or is down waits in the socket's queue, and none is lost.
The host itself decides that it is idle, and exits; the socket is watched only while no host
accepts on it.
"""

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agentworkflow.engine.processes import Child, Command
from agentworkflow.engine.servers import address_of, bind
from agentworkflow.store.tasks import end_tasks

_log = logging.getLogger(__name__)

OnHostLine = Callable[[str, str], None]

STOP_GRACE: Final = 2.0
"""Seconds that hosts get when the engine stops; what they do not finish is called again later."""

SETTLED_AGE: Final = 10.0
"""A host that lived so long did not fail at its start: its next crash counts as the first."""

_BACKOFF: Final = 0.25
_BACKOFF_MAX: Final = 30.0


@dataclass(frozen=True, slots=True)
class HostSpec:
    """One function host.

    Attributes:
        key: ``<namespace>/<workflow>/<function>``, or ``…/pool``.
        table: its function table.
        idle_exit: seconds without an event after which it exits.
        warm: keep it running, from now on and after every end.
        fingerprint: of all that it is made of; another one means another host.
        environment: all of its environment.
        folder: its working directory.
        log: where its output goes.
    """

    key: str
    table: Path
    idle_exit: float
    warm: bool
    fingerprint: str
    environment: Mapping[str, str] = field(repr=False)
    folder: Path
    log: Path


class Activator:
    """The hosts of one engine."""

    def __init__(self, *, on_line: OnHostLine = lambda _key, _line: None) -> None:
        self._on_line = on_line
        self._hosts: dict[str, _Host] = {}
        self._retiring: dict[_Host, asyncio.Task[None]] = {}

    def open(self, spec: HostSpec) -> str:
        """Serve a host from now on, or serve it as it is now; returns its URL.

        A running host whose fingerprint changed finishes what is in flight, while the new one
        takes what comes.
        """
        host = self._hosts.get(spec.key)
        if host is None:
            listener = bind("127.0.0.1", 0, f"the functions of {spec.key}")
            host = self._hosts[spec.key] = _Host(spec, listener, self._on_line)
            host.begin()
        else:
            host.change(spec)
        return host.url

    def close(self, keys: Iterable[str]) -> None:
        """Stop serving hosts; what is in flight in them is finished."""
        for key in list(keys):
            host = self._hosts.pop(key, None)
            if host is not None:
                task = asyncio.create_task(self._retire(host), name=f"retire {key}")
                self._retiring[host] = task

    async def drained(self, patience: float) -> None:
        """Wait until replaced hosts have left; those with something in flight may take longer."""
        leaving = [child for host in self._hosts.values() for child in host.leaving]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await asyncio.gather(*(child.wait() for child in leaving))

    def keep_warm(self, key: str, warm: bool) -> None:
        """Start a host and keep it, or let it go when it is idle again."""
        if key in self._hosts:
            self._hosts[key].keep_warm(warm)

    def keys(self) -> frozenset[str]:
        """The hosts that are served, running or not."""
        return frozenset(self._hosts)

    def pids(self) -> Mapping[str, int]:
        """The hosts that run now, with their processes."""
        return {key: host.pid for key, host in self._hosts.items() if host.pid is not None}

    async def aclose(self) -> None:
        """End every host, and wait until nothing of them is left."""
        hosts = [*self._hosts.values(), *self._retiring]
        self._hosts.clear()
        await asyncio.gather(*(host.stop() for host in hosts))
        await end_tasks(self._retiring.values())
        self._retiring.clear()

    async def _retire(self, host: "_Host") -> None:
        await host.retire()
        self._retiring.pop(host, None)


class _Host:
    """One socket, and the process that accepts on it while there is one."""

    def __init__(self, spec: HostSpec, listener: socket.socket, on_line: OnHostLine) -> None:
        self.url = address_of(listener)
        self._spec = spec
        self._listener = listener
        self._on_line = on_line
        self._warm = spec.warm
        self._child: Child | None = None
        self.leaving: list[Child] = []
        self._crashes = 0
        self._watching = False
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def pid(self) -> int | None:
        return None if self._child is None else self._child.pid

    def begin(self) -> None:
        """Start the host if it is to be warm; otherwise watch for the first connection."""
        if self._closed or self._child is not None:
            return
        if self._warm:
            self._unwatch()
            self._spawn()
        elif not self._watching:
            self._watching = True
            asyncio.get_running_loop().add_reader(self._listener.fileno(), self._on_connection)

    def change(self, spec: HostSpec) -> None:
        """Take a new description; a host made from another is replaced."""
        before, self._spec = self._spec, spec
        self._warm = spec.warm
        replaced = spec.fingerprint != before.fingerprint or (
            (spec.idle_exit, spec.warm) != (before.idle_exit, before.warm)
        )
        if replaced:
            self._crashes = 0
            self._let_go()
        self.begin()

    def keep_warm(self, warm: bool) -> None:
        if warm == self._warm:
            return
        self._warm = warm
        # How long a host stays is told at its start: it makes room for one that knows.
        self._let_go()
        self.begin()

    async def retire(self) -> None:
        """Close the socket, and wait until what is in flight is finished."""
        self._close()
        self._let_go()
        await asyncio.gather(*(child.wait() for child in self.leaving))
        await end_tasks(self._tasks)

    async def stop(self) -> None:
        self._close()
        children = [*self.leaving, *([self._child] if self._child else [])]
        await asyncio.gather(*(child.stop(STOP_GRACE) for child in children))
        await end_tasks(self._tasks)

    def _close(self) -> None:
        self._closed = True
        self._unwatch()
        self._listener.close()

    def _unwatch(self) -> None:
        if self._watching:
            self._watching = False
            asyncio.get_running_loop().remove_reader(self._listener.fileno())

    def _let_go(self) -> None:
        """Tell the running host to leave after what is in flight."""
        if self._child is not None:
            child, self._child = self._child, None
            self.leaving.append(child)
            child.terminate()

    def _on_connection(self) -> None:
        self._unwatch()
        self._spawn()

    def _spawn(self) -> None:
        spec = self._spec
        command = [sys.executable, "-P", "-m", "agentworkflow.functions"]
        command += ["--table", str(spec.table)]
        command += ["--fd", str(self._listener.fileno())]
        if not self._warm:
            command += ["--idle-exit", f"{spec.idle_exit:g}"]
        try:
            child = Child(
                Command(
                    arguments=command,
                    environment=spec.environment,
                    folder=spec.folder,
                    log=spec.log,
                    files=(self._listener.fileno(),),
                    on_line=lambda line: self._on_line(spec.key, line),
                )
            )
        except OSError as error:
            _log.error("the host of %s cannot be started: %s", spec.key, error)
            self._crashes += 1
            self._follow(self._begin_later())
            return
        _log.info("host of %s started as process %d", spec.key, child.pid)
        self._child = child
        self._follow(self._attend(child))

    async def _attend(self, child: Child) -> None:
        """Wait for the end of a host, and go on after it."""
        code = await child.wait()
        if child in self.leaving:
            self.leaving.remove(child)
            return
        if self._child is not child:
            return
        self._child = None
        if code == 0:
            self._crashes = 0
            _log.info("host of %s left", self._spec.key)
        else:
            self._crashes = 1 if child.age > SETTLED_AGE else self._crashes + 1
            _log.warning(
                "host of %s ended with exit code %d; its output is in %s",
                self._spec.key,
                code,
                self._spec.log,
            )
        await self._begin_later()

    async def _begin_later(self) -> None:
        """Begin again; a host that crashes again and again is given ever longer pauses."""
        if self._crashes > 1:
            await asyncio.sleep(min(_BACKOFF * 2.0 ** (self._crashes - 2), _BACKOFF_MAX))
        self.begin()

    def _follow(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def host_environment(additions: Mapping[str, str]) -> dict[str, str]:
    """The environment of a host: ours without what is ours alone, and the workflow's variables."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AGENTWORKFLOW_", "AWF_"))
    }
    return kept | dict(additions)
