"""Records in this process's memory: for tests, and for one instance."""

import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable

from fungible.core.urls import HomeURL
from fungible.stores.contract import (
    ABSENT,
    ANY,
    Changes,
    Expect,
    Fields,
    Guarantees,
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
from fungible.stores.errors import ConflictError, GoneError, InvalidRecordError

SWEEP_EVERY = 256
"""Writes between two sweeps of what has expired."""


class MemoryStore:
    """Records in a dict: gone when the process ends, unseen by other instances.

    Nothing here awaits between reading and writing, which makes each verb atomic on one event loop; a lock makes it so
    for the loops of other threads, such as that of callers without one.

    Args:
        now: The clock, in Unix seconds: a test turns its own.
    """

    guarantees = Guarantees(reach=Reach.PROCESS, survives=Survives.NOTHING)
    home = "memory:"

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._records: dict[str, Record] = {}
        self._tombstones: dict[str, float] = {}
        self._rates: dict[str, int] = {}
        self._feeds: dict[str, deque[tuple[int, float, bytes]]] = {}
        self._appended = 0
        self._writes = 0
        self._lock = threading.Lock()

    @classmethod
    def from_url(cls, url: HomeURL, *, timeout_s: float) -> "MemoryStore":
        """The store that `memory:` names: a new one each time."""
        url.refuse_options_but("timeout_s")
        return cls()

    async def get(self, key: str) -> Record | None:
        """The live record, or None."""
        check_name(key)
        return self._live(key)

    async def put(self, key: str, fields: Fields, *, ttl_s: float, expect: Expect | Record = ANY) -> Record:
        """Writes the whole record."""
        check_name(key)
        check_ttl(ttl_s)
        check_fields(key, fields, max_bytes=self.guarantees.max_record_bytes)
        with self._lock:
            self._sweep()
            current = self._live(key)
            if self._tombstones.get(key, 0) > self._now():
                raise GoneError(key=key)
            if expect is ABSENT and current is not None:
                raise ConflictError(current=current)
            if isinstance(expect, Record):
                if current is None or current.incarnation != expect.incarnation:
                    raise GoneError(key=key)
                if current.fields != expect.fields:
                    raise ConflictError(current=current)
            incarnation = os.urandom(8) if current is None else current.incarnation
            record = self._records[key] = Record(key, dict(fields), self._now() + ttl_s, incarnation)
            return record

    async def change(self, record: Record, changes: Changes, *, ttl_s: float | None = None) -> Record:
        """Sets and removes fields."""
        check_name(record.key)
        if ttl_s is not None:
            check_ttl(ttl_s)
        check_fields(record.key, changes, max_bytes=self.guarantees.max_record_bytes)
        with self._lock:
            current = self._live(record.key)
            if current is None or current.incarnation != record.incarnation:
                raise GoneError(key=record.key)
            # Only the named fields must stand as they were read: another instance may have
            # changed the others, and neither of the two may lose by it.
            if conflicting(record, current, changes):
                raise ConflictError(current=current)
            expires_at = current.expires_at if ttl_s is None else max(current.expires_at, self._now() + ttl_s)
            changed = current.changed(changes, expires_at=expires_at)
            # What others have added since it was read counts, too.
            check_fields(record.key, changed.fields, max_bytes=self.guarantees.max_record_bytes)
            self._records[record.key] = changed
            return record.changed(changes, expires_at=expires_at)

    async def delete(self, key: str, *, tombstone_s: float = 0) -> None:
        """Deletes the record, and holds its key."""
        check_name(key)
        if tombstone_s:
            check_ttl(tombstone_s)
        with self._lock:
            self._sweep()
            self._records.pop(key, None)
            if tombstone_s:
                self._tombstones[key] = max(self._tombstones.get(key, 0), self._now() + tombstone_s)

    async def touch(self, key: str, *, ttl_s: float) -> float | None:
        """Extends the record's life."""
        check_name(key)
        check_ttl(ttl_s)
        with self._lock:
            current = self._live(key)
            if current is None:
                return None
            expires_at = max(current.expires_at, self._now() + ttl_s)
            self._records[key] = current.changed({}, expires_at=expires_at)
            return expires_at

    async def take(self, key: str, rate: Rate, *, cost: int = 1) -> Taken:
        """Takes from a rate."""
        check_name(key)
        check_cost(cost)
        with self._lock:
            self._sweep()
            tat_us, taken = gcra(self._rates.get(key, 0), math.floor(self._now() * 1e6), rate, cost)
            self._rates[key] = tat_us
            return taken

    async def append(self, topic: str, item: bytes, *, ttl_s: float) -> None:
        """Adds an item to a feed."""
        check_name(topic, "topic")
        check_ttl(ttl_s)
        check_fields(topic, {"item": item}, max_bytes=self.guarantees.max_record_bytes)
        with self._lock:
            self._sweep()
            self._appended += 1
            self._feeds.setdefault(topic, deque()).append((self._appended, self._now() + ttl_s, item))

    async def since(self, topic: str, cursor: str | None = None) -> Page:
        """The live items after the cursor."""
        check_name(topic, "topic")
        if cursor is not None and not (cursor.isascii() and cursor.isdecimal()):
            raise InvalidRecordError(f"this cursor is from no page of this store: {cursor!r}")
        with self._lock:
            seen, now = int(cursor or 0), self._now()
            items = tuple(item for number, until, item in self._feeds.get(topic, ()) if number > seen and until > now)
            return Page(items, str(self._appended))

    async def ping(self) -> None:
        """Does nothing: memory is always there."""

    async def aclose(self) -> None:
        """Does nothing: the records stay as long as the store does."""

    def _live(self, key: str) -> Record | None:
        record = self._records.get(key)
        return record if record is not None and record.expires_at > self._now() else None

    def _sweep(self) -> None:
        """Forgets what has expired, once in a while: otherwise a process that runs for long would only grow."""
        self._writes += 1
        if self._writes % SWEEP_EVERY:
            return
        now = self._now()
        self._records = {key: record for key, record in self._records.items() if record.expires_at > now}
        self._tombstones = {key: until for key, until in self._tombstones.items() if until > now}
        self._rates = {key: tat for key, tat in self._rates.items() if tat > now * 1e6}
        feeds = {topic: deque(item for item in items if item[1] > now) for topic, items in self._feeds.items()}
        self._feeds = {topic: items for topic, items in feeds.items() if items}
