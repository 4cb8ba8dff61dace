"""Compiled definitions by digest: what running runs are pinned to.

A run keeps the definition it started with, whatever is published since.
"""

import json
from collections import OrderedDict
from typing import Final, Protocol

from agentworkflow.workflow.definition import Definition, compile_resource

_KEPT: Final = 500
"""Definitions in memory; an older one is compiled again when it is asked for."""


class DefinitionStore(Protocol):
    """Where definitions are kept."""

    async def get_definition(self, shard: int, digest: str) -> str | None:
        """The resource as JSON, or None."""
        ...


class Definitions:
    """A bounded cache of compiled definitions in front of the store."""

    def __init__(self, store: DefinitionStore) -> None:
        self._store = store
        self._compiled: OrderedDict[str, Definition] = OrderedDict()

    def remember(self, definition: Definition) -> None:
        """Keep a definition that is in hand, so that its first run costs no reading."""
        self._compiled[definition.digest] = definition
        self._compiled.move_to_end(definition.digest)
        while len(self._compiled) > _KEPT:
            self._compiled.popitem(last=False)

    async def get(self, shard: int, digest: str) -> Definition:
        """The definition that a run of the shard is pinned to.

        Raises:
            LookupError: the shard does not have it.
        """
        known = self._compiled.get(digest)
        if known is None:
            text = await self._store.get_definition(shard, digest)
            if text is None:
                message = f"shard {shard} holds runs of definition {digest}, but not the definition"
                raise LookupError(message)
            known = compile_resource(json.loads(text))
        self.remember(known)
        return known
