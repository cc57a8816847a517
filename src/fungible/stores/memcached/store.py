"""Records in Memcached."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from typing import Final

from fungible.core.urls import HomeURL
from fungible.stores.contract import (
    ABSENT,
    ANY,
    Changes,
    Expect,
    Fields,
    Guarantees,
    Lack,
    Page,
    Rate,
    Reach,
    Record,
    Survives,
    Taken,
    check_cost,
    check_fields,
    check_name,
    check_ttl,
    conflicting,
    gcra,
)
from fungible.stores.errors import ConflictError, GoneError
from fungible.stores.memcached.feeds import Feeds
from fungible.stores.memcached.servers import Settings, parse_settings
from fungible.stores.memcached.updating import Items, Write
from fungible.stores.memcached.values import (
    RATE,
    RECORD,
    KeptRate,
    KeptRecord,
    decoded,
    encoded,
    exptime,
    is_buried,
    live_record,
    name_of,
)

MAX_RECORD_BYTES: Final = 1_000_000


class MemcachedStore:
    """Records in Memcached, one item each: seen by all instances, lost when a server restarts or needs the memory.

    A read is one round trip. A write is two, a read and a compare-and-set, and two more each time when another instance
    was first. A feed is an item with what was appended last, and one more for each megabyte that is older and still live.
    Expiry and rates go by the instances' own clocks. A server that is away makes its keys unavailable; others never stand
    in for it.
    """

    guarantees = Guarantees(
        reach=Reach.FLEET,
        survives=Survives.PROCESS,
        max_record_bytes=MAX_RECORD_BYTES,
        lacks=frozenset({Lack.EVICTS, Lack.RESTART, Lack.COMMON_CLOCK}),
    )

    def __init__(self, settings: Settings, *, now: Callable[[], float] = time.time) -> None:
        self._items = Items(settings)
        self._feeds = Feeds(self._items, now=now)
        self._now = now
        self.home = settings.home

    @classmethod
    def from_url(cls, url: HomeURL, *, timeout_s: float) -> MemcachedStore:
        """The store at `memcached://host:port,host:port`; all instances must name the same hosts, in any order."""
        return cls(parse_settings(url, timeout_s=timeout_s))

    async def get(self, key: str) -> Record | None:
        """The live record, or None."""
        check_name(key)
        value = await self._items.read(name_of(RECORD, key))
        return live_record(decoded(value, key, KeptRecord), self._now())

    async def put(self, key: str, fields: Fields, *, ttl_s: float, expect: Expect | Record = ANY) -> Record:
        """Writes the whole record."""
        check_name(key)
        check_ttl(ttl_s)
        check_fields(key, fields, max_bytes=self.guarantees.max_record_bytes)
        drawn = os.urandom(8)

        def put(kept: KeptRecord | None, now: float) -> Record:
            if is_buried(kept, now):
                raise GoneError(key=key)
            current = live_record(kept, now)
            if expect is ABSENT and current is not None:
                raise ConflictError(current=current)
            if isinstance(expect, Record):
                if current is None or current.incarnation != expect.incarnation:
                    raise GoneError(key=key)
                if current.fields != expect.fields:
                    raise ConflictError(current=current)
            return Record(key, dict(fields), now + ttl_s, drawn if current is None else current.incarnation)

        return await self._update(key, put)

    async def change(self, record: Record, changes: Changes, *, ttl_s: float | None = None) -> Record:
        """Sets and removes fields."""
        check_name(record.key)
        if ttl_s is not None:
            check_ttl(ttl_s)
        max_bytes = self.guarantees.max_record_bytes
        check_fields(record.key, changes, max_bytes=max_bytes)

        def change(kept: KeptRecord | None, now: float) -> Record:
            current = live_record(kept, now)
            if current is None or current.incarnation != record.incarnation:
                raise GoneError(key=record.key)
            if conflicting(record, current, changes):
                raise ConflictError(current=current)
            later = current.expires_at if ttl_s is None else max(current.expires_at, now + ttl_s)
            changed = current.changed(changes, expires_at=later)
            check_fields(record.key, changed.fields, max_bytes=max_bytes)
            return changed

        changed = await self._update(record.key, change)
        return record.changed(changes, expires_at=changed.expires_at)

    async def delete(self, key: str, *, tombstone_s: float = 0) -> None:
        """Deletes the record, and holds its key."""
        check_name(key)
        if tombstone_s:
            check_ttl(tombstone_s)

        def delete(value: bytes | None) -> Write | None:
            kept, now = decoded(value, key, KeptRecord), self._now()
            until = now + tombstone_s
            buried = kept is not None and is_buried(kept, now) and kept.expires_at >= until
            if buried or (value is None and not tombstone_s):
                return None
            # Without a tombstone to keep it is written as one that has ended: a plain delete might hit somebody else's.
            return Write(encoded(KeptRecord(key, b"", until, None)), exptime(until, now))

        await self._items.update(key, name_of(RECORD, key), delete)

    async def touch(self, key: str, *, ttl_s: float) -> float | None:
        """Extends the record's life."""
        check_name(key)
        check_ttl(ttl_s)
        expires_at: float | None = None

        def touch(value: bytes | None) -> Write | None:
            nonlocal expires_at
            now = self._now()
            current = live_record(decoded(value, key, KeptRecord), now)
            expires_at = None if current is None else max(current.expires_at, now + ttl_s)
            if current is None or expires_at is None or expires_at == current.expires_at:
                return None
            return _record(current.changed({}, expires_at=expires_at), now)

        await self._items.update(key, name_of(RECORD, key), touch)
        return expires_at

    async def take(self, key: str, rate: Rate, *, cost: int = 1) -> Taken:
        """Takes from a rate."""
        check_name(key)
        check_cost(cost)
        taken: list[Taken] = []

        def take(value: bytes | None) -> Write | None:
            now = self._now()
            kept = decoded(value, key, KeptRate)
            tat_us, answer = gcra(0 if kept is None else kept.tat_us, math.floor(now * 1e6), rate, cost)
            taken[:] = [answer]
            # What was refused has taken nothing.
            return Write(encoded(KeptRate(key, tat_us)), exptime(tat_us / 1e6, now)) if answer.allowed else None

        await self._items.update(key, name_of(RATE, key), take)
        return taken[0]

    async def append(self, topic: str, item: bytes, *, ttl_s: float) -> None:
        """Adds an item to a feed."""
        check_name(topic, "topic")
        check_ttl(ttl_s)
        check_fields(topic, {"item": item}, max_bytes=self.guarantees.max_record_bytes)
        await self._feeds.append(topic, item, ttl_s=ttl_s)

    async def since(self, topic: str, cursor: str | None = None) -> Page:
        """The live items after the cursor."""
        check_name(topic, "topic")
        return await self._feeds.since(topic, cursor)

    async def ping(self) -> None:
        """Raises an error unless all servers are there."""
        await self._items.ping()

    async def aclose(self) -> None:
        """Closes the connections of this event loop."""
        await self._items.aclose()

    async def _update(self, key: str, decide: Callable[[KeptRecord | None, float], Record]) -> Record:
        written: list[Record] = []

        def write(value: bytes | None) -> Write:
            now = self._now()
            written[:] = [decide(decoded(value, key, KeptRecord), now)]
            return _record(written[0], now)

        await self._items.update(key, name_of(RECORD, key), write)
        return written[0]


def _record(record: Record, now: float) -> Write:
    kept = KeptRecord(record.key, record.incarnation, record.expires_at, dict(record.fields))
    return Write(encoded(kept), exptime(record.expires_at, now))
