"""Records in PostgreSQL."""

import math
import os
from typing import Final

import msgspec

from fungible.core.urls import HomeURL
from fungible.stores.contract import (
    ANY,
    REMOVED,
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
from fungible.stores.errors import ConflictError, GoneError, InvalidRecordError
from fungible.stores.postgresql.connecting import Settings, parse_settings
from fungible.stores.postgresql.database import Database
from fungible.stores.postgresql.statements import load_statements

SWEEP_EVERY_S: Final = 60.0
SWEEP_BATCH: Final = 500
LARGEST: Final = 1 << 61
"""Of a bigint in microseconds, with room to add the present: 73 000 years."""
DIGITS: Final = len(str(LARGEST))


class PostgreSQLStore:
    """Records in PostgreSQL: all instances see them, and they survive a power cut.

    With `?durability=relaxed` the server does not wait for the disk: a crash of the server may then lose the writes of
    the last half second, each of them whole.
    """

    def __init__(self, settings: Settings, *, sweep_every_s: float = SWEEP_EVERY_S, batch: int = SWEEP_BATCH) -> None:
        self.home = settings.home
        lacks = {Lack.RECENT_WRITES: settings.relaxed, Lack.STALE_READS: settings.reads_replicas}
        self.guarantees = Guarantees(
            reach=Reach.FLEET, survives=Survives.MACHINE, lacks=frozenset(lack for lack in lacks if lacks[lack])
        )
        self._sql = load_statements()
        self._database = Database(settings, self._sql, sweep_every_s=sweep_every_s, batch=batch)
        self._encode = msgspec.json.Encoder().encode
        # JSON has no bytes: msgspec writes them as base64, and reads them back so.
        self._decode = msgspec.json.Decoder(dict[str, bytes]).decode

    @classmethod
    def from_url(cls, url: HomeURL, *, timeout_s: float) -> "PostgreSQLStore":
        """The store that `postgresql://user:password@host:5432/database` names.

        Options: `pool_size` (10), `durability` (full, or relaxed), `migrate` (never, or auto), `statement_cache` (100;
        0 behind a pooler in transaction mode), `sslmode`, `sslrootcert`, `sslcert`, `sslkey`, `host` and
        `target_session_attrs` as libpq has them, `reads` (primary, or replica where a proxy may have a replica answer),
        `timeout_s`.
        """
        return cls(parse_settings(url, timeout_s=timeout_s))

    async def get(self, key: str) -> Record | None:
        """The live record, or None."""
        check_name(key)
        record, _ = await self._standing(key, self._database.deadline())
        return record

    async def put(self, key: str, fields: Fields, *, ttl_s: float, expect: Expect | Record = ANY) -> Record:
        """Writes the whole record."""
        check_name(key)
        check_ttl(ttl_s)
        check_fields(key, fields, max_bytes=self.guarantees.max_record_bytes)
        deadline = self._database.deadline()
        arguments: list[object] = [key, self._json(fields), _size(fields), os.urandom(8), _us(ttl_s)]
        sql = self._sql.put_any if expect is ANY else self._sql.put_absent
        if isinstance(expect, Record):
            sql = self._sql.put_expected
            arguments[3:] = [expect.incarnation, _us(ttl_s), self._json(expect.fields)]
        while True:
            rows = await self._database.rows(deadline, sql, *arguments)
            if rows:
                expires_at, incarnation = rows[0]
                return Record(key, dict(fields), expires_at / 1e6, incarnation)
            current, buried = await self._standing(key, deadline)
            if buried or (isinstance(expect, Record) and not _is_same(expect, current)):
                raise GoneError(key=key)
            if current is not None and not _is_met(expect, current):
                raise ConflictError(current=current)
            # What stood in the way has gone between the two statements.

    async def change(self, record: Record, changes: Changes, *, ttl_s: float | None = None) -> Record:
        """Sets and removes fields."""
        check_name(record.key)
        if ttl_s is not None:
            check_ttl(ttl_s)
        max_bytes = self.guarantees.max_record_bytes
        check_fields(record.key, changes, max_bytes=max_bytes)
        deadline = self._database.deadline()
        read = {name: record.fields[name] for name in changes if name in record.fields}
        written = {name: value for name, value in changes.items() if value is not REMOVED}
        arguments = (
            record.key,
            record.incarnation,
            self._json(written),
            [name for name in changes if name not in written],
            self._json(read),
            [name for name in changes if name not in read],
            None if ttl_s is None else _us(ttl_s),
            _size(written) - _size(read),
            max_bytes,
        )
        while True:
            rows = await self._database.rows(deadline, self._sql.change, *arguments)
            if rows:
                return record.changed(changes, expires_at=rows[0][0] / 1e6)
            current, _ = await self._standing(record.key, deadline)
            if current is None or not _is_same(record, current):
                raise GoneError(key=record.key)
            if conflicting(record, current, changes):
                raise ConflictError(current=current)
            check_fields(record.key, current.changed(changes).fields, max_bytes=max_bytes)

    async def delete(self, key: str, *, tombstone_s: float = 0) -> None:
        """Deletes the record, and holds its key."""
        check_name(key)
        if not tombstone_s:
            await self._database.rows(self._database.deadline(), self._sql.delete, key)
            return
        check_ttl(tombstone_s)
        await self._database.rows(self._database.deadline(), self._sql.bury, key, _us(tombstone_s))

    async def touch(self, key: str, *, ttl_s: float) -> float | None:
        """Extends the record's life."""
        check_name(key)
        check_ttl(ttl_s)
        rows = await self._database.rows(self._database.deadline(), self._sql.touch, key, _us(ttl_s))
        return rows[0][0] / 1e6 if rows else None

    async def take(self, key: str, rate: Rate, *, cost: int = 1) -> Taken:
        """Takes from a rate."""
        check_name(key)
        check_cost(cost)
        asked = (rate.wanted_us(cost), rate.tolerance_us)
        [[tat, now, allowed]] = await self._database.rows(self._database.deadline(), self._sql.take, key, *asked)
        # The statement has decided; what is left to say is what a step of no cost says.
        _, taken = gcra(tat, now, rate, 0 if allowed else cost)
        return taken

    async def append(self, topic: str, item: bytes, *, ttl_s: float) -> None:
        """Adds an item to a feed."""
        check_name(topic, "topic")
        check_ttl(ttl_s)
        check_fields(topic, {"item": item}, max_bytes=self.guarantees.max_record_bytes)
        await self._database.rows(self._database.deadline(), self._sql.append, topic, item, _us(ttl_s))

    async def since(self, topic: str, cursor: str | None = None) -> Page:
        """The live items after the cursor."""
        check_name(topic, "topic")
        seen = _seen(cursor)
        rows = await self._database.rows(self._database.deadline(), self._sql.since, topic, seen)
        return Page(tuple(item for _, item in rows), str(rows[-1][0] if rows else seen))

    async def ping(self) -> None:
        """Raises an error unless the server is there, lets us in, takes writes, and has the tables."""
        await self._database.ping()

    async def aclose(self) -> None:
        """Closes the connections of this event loop."""
        await self._database.aclose()

    async def migrate(self) -> list[int]:
        """Applies the migrations that are missing. Safe when several instances do so at once.

        Returns:
            The numbers of those that this call has applied.
        Raises:
            StoreUnavailableError: the server is away, or refuses; what was applied before stays.
            SettingError: the database's encoding is not UTF-8.
        """
        return await self._database.migrate()

    async def applied(self) -> int:
        """The number of the last migration that was applied; 0 where there are no tables."""
        return await self._database.applied()

    async def sweep(self) -> int:
        """Deletes what has expired, in small batches. Each instance does so about once a minute, by itself.

        Returns:
            How many rows were due, some of them to be kept longer.
        """
        return await self._database.sweep()

    async def _standing(self, key: str, deadline: float) -> tuple[Record | None, bool]:
        """The live record, and whether a tombstone stands in its place."""
        rows = await self._database.rows(deadline, self._sql.get, key)
        if not rows:
            return None, False
        fields, expires_at, incarnation = rows[0]
        if fields is None:
            return None, True
        return Record(key, self._decode(fields), expires_at / 1e6, incarnation), False

    def _json(self, fields: Fields) -> str:
        return self._encode(dict(fields)).decode()


def _is_same(read: Record, current: Record | None) -> bool:
    """Whether what stands is what was read, or came of it by changes."""
    return current is not None and current.incarnation == read.incarnation


def _is_met(expect: Expect | Record, current: Record) -> bool:
    return current.fields == expect.fields if isinstance(expect, Record) else expect is ANY


def _size(fields: Fields) -> int:
    return sum(len(name) + len(value) for name, value in fields.items())


def _us(seconds: float) -> int:
    return math.ceil(seconds * 1e6)


def _seen(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not cursor.isascii() or not cursor.isdecimal() or len(cursor) > DIGITS or int(cursor) > LARGEST:
        raise InvalidRecordError(f"a cursor must be one that an earlier page had: {cursor[:80]!r}")
    return int(cursor)
