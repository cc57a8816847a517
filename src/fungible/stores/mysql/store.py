"""Records in MariaDB or MySQL."""

from __future__ import annotations

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
    gcra,
)
from fungible.stores.errors import GoneError, InvalidRecordError
from fungible.stores.mysql import writing
from fungible.stores.mysql.connecting import Connection, Settings, parse_settings, row
from fungible.stores.mysql.database import Database
from fungible.stores.mysql.statements import load_statements
from fungible.stores.mysql.writing import in_us, record_of


class MySQLStore:
    """Records in MariaDB or MySQL, one row each: seen by all instances, kept through a power cut.

    Expiry and rates go by the server's clock. Each verb is one round trip, but for three: a `put` or a `change` which was
    refused takes a second one to read what stands; on MySQL, so does a `put` whatever stands; `append` is a transaction of
    four. On a Galera cluster each node sees at once what was written through another (`wsrep_sync_wait`). It is as
    durable as the server: with `innodb_flush_log_at_trx_commit` other than 1, its default, a power cut may lose the last
    second's writes. Of SQL it uses only what MariaDB and MySQL both document; the tests run on MariaDB.
    """

    def __init__(self, settings: Settings) -> None:
        self._database = Database(settings)
        self._sql = load_statements()
        self.home = settings.home
        lacks = frozenset({Lack.STALE_READS} if settings.reads_replicas else ())
        self.guarantees = Guarantees(reach=Reach.FLEET, survives=Survives.MACHINE, lacks=lacks)

    @classmethod
    def from_url(cls, url: HomeURL, *, timeout_s: float) -> MySQLStore:
        """The store at `mysql://user:password@host/database`.

        Options: `pool_size` (connections of each process and event loop, 10), `migrate` (`never`, or `auto` at the first
        use), `unix_socket`, `ssl_mode` (`disabled`, `required`, `verify_ca`, `verify_identity`), `ssl_ca`, `ssl_cert`,
        `ssl_key`, `reads` (`primary`, or `replica` where a proxy may have a replica answer).
        """
        return cls(parse_settings(url, timeout_s=timeout_s))

    async def get(self, key: str) -> Record | None:
        """The live record, or None."""
        check_name(key)
        parameters = {"key": key.encode()}
        found = row(await self._database.read(Connection.run, self._sql.get, parameters))
        return None if found is None else record_of(key, found)

    async def put(self, key: str, fields: Fields, *, ttl_s: float, expect: Expect | Record = ANY) -> Record:
        """Writes the whole record."""
        check_name(key)
        check_ttl(ttl_s)
        check_fields(key, fields, max_bytes=self.guarantees.max_record_bytes)
        fields = dict(fields)
        if isinstance(expect, Record):
            if expect.key != key:
                raise GoneError(key=key)
            return await self._database.write(writing.put_expected, expect, fields, ttl_s)
        put = writing.put_absent if expect is ABSENT else writing.put_any
        return await self._database.write(put, key, fields, ttl_s)

    async def change(self, record: Record, changes: Changes, *, ttl_s: float | None = None) -> Record:
        """Sets and removes fields."""
        check_name(record.key)
        if ttl_s is not None:
            check_ttl(ttl_s)
        max_bytes = self.guarantees.max_record_bytes
        check_fields(record.key, changes, max_bytes=max_bytes)
        return await self._database.write(writing.change, record, changes, ttl_s, max_bytes)

    async def delete(self, key: str, *, tombstone_s: float = 0) -> None:
        """Deletes the record, and holds its key."""
        check_name(key)
        parameters: dict[str, bytes | int] = {"key": key.encode()}
        sql = self._sql.delete
        if tombstone_s:
            check_ttl(tombstone_s)
            parameters["ttl_us"], sql = in_us(tombstone_s), self._sql.bury
        await self._database.write(Connection.run, sql, parameters)

    async def touch(self, key: str, *, ttl_s: float) -> float | None:
        """Extends the record's life."""
        check_name(key)
        check_ttl(ttl_s)
        parameters = {"key": key.encode(), "ttl_us": in_us(ttl_s)}
        answer = await self._database.write(Connection.run, self._sql.touch, parameters)
        return answer.number / 1e6 if answer.matched else None

    async def take(self, key: str, rate: Rate, *, cost: int = 1) -> Taken:
        """Takes from a rate."""
        check_name(key)
        check_cost(cost)
        wanted_us, tolerance_us = rate.wanted_us(cost), rate.tolerance_us
        parameters = {
            "key": key.encode(),
            "wanted_us": wanted_us,
            "tolerance_us": tolerance_us,
            "first": wanted_us * 2 + 1 if wanted_us <= tolerance_us else 0,
        }
        answer = await self._database.write(Connection.run, self._sql.take, parameters)
        ahead_us, allowed = answer.number >> 1, answer.number & 1
        # The step that the server has made, once more, with its now as 0.
        return gcra(ahead_us - wanted_us if allowed else ahead_us, 0, rate, cost)[1]

    async def append(self, topic: str, item: bytes, *, ttl_s: float) -> None:
        """Adds an item to a feed."""
        check_name(topic, "topic")
        check_ttl(ttl_s)
        check_fields(topic, {"item": item}, max_bytes=self.guarantees.max_record_bytes)
        await self._database.write(writing.append, topic, item, ttl_s)

    async def since(self, topic: str, cursor: str | None = None) -> Page:
        """The live items after the cursor."""
        check_name(topic, "topic")
        seen = cursor or "0"
        if not (seen.isascii() and seen.isdecimal() and len(seen) < 20):
            raise InvalidRecordError(f"this is no cursor of this store: {cursor!r}")
        parameters = {"topic": topic.encode(), "number": int(seen)}
        answer = await self._database.read(Connection.run, self._sql.since, parameters)
        return Page(tuple(found[1] for found in answer.rows), str(answer.rows[-1][0]) if answer.rows else seen)

    async def ping(self) -> None:
        """Raises an error unless the store is there, lets us in, and has its tables."""
        await self._database.ping()

    async def aclose(self) -> None:
        """Closes the connections of this event loop."""
        await self._database.aclose()

    async def migrate(self) -> list[int]:
        """Brings the tables to this release's version, and gives the numbers of the migrations it applied."""
        return await self._database.migrate()

    async def applied(self) -> int:
        """The version of the tables: 0 where there are none."""
        return await self._database.applied()
