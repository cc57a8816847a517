"""The index of a subject's families: for signing out everywhere, and for a bound on their number."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from fungible.stores.contract import Record, Store
from fungible.stores.indexing import SubjectIndex

End = Callable[[Sequence[str]], Awaitable[None]]


class FamilyIndex:
    """The IDs of each subject's families.

    Args:
        most: So many families of one subject are listed at most.
    """

    def __init__(self, store: Store, *, most: int) -> None:
        self._most = most
        self._index = SubjectIndex(store, prefix="refresh-subject", person=b"fungible-grantee")
        self.remove = self._index.remove

    async def add(self, subject: str, family: str, *, ends_at: float, now: float, end: End) -> None:
        """Adds a family, and drops those that are over.

        Args:
            end: Ends those for which there is no more room: before they are dropped, since one that is alive and not
                listed could not be signed out any more.
        """

        async def make_room(_record: Record, alive: list[str]) -> list[str]:
            over = alive[: max(0, len(alive) + 1 - self._most)]
            if over:
                await end(over)
            return over

        await self._index.add(subject, family, ends_at=ends_at, now=now, prune=make_room)

    async def families(self, subject: str) -> list[str]:
        """The families that may be alive, by whatever clock."""
        return await self._index.names(subject, now=0)
