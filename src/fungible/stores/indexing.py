"""What a subject has - sessions, refresh families - in one record: for lists, and for ending all of it."""

import hashlib
import math
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import msgspec

from fungible.core.sealing import to_base64url
from fungible.stores.contract import ABSENT, REMOVED, Changes, Record, Store
from fungible.stores.errors import ConflictError, GoneError, StoreError

Prune = Callable[[Record, list[str]], Awaitable[Iterable[str]]]
"""Takes an index's record and the names in it that are alive, those that end first before others; gives which go."""
encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(float).decode


class SubjectIndex:
    """One record for each subject, with a field for each of what it has: its name, and when it ends at the latest.

    Args:
        prefix: Begins the records' keys: `subject`.
        person: At most 16 bytes, which keep the digests of one index apart from another's.
    """

    def __init__(self, store: Store, *, prefix: str, person: bytes) -> None:
        self._store = store
        self._prefix = prefix
        self._person = person

    async def add(self, subject: str, name: str, *, ends_at: float, now: float, prune: Prune) -> None:
        """Adds a name, and drops those that are past, and what `prune` gives. Times in Unix seconds."""
        entry = {name: encode(ends_at)}
        ttl_s = max(1.0, ends_at - now)
        while True:
            try:
                await self._store.put(self._key(subject), entry, ttl_s=ttl_s, expect=ABSENT)
                return
            except ConflictError as conflict:
                standing = conflict.current
            live = alive(standing, now)
            gone = {*(standing.fields.keys() - set(live)), *await prune(standing, live)}
            changes: Changes = {**dict.fromkeys(gone, REMOVED), **entry}
            try:
                await self._store.change(standing, changes, ttl_s=ttl_s)
                return
            except (ConflictError, GoneError):
                continue

    async def remove(self, subject: str, *names: str) -> None:
        """Drops names of what was ended, if that can be done.

        A store that is full may not take even this. What is over is over: its name goes when it is past, or to make room.
        """
        while names:
            try:
                record = await self._store.get(self._key(subject))
                here = [name for name in names if record is not None and name in record.fields]
                if record is not None and here:
                    await self._store.change(record, dict.fromkeys(here, REMOVED))
            except ConflictError:
                continue
            except StoreError:
                return
            return

    async def names(self, subject: str, *, now: float) -> list[str]:
        """The names of what may be alive."""
        record = await self._store.get(self._key(subject))
        return [] if record is None else alive(record, now)

    def _key(self, subject: str) -> str:
        # A digest, because a subject may be of any length and hold any character.
        digest = hashlib.blake2b(subject.encode(), digest_size=32, person=self._person).digest()
        return f"{self._prefix}:{to_base64url(digest)}"


def alive(record: Record, now: float) -> list[str]:
    """The names that are not past, those that end first before others."""
    ends = sorted((_ends_at(value), name) for name, value in record.fields.items())
    return [name for ends_at, name in ends if ends_at > now]


def _ends_at(value: bytes) -> float:
    try:
        return _decode(value)
    except msgspec.DecodeError:
        # Of a later release. Taken for alive, so that whoever ends all of it ends this, too.
        return math.inf
