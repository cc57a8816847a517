"""Records in one SQLite file: for the instances of one machine."""

import asyncio
import os
import time
import weakref
from asyncio import Future
from collections.abc import Callable
from functools import partial
from pathlib import Path
from sqlite3 import Connection
from typing import Final, Literal, TypeVar

from fungible.core.errors import SettingError
from fungible.core.urls import HomeURL
from fungible.stores.contract import (
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
)
from fungible.stores.errors import InvalidRecordError, StoreUnavailableError
from fungible.stores.loops import PerLoop
from fungible.stores.sqlite import statements
from fungible.stores.sqlite.serving import Serving
from fungible.stores.sqlite.worker import Job, Worker, Workers

T = TypeVar("T")
Durability = Literal["normal", "full"]

FULL: Final = Guarantees(reach=Reach.MACHINE, survives=Survives.MACHINE)
NORMAL: Final = Guarantees(reach=Reach.MACHINE, survives=Survives.MACHINE, lacks=frozenset({Lack.RECENT_WRITES}))


class SQLiteStore:
    """Records in one file, which any number of processes of one machine use at once.

    Every store object has one thread, in which all its statements run, and one connection. What is written is in the
    file, whatever becomes of the process. `durability="normal"`: the disk is waited for once a second, so that a
    power cut takes about the last second's writes. `"full"`: every write waits for the disk.

    The file and its tables are made at the first use, and brought to this release where they are older. The file must
    be on a disk of this machine: file systems of the network do not lock as SQLite needs it.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        durability: Durability = "normal",
        timeout_s: float = 2.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        # Absolute from the start: the working directory may change before the first use.
        self._path = os.path.abspath(path)
        self.home = f"sqlite:///{self._path}"
        self.guarantees = FULL if durability == "full" else NORMAL
        self._timeout_s = timeout_s
        self._now = now
        self._workers = Workers(partial(_serve, path=self._path, home=self.home, full=durability == "full", now=now))
        self._loops = PerLoop(asyncio.get_running_loop)
        # Whoever drops the store ends its thread; so does the interpreter's exit.
        weakref.finalize(self, self._workers.abandon)

    @classmethod
    def from_url(cls, url: HomeURL, *, timeout_s: float) -> "SQLiteStore":
        """The store in the file that `sqlite:///relative.db` or `sqlite:////absolute.db` names."""
        url.refuse_options_but("timeout_s", "durability")
        if url.hosts:
            raise SettingError(
                f"{url.redacted} names a host; three slashes begin a relative path, four an absolute one: "
                "sqlite:///relative.db, sqlite:////absolute.db"
            )
        if url.path in {"", ":memory:"}:
            raise SettingError(
                "sqlite: needs the path of a file, such as sqlite:///sessions.db; for no file use memory:"
            )
        full = url.option("durability", "normal", allowed=("normal", "full")) == "full"
        return cls(url.path, durability="full" if full else "normal", timeout_s=timeout_s)

    async def get(self, key: str) -> Record | None:
        """The live record, or None."""
        check_name(key)
        return await self._read(partial(statements.get, key=key))

    async def put(self, key: str, fields: Fields, *, ttl_s: float, expect: Expect | Record = ANY) -> Record:
        """Writes the whole record."""
        check_name(key)
        check_ttl(ttl_s)
        check_fields(key, fields, max_bytes=self.guarantees.max_record_bytes)
        return await self._write(partial(statements.put, key=key, fields=dict(fields), ttl_s=ttl_s, expect=expect))

    async def change(self, record: Record, changes: Changes, *, ttl_s: float | None = None) -> Record:
        """Sets and removes fields."""
        check_name(record.key)
        if ttl_s is not None:
            check_ttl(ttl_s)
        max_bytes = self.guarantees.max_record_bytes
        check_fields(record.key, changes, max_bytes=max_bytes)
        changing = partial(statements.change, record=record, changes=dict(changes), ttl_s=ttl_s, max_bytes=max_bytes)
        return await self._write(changing)

    async def delete(self, key: str, *, tombstone_s: float = 0) -> None:
        """Deletes the record, and holds its key."""
        check_name(key)
        if tombstone_s:
            check_ttl(tombstone_s)
        await self._write(partial(statements.delete, key=key, tombstone_s=tombstone_s))

    async def touch(self, key: str, *, ttl_s: float) -> float | None:
        """Extends the record's life."""
        check_name(key)
        check_ttl(ttl_s)
        return await self._write(partial(statements.touch, key=key, ttl_s=ttl_s))

    async def take(self, key: str, rate: Rate, *, cost: int = 1) -> Taken:
        """Takes from a rate."""
        check_name(key)
        check_cost(cost)
        return await self._write(partial(statements.take, key=key, rate=rate, cost=cost))

    async def append(self, topic: str, item: bytes, *, ttl_s: float) -> None:
        """Adds an item to a feed."""
        check_name(topic, "topic")
        check_ttl(ttl_s)
        check_fields(topic, {"item": item}, max_bytes=self.guarantees.max_record_bytes)
        await self._write(partial(statements.append, topic=topic, item=item, ttl_s=ttl_s))

    async def since(self, topic: str, cursor: str | None = None) -> Page:
        """The live items after the cursor."""
        check_name(topic, "topic")
        if cursor is not None and not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 19):
            raise InvalidRecordError(f"this cursor is from no page of this store: {cursor!r}")
        return await self._read(partial(statements.since, topic=topic, seen=int(cursor or 0)))

    async def ping(self) -> None:
        """Takes the lock for writing, and lets go of it."""
        await self._write(_nothing)

    async def migrate(self) -> list[int]:
        """Brings the tables to this release, as the first use of the store does.

        Returns:
            The numbers of the migrations that this store object has run since it opened the file.
        """
        await self.ping()
        return self._workers.migrated()

    async def aclose(self) -> None:
        """Closes the file, for all event loops; the next use opens it again."""
        loop = asyncio.get_running_loop()
        closed: Future[object] = loop.create_future()
        if self._workers.stop(Job(_nothing, False, loop, closed)):
            await asyncio.wait([closed], timeout=self._timeout_s)

    async def _read(self, run: Callable[[Connection, float], T]) -> T:
        return await self._ask(run, writes=False)

    async def _write(self, run: Callable[[Connection, float], T]) -> T:
        return await self._ask(run, writes=True)

    async def _ask(self, run: Callable[[Connection, float], T], *, writes: bool) -> T:
        """Has the thread do it, and waits for the answer until the deadline."""
        loop = self._loops.here()
        future: Future[T] = loop.create_future()
        worker = self._workers.submit(Job(run, writes, loop, future))
        late = loop.call_later(self._timeout_s, self._give_up, future, worker)
        try:
            return await future
        finally:
            late.cancel()

    def _give_up(self, future: "Future[T]", worker: Worker) -> None:
        if not future.done():
            reason = worker.trouble or "no answer"
            future.set_exception(StoreUnavailableError(home=self.home, reason=f"{reason} ({self._timeout_s:g} s)"))


def _serve(worker: Worker, *, path: str, home: str, full: bool, now: Callable[[], float]) -> None:
    # Nothing else may refer to it: see there.
    Serving(worker, path, home, full=full, now=now).run()


def _nothing(connection: Connection, now: float) -> None:
    pass
