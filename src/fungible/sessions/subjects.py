"""The index of a subject's sessions: for lists of devices, and for signing out everywhere."""

import hashlib
from bisect import bisect
from collections.abc import Callable
from typing import Final

import msgspec

from fungible.core.sealing import to_base64url
from fungible.sessions.state import encoder
from fungible.stores.contract import ABSENT, REMOVED, Changes, Record, Store
from fungible.stores.errors import ConflictError, GoneError

MANY: Final = 200
"""From so many sessions of one subject on it is seen to that the index does not only grow."""
LOOKED_AT: Final = 8

ends_decoder = msgspec.msgpack.Decoder(float)


class SubjectIndex:
    """One record for each subject, with a field for each of the sessions: its handle, and when it ends at the latest."""

    def __init__(self, store: Store, *, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now

    async def add(self, subject: str, handle: str, *, ends_at: float) -> None:
        """Adds a session, and drops those that have ended by themselves."""
        entry = {handle: encoder.encode(ends_at)}
        ttl_s = max(1.0, ends_at - self._now())
        while True:
            try:
                await self._store.put(_key(subject), entry, ttl_s=ttl_s, expect=ABSENT)
                return
            except ConflictError as conflict:
                standing = conflict.current
            ended = self._past(standing) | await self._idled_out(standing, handle)
            changes: Changes = {**dict.fromkeys(ended, REMOVED), **entry}
            try:
                await self._store.change(standing, changes, ttl_s=ttl_s)
                return
            except (ConflictError, GoneError):
                continue

    async def remove(self, subject: str, *handles: str) -> None:
        """Drops sessions that were ended."""
        while handles:
            record = await self._store.get(_key(subject))
            here = [handle for handle in handles if record is not None and handle in record.fields]
            if record is None or not here:
                return
            try:
                await self._store.change(record, dict.fromkeys(here, REMOVED))
                return
            except ConflictError:
                continue
            except GoneError:
                return

    async def handles(self, subject: str) -> list[str]:
        """The handles of the sessions that may be alive."""
        record = await self._store.get(_key(subject))
        return [] if record is None else [name for name in record.fields if name not in self._past(record)]

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

    def _past(self, record: Record) -> set[str]:
        now = self._now()
        return {name for name, ends_at in record.fields.items() if ends_decoder.decode(ends_at) <= now}


def _key(subject: str) -> str:
    # A digest, because a subject may be of any length and hold any character.
    digest = hashlib.blake2b(subject.encode(), digest_size=32, person=b"fungible-subject").digest()
    return f"subject:{to_base64url(digest)}"
