"""Records in Redis."""

import logging
import os
import re
from functools import partial
from typing import Final, cast

from hiredis import ReplyError

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
from fungible.stores.errors import (
    ConflictError,
    GoneError,
    RecordTooLargeError,
    StoreUnavailableError,
)
from fungible.stores.loops import PerLoop
from fungible.stores.redis.clients import open_client
from fungible.stores.redis.connection import Reply, Word
from fungible.stores.redis.engine import why_unfit
from fungible.stores.redis.failures import reason_of
from fungible.stores.redis.records import (
    INCARNATION_BYTES,
    change_arguments,
    expiry_of,
    milliseconds,
    put_arguments,
    record_of,
)
from fungible.stores.redis.scripts import Script, load_scripts
from fungible.stores.redis.settings import Settings, read_settings

LOGGER: Final = logging.getLogger("fungible.stores.redis")
CURSOR: Final = re.compile(r"(\d{1,19}-\d{1,19})\.([0-9a-f]+)")
PAGE: Final = 1000
"""Entries of a feed that one round trip looks at: a bound on how long the server is busy with it."""

FORGETFUL: Final = Guarantees(
    reach=Reach.FLEET, survives=Survives.PROCESS, lacks=frozenset({Lack.RESTART, Lack.RECENT_WRITES})
)
PERSISTENT: Final = Guarantees(reach=Reach.FLEET, survives=Survives.MACHINE, lacks=frozenset({Lack.RECENT_WRITES}))
"""With an append-only file that is written out every second."""


