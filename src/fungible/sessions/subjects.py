"""The index of a subject's sessions: for lists of devices, and for signing out everywhere."""

from bisect import bisect
from collections.abc import Callable
from typing import Final

from fungible.stores.contract import Record, Store
from fungible.stores.indexing import SubjectIndex

MANY: Final = 200
"""From so many sessions of one subject on it is seen to that the index does not only grow."""
LOOKED_AT: Final = 8


class SessionIndex:
    """The handles of each subject's sessions."""

    def __init__(self, store: Store, *, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        self._index = SubjectIndex(store, prefix="subject", person=b"fungible-subject")
        self.remove = self._index.remove

    async def add(self, subject: str, handle: str, *, ends_at: float) -> None:
        """Adds a session, and drops those that have ended by themselves."""

        async def idled_out(record: Record, _alive: list[str]) -> set[str]:
            return await self._idled_out(record, handle)

        await self._index.add(subject, handle, ends_at=ends_at, now=self._now(), prune=idled_out)

    async def handles(self, subject: str) -> list[str]:
        """The handles of the sessions that may be alive."""
        return await self._index.names(subject, now=self._now())

    async def _idled_out(self, record: Record, handle: str) -> set[str]:
        """A few of those that nobody has signed out of, and that have ended: else they would stay for months.

        Only where there are many: such is the subject of a script that signs in every minute. Handles are digests, so
        that those next to a new one are any.
        """
        if len(record.fields) < MANY:
            return set()
        names = sorted(record.fields)
        start = bisect(names, handle)
        return {
            name
            for name in [*names, *names][start : start + LOOKED_AT]
            if await self._store.get(f"session:{name}") is None
        }
