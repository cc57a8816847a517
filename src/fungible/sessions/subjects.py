"""The index of a subject's sessions: for lists of devices, for signing out everywhere, and for a bound on their number."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from fungible.core.codec import UndecodableError, decode
from fungible.sessions.contract import SessionInfo
from fungible.sessions.state import ENDED, META, NEXT, decode_meta, is_readable, key_of, name_of
from fungible.stores.contract import Record, Store
from fungible.stores.indexing import SubjectIndex

AT_ONCE: Final = 8
"""So many are looked at, or ended, by one sign-in at most: what it costs does not depend on what is there."""

End = Callable[[str], Awaitable[None]]


class SessionIndex:
    """The handles of each subject's sessions.

    Args:
        most: So many of one subject are listed at most.
        end: Ends one for which there is no more room: before it is dropped, since one that is alive and not listed could
            not be signed out any more.
    """

    def __init__(self, store: Store, *, most: int, now: Callable[[], float], end: End) -> None:
        self._store = store
        self._most = most
        self._now = now
        self._end = end
        self._index = SubjectIndex(store, prefix="subject", person=b"fungible-subject")
        self.remove = self._index.remove

    async def add(self, subject: str, handle: str, *, ends_at: float, instead_of: str | None = None) -> None:
        """Adds a session, drops those that have ended by themselves, and ends the oldest where there are too many.

        Args:
            instead_of: Another one's handle that is about to be removed: it needs no room.
        """

        async def make_room(_record: Record, alive: list[str]) -> list[str]:
            others = [name for name in alive if name not in (handle, instead_of)]
            over = len(others) + 1 - self._most
            if over <= 0:
                return []
            # Those first that nobody has used for the idle timeout: the index knows the absolute one alone.
            oldest = others[:AT_ONCE]
            gone = [name for name in oldest if await self._store.get(key_of(name)) is None]
            for name in [name for name in oldest if name not in gone][: max(0, over - len(gone))]:
                await self._end(name)
                gone.append(name)
            return gone

        await self._index.add(subject, handle, ends_at=ends_at, now=self._now(), prune=make_room)

    async def handles(self, subject: str) -> list[str]:
        """The handles of the sessions that may be alive."""
        return await self._index.names(subject, now=self._now())

    async def infos(self, subject: str, *, current: str | None) -> list[SessionInfo]:
        """The sessions that are alive, the newest first."""
        found: list[SessionInfo] = []
        for handle in await self.handles(subject):
            record = await self._store.get(key_of(handle))
            if record is None or NEXT in record.fields or ENDED in record.fields:
                continue
            if not is_readable(record.fields.get(META)):
                continue
            found.append(
                SessionInfo(
                    handle=handle,
                    created_at=decode_meta(record.fields[META]).created_at,
                    expires_at=record.expires_at,
                    current=handle == current,
                    values=values_of(record),
                )
            )
        return sorted(found, key=lambda info: info.created_at, reverse=True)


def values_of(record: Record) -> dict[str, Any]:
    """The values in a session's record."""
    values: dict[str, Any] = {}
    for field, data in record.fields.items():
        name = name_of(field)
        if name is not None:
            try:
                values[name] = decode(data)
            except UndecodableError:
                continue
    return values
