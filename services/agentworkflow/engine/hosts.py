"""All hosts of an engine: those of handlers, by socket activation, and those of commands."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from agentworkflow.engine.activator import Activator, HostSpec
from agentworkflow.engine.command_host import CommandHost, CommandSpec
from agentworkflow.engine.data_dir import DataDir
from agentworkflow.engine.rendering import HostPlan, fingerprint
from agentworkflow.workflow.durations import parse_duration
from agentworkflow.workflow.models import AgentWorkflow


class Hosts:
    """Opens what a plan says, and knows where it is.

    ``commands`` are the user's, by function.
    """

    def __init__(
        self,
        data: DataDir,
        *,
        commands: Mapping[str, str],
        on_line: Callable[[str, str], None],
    ) -> None:
        self._data = data
        self._commands = commands
        self._on_line = on_line
        self._activator = Activator(on_line=on_line)
        self._command_hosts: dict[str, CommandHost] = {}
        self._urls: dict[str, str] = {}

    async def open(
        self,
        plan: HostPlan,
        workflow: AgentWorkflow,
        *,
        folder: Path,
        environment: Mapping[str, str],
        code: int,
    ) -> str:
        """Serve a host as planned; ``code`` counts the changes of the handlers' code."""
        if plan.table is None:
            url = await self._open_command(plan, workflow, folder, environment)
        else:
            await self._close_command(plan.key)
            url = self._activator.open(
                HostSpec(
                    key=plan.key,
                    table=self._data.write_table(plan.key, plan.table),
                    idle_exit=plan.idle_exit,
                    warm=plan.warm,
                    fingerprint=fingerprint(plan.table, dict(environment), str(folder), code),
                    environment=environment,
                    folder=folder,
                    log=self._data.log_of(plan.key),
                )
            )
        self._urls[plan.key] = url
        return url

    async def close(self, keys: Iterable[str]) -> None:
        """Stop serving hosts; what is in flight in a handler is finished."""
        for key in list(keys):
            self._urls.pop(key, None)
            await self._close_command(key)
            self._activator.close([key])

    async def drained(self, patience: float) -> None:
        """Wait until hosts that were replaced have left, but not for what is in flight in them."""
        await self._activator.drained(patience)

    def keep_warm(self, key: str, warm: bool) -> None:
        """Start a host and keep it, or let it go when it is idle."""
        self._activator.keep_warm(key, warm)

    def keys_of(self, owner: str) -> frozenset[str]:
        """The hosts of one workflow (``<namespace>/<name>``)."""
        return frozenset(key for key in self._urls if key.startswith(f"{owner}/"))

    def urls_of(self, owner: str) -> dict[str, str]:
        """Where the hosts of one workflow are."""
        return {key: self._urls[key] for key in self.keys_of(owner)}

    def pids(self) -> dict[str, int]:
        """The hosts that run now, with their processes."""
        commands = {key: host.pid for key, host in self._command_hosts.items()}
        running = {key: pid for key, pid in commands.items() if pid is not None}
        return dict(self._activator.pids()) | running

    async def aclose(self) -> None:
        """End every host."""
        for key in list(self._command_hosts):
            await self._close_command(key)
        await self._activator.aclose()

    async def _open_command(
        self,
        plan: HostPlan,
        workflow: AgentWorkflow,
        folder: Path,
        environment: Mapping[str, str],
    ) -> str:
        self._activator.close([plan.key])
        (name,) = plan.functions
        (function,) = (each for each in workflow.spec.functions if each.name == name)
        spec = CommandSpec(
            key=plan.key,
            command=self._commands[name],
            idle_exit=plan.idle_exit,
            warm=plan.warm,
            start_timeout=parse_duration(function.start_timeout),
            concurrency=function.concurrency,
            environment=environment,
            folder=folder,
            log=self._data.log_of(plan.key),
        )
        running = self._command_hosts.get(plan.key)
        if running is not None and running.spec == spec:
            return running.url
        await self._close_command(plan.key)
        host = self._command_hosts[plan.key] = CommandHost(spec, on_line=self._on_line)
        await host.start()
        return host.url

    async def _close_command(self, key: str) -> None:
        host = self._command_hosts.pop(key, None)
        if host is not None:
            await host.stop()
