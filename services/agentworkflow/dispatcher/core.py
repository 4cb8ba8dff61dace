"""One dispatcher without its doors: the fold's shell, the sweep, and what they work with.

The API and the event port are built on the `Services` that it gives.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

from agentworkflow.dispatcher.catalog import RegistryCatalog
from agentworkflow.dispatcher.dead_letters import StoredDeadLetters
from agentworkflow.dispatcher.metrics import Metrics
from agentworkflow.dispatcher.shell.acts import Acts
from agentworkflow.dispatcher.shell.calls import Calls
from agentworkflow.dispatcher.shell.definitions import Definitions
from agentworkflow.dispatcher.shell.folding import Folder
from agentworkflow.dispatcher.shell.publications import Publications
from agentworkflow.dispatcher.shell.service import Runs
from agentworkflow.dispatcher.shell.starts import Starts
from agentworkflow.dispatcher.shell.sweep import Sweep
from agentworkflow.dispatcher.shell.values import Loader
from agentworkflow.store import Store


@dataclass(frozen=True, slots=True)
class Core:
    """The parts of a running dispatcher.

    Attributes:
        store: all state.
        catalog: what is published.
        dead_letters: what could not be delivered.
        metrics: of this dispatcher.
        runs: the service around the fold.
    """

    store: Store
    catalog: RegistryCatalog
    dead_letters: StoredDeadLetters
    metrics: Metrics
    runs: Runs
    _folder: Folder
    _calls: Calls
    _publications: Publications
    _sweep: Sweep
    _acts: Acts

    @classmethod
    def build(cls, store: Store, *, broker_url: str | None = None) -> Self:
        """Put the parts together.

        Args:
            store: all state; whoever connected it closes it.
            broker_url: where Brokers are that no workflow names, with `{namespace}` and
                `{broker}` in it.
        """
        metrics = Metrics()
        definitions = Definitions(store)
        loader = Loader(store)
        folder = Folder(store, definitions, loader, metrics)
        catalog = RegistryCatalog(store)
        letters = StoredDeadLetters(store)
        calls = Calls(store, folder, loader, catalog, metrics)
        publications = Publications(store, folder, loader, catalog, letters, metrics, broker_url)
        acts = Acts(store, folder, calls, publications)
        sweep = Sweep(store, metrics, acts.act, calls.abandon, folder.give_up)
        folder.committer = sweep
        starts = Starts(store, folder, definitions, catalog)
        runs = Runs(store, folder, loader, starts, sweep)
        return cls(
            store,
            catalog,
            letters,
            metrics,
            runs,
            folder,
            calls,
            publications,
            sweep,
            acts,
        )

    def push_with(self, push: Callable[[str], Awaitable[float | None]]) -> None:
        """Deliver webhooks with `push`; until then they stay due."""
        self._acts.push = push

    async def start(self, *, sweep: bool = True) -> None:
        """Read the registry and begin to act on what is due.

        Args:
            sweep: False for a dispatcher that only accepts.
        """
        await self.catalog.start()
        if sweep:
            self._sweep.start()

    async def aclose(self) -> None:
        """Give up what is held, and let what is being committed end."""
        await self._sweep.aclose()
        await self._folder.aclose()
        await self._calls.aclose()
        await self._publications.aclose()
        await self.catalog.aclose()
