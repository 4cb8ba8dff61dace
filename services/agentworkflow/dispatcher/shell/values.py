"""Loads the parts of a run that an expression or a view reads, and keeps the recent ones.

A log entry never changes, so what was read once stays right.
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from agentworkflow.runs.events import VALUE_FIELDS
from agentworkflow.runs.model import Run
from agentworkflow.runs.reading import EntryField, fields_of_part, value_of_part
from agentworkflow.runs.values import INLINE_LIMIT, Blob, Inline, OutputOf, decode_value
from agentworkflow.runs.view import RESULT, Large
from agentworkflow.workflow.parts import Part

_KEPT_BYTES: Final = 16 * 1024 * 1024
"""Size, as JSON, of the values kept in memory."""

_PLAIN: Final = frozenset({"problem"})
_FIELDS: Final = (*VALUE_FIELDS, *_PLAIN)


class LogReader(Protocol):
    """Where log entries and blobs are kept."""

    async def read_entries(self, run: str, numbers: Iterable[int]) -> dict[int, str]:
        """Entries by number; a number that is not there is left out."""
        ...

    async def get_blob(self, run: str, digest: str) -> bytes | None:
        """A value that is kept beside the log."""
        ...


class Loader:
    """Reads parts of runs through a bounded cache."""

    def __init__(self, store: LogReader) -> None:
        self._store = store
        self._cache: OrderedDict[tuple[str, EntryField], tuple[Any, int]] = OrderedDict()
        self._bytes = 0

    def remember(self, run: str, fresh: Mapping[EntryField, Any], sizes: Sequence[int]) -> None:
        """Keep values that were just written, so that nobody reads them back.

        Args:
            run: the run id.
            fresh: the values by entry and field.
            sizes: of each, as JSON, in bytes.
        """
        for (field, value), size in zip(fresh.items(), sizes, strict=True):
            if not isinstance(value, Blob):
                self._keep(run, field, value, size)

    async def load(
        self, run: Run, parts: Iterable[Part], fresh: Mapping[EntryField, Any] | None = None
    ) -> dict[Part, Any]:
        """The values of parts, large ones included.

        Args:
            run: the run, perhaps with events that are not stored yet.
            parts: what to load.
            fresh: the values of those events; what is kept beside the log as its `Blob`.
        """
        wanted = {part: fields_of_part(run, part) for part in parts}
        fields = {f for found in wanted.values() for f in found}
        known = {f: value for f, value in (fresh or {}).items() if f in fields}
        beside = {f: value for f, value in known.items() if isinstance(value, Blob)}
        read = known | await self._read(run.id, fields - known.keys())
        read |= await self._blobs(run.id, beside)
        return {part: value_of_part(run, part, read) for part in wanted}

    async def load_small(self, run: Run, parts: Iterable[Part]) -> dict[Part, Any]:
        """The values of parts; `Large` for one of which some is kept beside the log."""
        wanted = {part: fields_of_part(run, part) for part in parts}
        if run.output_entry is not None and not isinstance(run.output, OutputOf):
            wanted[RESULT] = ((run.output_entry, "output"),)
        fields = {f for found in wanted.values() for f in found}
        read = await self._read(run.id, fields, blobs=False)
        shown: dict[Part, Any] = {}
        for part, found in wanted.items():
            beside = [value.size for f in found if isinstance(value := read.get(f), Blob)]
            if beside:
                shown[part] = Large(sum(beside))
                continue
            shown[part] = read.get(found[0]) if part == RESULT else value_of_part(run, part, read)
        return shown

    async def result(self, run: Run) -> Any:
        """The result of a run that succeeded; None if it has none."""
        if isinstance(run.output, OutputOf):
            part = Part("output", run.output.step)
            return (await self.load(run, [part]))[part]
        if run.output_entry is None:
            return None
        field = (run.output_entry, "output")
        return (await self._read(run.id, {field})).get(field)

    async def _read(
        self, run: str, fields: set[EntryField], *, blobs: bool = True
    ) -> dict[EntryField, Any]:
        found: dict[EntryField, Any] = {}
        if not fields:
            return found
        missing: set[int] = set()
        for field in fields:
            known = self._cache.get((run, field))
            if known is None or (known[1] > INLINE_LIMIT and not blobs):
                missing.add(field[0])
            else:
                self._cache.move_to_end((run, field))
                found[field] = known[0]
        large: dict[EntryField, Blob] = {}
        for number, text in (await self._store.read_entries(run, sorted(missing))).items():
            record = json.loads(text)
            for name in _FIELDS:
                field = (number, name)
                if name not in record or field not in fields:
                    continue
                value = Inline(record[name]) if name in _PLAIN else decode_value(record[name])
                if isinstance(value, Inline):
                    found[field] = value.value
                    self._keep(run, field, value.value, len(text))
                elif isinstance(value, Blob):
                    large[field] = value
                # Anything else is a reference: the part that it names is read instead.
        return found | (await self._blobs(run, large) if blobs else large)

    async def _blobs(self, run: str, large: Mapping[EntryField, Blob]) -> dict[EntryField, Any]:
        bodies = await asyncio.gather(*(self._blob(run, f, b) for f, b in large.items()))
        return dict(zip(large, bodies, strict=True))

    async def _blob(self, run: str, field: EntryField, blob: Blob) -> Any:
        body = await self._store.get_blob(run, blob.digest)
        if body is None:
            message = f"run {run} names the value {blob.digest}, which the store does not have"
            raise LookupError(message)
        value = json.loads(body)
        self._keep(run, field, value, blob.size)
        return value

    def _keep(self, run: str, field: EntryField, value: Any, size: int) -> None:
        key = (run, field)
        if key in self._cache:
            self._cache.move_to_end(key)
            return
        self._cache[key] = (value, size)
        self._bytes += size
        while self._bytes > _KEPT_BYTES and self._cache:
            _, (_, dropped) = self._cache.popitem(last=False)
            self._bytes -= dropped
