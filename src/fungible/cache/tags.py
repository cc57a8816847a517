"""Tags of values: each has a version in the store, and a value is good for as long as its tags' versions stand.

Deleting a version's record therefore ends all values with the tag, however many there are, for all instances at once,
and those too that are being computed: they carry the version from before. A version that is lost, as Memcached may lose
it, ends them as well. It costs a hit one more command for each tag, sent together with that for the value.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Final

from fungible.cache.entries import name_of
from fungible.stores.contract import ABSENT, Record, Store
from fungible.stores.errors import ConflictError

VERSION: Final = "n"
AT_LEAST_S: Final = 86_400.0
"""A version lives so long, and longer where values with it do: so that few values need to extend it."""

Versions = tuple[tuple[str, bytes], ...]
"""Of each tag the name of its record, and what that has."""


class Tags:
    """The versions of the tags of one cache."""

    def __init__(self, store: Store, prefix: str, *, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        self._space = f"{prefix}:t"

    def name(self, tag: str) -> str:
        """The record that has its version."""
        return name_of(self._space, tag)

    async def read_with(self, name: str, tags: Sequence[str]) -> tuple[Record | None, Versions]:
        """A value's record, and the versions of its tags: asked for at once. A tag without a version has the empty one."""
        names = [self.name(tag) for tag in tags]
        record, *versions = await asyncio.gather(self._store.get(name), *map(self._store.get, names))
        return record, tuple((each, _version(found)) for each, found in zip(names, versions, strict=True))

    async def ensure(self, tags: Sequence[str], *, life_s: float) -> Versions:
        """The versions of the tags, made where there were none; each outlives a value that lives for `life_s`.

        To be called before a value is computed: a tag that is invalidated later has another version then.
        """
        return tuple(await asyncio.gather(*(self._one(tag, life_s) for tag in tags)))

    async def _one(self, tag: str, life_s: float) -> tuple[str, bytes]:
        name = self.name(tag)
        found = await self._store.get(name)
        if found is None:
            try:
                found = await self._store.put(
                    name, {VERSION: os.urandom(8)}, ttl_s=max(AT_LEAST_S, 2 * life_s), expect=ABSENT
                )
            except ConflictError as first:
                found = first.current
        elif found.expires_at - self._now() < life_s:
            # Where this clock is wrong a version may end too early, and its values with it: never too late.
            await self._store.touch(name, ttl_s=max(AT_LEAST_S, 2 * life_s))
        return name, _version(found)


def _version(record: Record | None) -> bytes:
    return b"" if record is None else record.fields.get(VERSION, b"")