class RedisStore:
    """Records in one Redis server, in what Sentinel watches, or in a Cluster.

    Every process has one connection for each event loop (and each master of a Cluster), over which all commands go at
    once. A server that keeps nothing on its disk forgets everything when it restarts: only where the URL says that it
    has an append-only file (`persistence=aof`) is more promised. It, and a replica that takes over, may lack the last
    second's writes. Time is the server's. Needs Redis 5.
    """

    def __init__(self, settings: Settings) -> None:
        self.home = settings.home
        self.guarantees = PERSISTENT if settings.persistent else FORGETFUL
        self._settings = settings
        self._scripts = load_scripts()
        self._records = f"{settings.prefix}r:"
        self._rates = f"{settings.prefix}l:"
        self._feeds = f"{settings.prefix}f:"
        self._fit = False
        """Whether the server was seen to have all that is needed."""
        self._clients = PerLoop(partial(open_client, settings))

    @classmethod
    def from_url(cls, url: HomeURL, *, timeout_s: float) -> "RedisStore":
        """The store at a URL. Reads the certificates that it names, and opens no connection.

        Args:
            url: `redis://user:password@host:6379/0`; `rediss:` the same over TLS; `redis+unix://user:password@/path`
                with the option `db`; `redis+sentinel://host,host/name`;
                `redis+cluster://host,host`. Options: `prefix`; `persistence`, `aof` or `none`; `ca`, `cert` and `key`,
                files in PEM format; for Sentinel and Cluster `tls=yes`; with TLS
                `tls=insecure`, for a server whose certificate nobody vouches for; for Sentinel `db`, `sentinel_username` and
                `sentinel_password`.
            timeout_s: Deadline of every operation.
        Raises:
            SettingError: the URL can't be understood, or a certificate can't be read.
        """
        settings = read_settings(url, timeout_s=timeout_s)
        if settings.unverified:
            LOGGER.warning(
                "%s: tls=insecure: any server that answers there is trusted, and may read and change what is kept; "
                "name the authority that vouches for it with ca=",
                settings.home,
            )
        return cls(settings)

    async def get(self, key: str) -> Record | None:
        """The live record, or None. Costs one HGETALL."""
        check_name(key)
        name = self._records + key
        reply = await self._clients.here().call(name, ("HGETALL", name), repeatable=True)
        if type(reply) is ReplyError:
            raise self._failed(reply)
        return record_of(key, reply) if reply else None

    async def put(self, key: str, fields: Fields, *, ttl_s: float, expect: Expect | Record = ANY) -> Record:
        """Writes the whole record."""
        check_name(key)
        check_ttl(ttl_s)
        check_fields(key, fields, max_bytes=self.guarantees.max_record_bytes)
        if isinstance(expect, Record):
            words = put_arguments(fields, ttl_s, "record", expect.incarnation, expect.fields)
        else:
            expected = "absent" if expect is ABSENT else "any"
            words = put_arguments(fields, ttl_s, expected, os.urandom(INCARNATION_BYTES), {})
        meta = self._written(key, await self._run(self._scripts.put, self._records + key, words))
        return Record(key, dict(fields), expiry_of(meta), meta[:INCARNATION_BYTES])

    async def change(self, record: Record, changes: Changes, *, ttl_s: float | None = None) -> Record:
        """Sets and removes fields. Costs one EVALSHA."""
        key, limit = record.key, self.guarantees.max_record_bytes
        check_name(key)
        if ttl_s is not None:
            check_ttl(ttl_s)
        check_fields(key, changes, max_bytes=limit)
        words, fields, growth = change_arguments(record, changes, ttl_s)
        # What does not grow fits, as it did when it was written.
        if growth > 0:
            size = sum(map(len, fields)) + sum(map(len, fields.values()))
            if size > limit:
                raise RecordTooLargeError(key=key, size_bytes=size, max_bytes=limit)
        name, script = self._records + key, self._scripts.change
        # `_run` without its coroutine: this is what most requests that write do.
        reply = await self._clients.here().call(name, ("EVALSHA", script.sha1, 1, name, *words), repeatable=False)
        if type(reply) is ReplyError:
            reply = await self._run_again(reply, script, name, words)
        return Record(key, fields, expiry_of(self._written(key, reply)), record.incarnation)

    async def delete(self, key: str, *, tombstone_s: float = 0) -> None:
        """Deletes the record, and holds its key."""
        check_name(key)
        if tombstone_s:
            check_ttl(tombstone_s)
        await self._run(self._scripts.delete, self._records + key, [milliseconds(tombstone_s)])

    async def touch(self, key: str, *, ttl_s: float) -> float | None:
        """Extends the record's life."""
        check_name(key)
        check_ttl(ttl_s)
        expires_ms: int = await self._run(self._scripts.touch, self._records + key, [milliseconds(ttl_s)])
        return expires_ms / 1000 if expires_ms else None

    async def take(self, key: str, rate: Rate, *, cost: int = 1) -> Taken:
        """Takes from a rate."""
        check_name(key)
        check_cost(cost)
        words: list[Word] = [rate.wanted_us(cost), rate.tolerance_us]
        ahead_us: int = await self._run(self._scripts.take, self._rates + key, words)
        # The script has decided by the same rule: only the distance to now counts, so now may as well be 0.
        return gcra(ahead_us, 0, rate, cost)[1]

    async def append(self, topic: str, item: bytes, *, ttl_s: float) -> None:
        """Adds an item to a feed."""
        check_name(topic, "topic")
        check_ttl(ttl_s)
        check_fields(topic, {"item": item}, max_bytes=self.guarantees.max_record_bytes)
        await self._run(self._scripts.append, self._feeds + topic, [milliseconds(ttl_s), os.urandom(8).hex(), item])

    async def since(self, topic: str, cursor: str | None = None) -> Page:
        """The live items after the cursor; all that are live where the server no longer has what was seen last."""
        check_name(topic, "topic")
        items: list[bytes] = []
        while True:
            # A cursor of another kind of store says nothing here.
            seen = CURSOR.fullmatch(cursor or "")
            words: list[Word] = [*(seen.groups() if seen else ("", "")), PAGE]
            last, mark, looked_at, *live = await self._run(self._scripts.since, self._feeds + topic, words, True)
            items += live
            cursor = f"{last.decode()}.{mark.decode()}" if last else ""
            if looked_at < PAGE:
                return Page(tuple(items), cursor)

    async def ping(self) -> None:
        """Raises an error unless every server answers, lets us in, runs scripts and takes writes.

        The first one also tries whether the server has, and permits, all that a store needs of it.
        """
        client = self._clients.here()
        await client.reach()
        if not self._fit:
            reason = await why_unfit(client, self._scripts.check, prefix=self._settings.prefix)
            if reason:
                raise StoreUnavailableError(home=self.home, reason=reason)
            self._fit = True
        # No record has an empty name: it is deleted, and never there.
        await self._run(self._scripts.delete, self._records, [0])

    async def aclose(self) -> None:
        """Closes the connections of this event loop."""
        client = self._clients.taken_out()
        if client is not None:
            await client.aclose()

    async def _run(self, script: Script, key: str, words: list[Word], repeatable: bool = False) -> Reply:
        reply = await self._clients.here().call(key, ("EVALSHA", script.sha1, 1, key, *words), repeatable=repeatable)
        if type(reply) is ReplyError:
            reply = await self._run_again(reply, script, key, words, repeatable)
        return reply

    async def _run_again(
        self, failure: ReplyError, script: Script, key: str, words: list[Word], repeatable: bool = False
    ) -> Reply:
        """Runs a script that the server did not have: it never was there, or SCRIPT FLUSH or a restart has ended it."""
        reply: Reply = failure
        if str(failure).startswith("NOSCRIPT"):
            command = ("EVAL", script.text, 1, key, *words)
            reply = await self._clients.here().call(key, command, repeatable=repeatable)
        if type(reply) is ReplyError:
            raise self._failed(reply)
        return reply

    def _written(self, key: str, reply: Reply) -> bytes:
        """The meta field of the record that was written."""
        if type(reply) is bytes:
            return reply
        current = record_of(key, cast(list[bytes], reply)) if reply else None
        if current is None:
            raise GoneError(key=key)
        raise ConflictError(current=current)

    def _failed(self, reply: ReplyError) -> StoreUnavailableError:
        return StoreUnavailableError(home=self.home, reason=reason_of(reply, prefix=self._settings.prefix))
