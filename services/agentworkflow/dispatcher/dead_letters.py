"""Dead letters, kept in the store as JSON until someone sends them again or drops them."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from agentworkflow.dispatcher.ports import DeadLetter, Unavailable, UnknownDeadLetter
from agentworkflow.store import BadCursor, Store, StoreUnavailable


class StoredDeadLetters:
    """The dead letters of a store. Implements `ports.DeadLetters`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def add(self, letter: DeadLetter) -> None:
        """Keep one; the same id twice is one letter. Raises: Unavailable."""
        body = json.dumps(asdict(letter), ensure_ascii=False, separators=(",", ":"))
        try:
            await self._store.add_dead_letter(letter.namespace, letter.id, body, letter.created_ms)
        except StoreUnavailable as error:
            raise Unavailable(str(error)) from error

    async def listing(
        self, namespace: str, *, limit: int, cursor: str | None
    ) -> tuple[Sequence[DeadLetter], str | None]:
        """One page, newest first, and the next cursor.

        Raises:
            ValueError: the cursor is none of ours.
            Unavailable: the store does not answer.
        """
        try:
            page = await self._store.list_dead_letters(namespace, limit=limit, cursor=cursor)
        except BadCursor as error:
            raise ValueError(str(error)) from error
        except StoreUnavailable as error:
            raise Unavailable(str(error)) from error
        return [_read(body) for body in page.letters.values()], page.cursor

    async def get(self, namespace: str, letter: str) -> DeadLetter:
        """One letter. Raises: UnknownDeadLetter, Unavailable."""
        try:
            body = await self._store.get_dead_letter(namespace, letter)
        except StoreUnavailable as error:
            raise Unavailable(str(error)) from error
        if body is None:
            raise _unknown(namespace, letter)
        return _read(body)

    async def remove(self, namespace: str, letter: str) -> None:
        """Drop one. Raises: UnknownDeadLetter, Unavailable."""
        try:
            found = await self._store.remove_dead_letter(namespace, letter)
        except StoreUnavailable as error:
            raise Unavailable(str(error)) from error
        if not found:
            raise _unknown(namespace, letter)


def _read(body: str) -> DeadLetter:
    return DeadLetter(**json.loads(body))


def _unknown(namespace: str, letter: str) -> UnknownDeadLetter:
    return UnknownDeadLetter(f"There is no dead letter {letter} in namespace {namespace}.")
