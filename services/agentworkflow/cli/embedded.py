"""An engine inside this process, as `run` and `dev` use it; its faults become sentences here."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from agentworkflow.cli.checking import LoadedWorkflow
from agentworkflow.cli.client import ApiClient
from agentworkflow.cli.errors import CommandError, Outcome
from agentworkflow.dispatcher.keys import UnsafeAddressError
from agentworkflow.dispatcher.logs import configure_logs
from agentworkflow.dispatcher.settings import Settings as DispatcherSettings
from agentworkflow.engine.data_dir import DataDirError
from agentworkflow.engine.engine import DEFAULT_BROKER, Engine, LocalWorkflow
from agentworkflow.engine.lossy import Lossy
from agentworkflow.engine.rendering import broker_of
from agentworkflow.engine.servers import PortInUse
from agentworkflow.engine.settings import EngineSettings, default_data_dir
from agentworkflow.engine.supervisor import StoreLost
from agentworkflow.engine.valkey import EmbeddedValkeyError
from agentworkflow.engine.workflows import ApplyRefused
from agentworkflow.store import StoreError
from agentworkflow.workflow.models import Route

# What a user did or has: exit code 2. What went wrong on our side: 1.
_USAGE = (DataDirError, PortInUse, UnsafeAddressError, ApplyRefused)
_FAULTS = (EmbeddedValkeyError, StoreError, StoreLost)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """What the command line says about an engine; the defaults are those of `run`.

    Attributes:
        data_dir: None for the one in the user's state directory.
        port: of the API; 0 takes a free one.
        event_port: likewise.
        lossy: the broker loses, doubles and reorders.
        redis_url: a Redis instead of the embedded Valkey.
        secrets: directory with `name/key` files.
        commands: by function, what starts its server.
        webhook_hosts: hosts that are told how runs end; on one machine they may be private.
    """

    data_dir: Path | None = None
    port: int = 0
    event_port: int = 0
    lossy: bool = False
    redis_url: str | None = None
    secrets: Path | None = None
    commands: Mapping[str, str] = field(default_factory=dict)
    webhook_hosts: tuple[str, ...] = ()


class Embedded:
    """An engine of this process. Use it as an async context manager.

    Args:
        options: of the command line.
        on_output: gets each line that a function prints, with its function before it.
    """

    def __init__(self, options: EngineOptions, *, on_output: Callable[[str], None]) -> None:
        self._on_output = on_output
        self._options = options
        self._engine = Engine(
            EngineSettings(
                data_dir=options.data_dir or default_data_dir(),
                redis_url=options.redis_url,
                port=options.port,
                event_port=options.event_port,
                lossy=Lossy() if options.lossy else None,
                secrets_dir=options.secrets,
                commands=options.commands,
                dispatcher=DispatcherSettings(
                    webhook_hosts=options.webhook_hosts,
                    webhook_private_hosts=options.webhook_hosts,
                ),
                on_line=self._on_line,
            )
        )

    async def __aenter__(self) -> Self:
        # Warnings only: what the functions print is what a person came for.
        configure_logs("WARNING", for_people=True)
        with _as_sentences():
            await self._engine.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._engine.stop()

    async def apply(
        self, workflows: Sequence[LoadedWorkflow], *, code_changed: bool = False
    ) -> None:
        """Serve workflows, or serve them as they are now.

        Raises:
            CommandError: one of them cannot be served here.
        """
        local = [LocalWorkflow(each.resource, each.file.resolve().parent) for each in workflows]
        with _as_sentences():
            await self._engine.apply(local, code_changed=code_changed)

    async def reload(self, before: Sequence[LoadedWorkflow], now: Sequence[LoadedWorkflow]) -> None:
        """Serve files that changed: what they hold no more is withdrawn."""
        await self.apply(now, code_changed=True)
        kept = _identities(now)
        for namespace, name in _identities(before) - kept:
            await self._engine.withdraw(namespace, name)

    async def wait_failed(self) -> None:
        """Wait until the engine cannot go on, which raises."""
        with _as_sentences():
            await self._engine.wait_failed()

    def connect(self, namespace: str) -> ApiClient:
        """A client of its API."""
        return ApiClient(self._engine.urls["api"], namespace=namespace)

    def describe(self) -> list[str]:
        """What is served and where, for the terminal."""
        urls = self._engine.urls
        served = [each.resource for each in self._engine.served.values()]
        brokers = sorted({broker_of(each) for each in served}) or [DEFAULT_BROKER]
        lines = [
            f"API      {urls['api']}   (its pages: {urls['api']}/docs)",
            *(f"Events   {urls['broker']}/{broker}" for broker in brokers),
        ]
        if self._options.webhook_hosts:
            secret = self._engine.webhook_secret_file
            lines.append(f"Webhooks {', '.join(self._options.webhook_hosts)}, signed by {secret}")
        for owner, workflow in sorted(self._engine.served.items()):
            namespace, name = owner.split("/", 1)
            lines.append("")
            lines.append(name if namespace == "default" else f"{name} in {namespace}")
            if workflow.resource.spec.steps:
                runs = f"{urls['api']}/v1/namespaces/{namespace}/workflows/{name}/runs"
                lines.append(f"  POST {runs}")
            lines += [
                f"  {route.method} {urls['api']}{route.path}"
                + (f"   (Host: {route.host})" if route.host else "")
                + self._taken(owner, route)
                for route in workflow.resource.spec.routes
            ]
            lines += [f"  event  {trigger.name}" for trigger in workflow.resource.spec.triggers]
        return [*lines, "", "Ready. Ctrl-C stops it; the next start goes on where it was."]

    def _taken(self, owner: str, route: Route) -> str:
        holder = self._engine.holder_of(route)
        if holder in (None, owner):
            return ""
        return f"   (not served: {holder} had it first; choose another path)"

    def _on_line(self, host: str, line: str) -> None:
        # The host's key is <namespace>/<workflow>/<function>; the namespace is said by nobody.
        self._on_output(f"{host.split('/', 1)[1]} | {line}")


def _identities(workflows: Iterable[LoadedWorkflow]) -> set[tuple[str, str]]:
    return {(each.resource.metadata.namespace, each.resource.metadata.name) for each in workflows}


@contextmanager
def _as_sentences() -> Iterator[None]:
    try:
        yield
    except _USAGE as error:
        raise CommandError(_sentence(error)) from error
    except _FAULTS as error:
        raise CommandError(_sentence(error), Outcome.FAILED) from error


def _sentence(error: Exception) -> str:
    # An OSError of ours begins with its number, which is nothing to a reader.
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{text[:1].lower()}{text[1:].rstrip('.')}."
