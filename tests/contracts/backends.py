"""What the suite asks of a backend beside the contract: instances, a clock to turn, a server to hurt."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest
from servers import (
    GaleraServers,
    MariaDBServer,
    PostgreSQLServer,
    RedisClusterServers,
    RedisSentinelServers,
    RedisServer,
)

from contracts.clock import Clock
from fungible.core.urls import parse_home_url
from fungible.stores import Store, open_store
from fungible.stores.memory import MemoryStore
from fungible.stores.sqlite import SQLiteStore

PATIENT_S: Final = 10
"""Longer than the default: other work on the machine must not fail a rule that is not about deadlines."""


class Backend:
    """A place with data, which any number of stores share. Empty when a test begins."""

    name: ClassVar[str]
    fixture: ClassVar[str] = ""
    """The fixture of its server, where it has one."""
    unix: ClassVar[bool] = False
    """Whether it is reached over a Unix socket."""
    persistent: ClassVar[bool] = True
    """Whether records outlive a kill of the server."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.opened: list[Store] = []

    @property
    def url(self) -> str:
        """Names it."""
        return self.server.url

    @property
    def urls(self) -> Sequence[str]:
        """The same for several processes, in turn: where there are several ways in, they take different ones."""
        return [self.url]

    def open(self, *, timeout_s: float = PATIENT_S) -> Store:
        """Another instance's store."""
        store = self.make(timeout_s)
        self.opened.append(store)
        return store

    def make(self, timeout_s: float) -> Store:
        return open_store(self.url, timeout_s=timeout_s)

    async def close(self) -> None:
        """Closes all stores that were opened, in the event loop that used them."""
        opened, self.opened = self.opened, []
        for store in opened:
            await store.aclose()

    def empty(self) -> None:
        """Forgets all data."""
        self.server.reset()

    def connections(self) -> set[str]:
        """Those that its servers have now, each by the other end's address; those of servers among themselves too."""
        return self.server.peers() if self.server is not None else set()

    def now(self) -> float:
        """By the backend's clock."""
        return time.time()

    def left_s(self, expires_at: float | None) -> float:
        """How long something still lives."""
        assert expires_at is not None
        return expires_at - self.now()

    def advance(self, seconds: float) -> None:
        """Lets time pass."""
        raise NotImplementedError


class MemoryBackend(Backend):
    """All instances are one object: that is how far it reaches."""

    name = "memory"

    def __init__(self, _: Any) -> None:
        super().__init__(None)
        self.empty()

    def make(self, timeout_s: float) -> Store:
        return self.store

    def empty(self) -> None:
        self.clock = Clock()
        self.store = MemoryStore(now=self.clock)

    def now(self) -> float:
        return self.clock()

    def advance(self, seconds: float) -> None:
        self.clock.time_s += seconds


class SQLiteBackend(Backend):
    """A new file for each test."""

    name = "sqlite"

    def __init__(self, _: Any) -> None:
        super().__init__(None)
        self.folder = tempfile.TemporaryDirectory(prefix="sqlite-")
        self.empty()

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def make(self, timeout_s: float) -> Store:
        return SQLiteStore(self.path, timeout_s=timeout_s, now=self.clock)

    def empty(self) -> None:
        self.clock = Clock()
        self.path = Path(self.folder.name) / f"{os.urandom(8).hex()}.db"

    def now(self) -> float:
        return self.clock()

    def advance(self, seconds: float) -> None:
        self.clock.time_s += seconds


class PostgreSQLBackend(Backend):
    """Turns the clock by which its statements go: a function in the database."""

    name = "postgresql"
    fixture = "postgresql_server"
    server: PostgreSQLServer
    ahead_s = 0.0
    TABLES = "fungible_records, fungible_rates, fungible_topics, fungible_items"

    @property
    def url(self) -> str:
        return f"{self.server.url}?migrate=auto"

    def empty(self) -> None:
        make_tables(self.make(PATIENT_S))
        self.ahead_s = 0.0
        self.server.run_sql(f"TRUNCATE {self.TABLES}; {self._clock()}")

    def now(self) -> float:
        return time.time() + self.ahead_s

    def advance(self, seconds: float) -> None:
        self.ahead_s += seconds
        self.server.run_sql(self._clock())

    def _clock(self) -> str:
        return (
            "CREATE OR REPLACE FUNCTION fungible_now() RETURNS bigint LANGUAGE sql VOLATILE PARALLEL SAFE AS "
            f"'SELECT (date_part(''epoch'', clock_timestamp()) * 1000000)::bigint + {round(self.ahead_s * 1e6)}'"
        )


class MySQLBackend(Backend):
    """Moves what is in the tables into the past."""

    name = "mysql"
    fixture = "mariadb_server"
    server: MariaDBServer
    TIMES: Final = {
        "fungible_records": ("expires_us", "sweep_us"),
        "fungible_rates": ("tat_us", "sweep_us"),
        "fungible_topics": ("expires_us", "sweep_us"),
        "fungible_items": ("expires_us",),
    }

    @property
    def url(self) -> str:
        return f"{self.server.url}?migrate=auto"

    def empty(self) -> None:
        make_tables(self.make(PATIENT_S))
        self.server.run_sql("; ".join(f"DELETE FROM {table}" for table in self.TIMES))

    def advance(self, seconds: float) -> None:
        moved = (
            f"UPDATE {table} SET {', '.join(f'{column} = {column} - {round(seconds * 1e6)}' for column in columns)}"
            for table, columns in self.TIMES.items()
        )
        self.server.run_sql("; ".join(moved))


class GaleraBackend(MySQLBackend):
    """Two nodes of a cluster, and stores on both of them in turn."""

    name = "mysql+galera"
    fixture = "galera_servers"
    server: GaleraServers  # type: ignore[assignment]
    made = 0

    @property
    def urls(self) -> Sequence[str]:
        return [f"{node.url}?migrate=auto" for node in self.server.servers]

    def make(self, timeout_s: float) -> Store:
        self.made += 1
        return open_store(self.urls[self.made % 2], timeout_s=timeout_s)


class RedisBackend(Backend):
    """Moves what it holds into the past."""

    name = "redis"
    fixture = "redis_server"
    server: Any
    # Redis does not let its clock be turned. Times that it compares with it: when keys expire; after a record's
    # incarnation, in milliseconds; in each item of a feed, in milliseconds; all there is to a rate, in microseconds.
    MOVE: Final = """
        local ms = tonumber(ARGV[1])
        for _, key in ipairs(redis.call('KEYS', '*')) do
          local kind, left = redis.call('TYPE', key).ok, redis.call('PTTL', key)
          if kind == 'hash' then
            local meta = redis.call('HGET', key, '\\0')
            if meta ~= '-' then
              local moved = string.format('%.0f', string.sub(meta, 9) - ms)
              redis.call('HSET', key, '\\0', string.sub(meta, 1, 8) .. moved)
            end
          elseif kind == 'stream' then
            local entries = redis.call('XRANGE', key, '-', '+')
            redis.call('DEL', key)
            for _, entry in ipairs(entries) do
              entry[2][2] = string.format('%.0f', entry[2][2] - ms)
              redis.call('XADD', key, entry[1], unpack(entry[2]))
            end
          elseif kind == 'string' then
            redis.call('SET', key, string.format('%.0f', redis.call('GET', key) - ms * 1000))
          end
          redis.call('PEXPIRE', key, string.format('%.0f', left - ms))
        end
        return 'moved'
    """

    @property
    def url(self) -> str:
        # Whatever the suite does must be possible with the rights that the reference names.
        return self.server.bare_url

    def masters(self) -> list[RedisServer]:
        """Those servers that take writes."""
        return [self.server]

    def advance(self, seconds: float) -> None:
        for server in self.masters():
            assert server.ask(command("EVAL", self.MOVE, "0", f"{seconds * 1000:.0f}")) == b"$5\r\nmoved\r\n"

    def forget_scripts(self) -> None:
        """As an administrator may do, and a restart does."""
        for server in self.masters():
            assert server.ask(command("SCRIPT", "FLUSH")) == b"+OK\r\n"


class RedisUnixBackend(RedisBackend):
    """The same over a Unix socket."""

    name = "redis+unix"
    unix = True

    @property
    def url(self) -> str:
        return self.server.unix_url


class RedisClusterBackend(RedisBackend):
    """The same on each master."""

    name = "redis+cluster"
    fixture = "redis_cluster"
    server: RedisClusterServers

    def masters(self) -> list[RedisServer]:
        return self.server.masters()


class RedisSentinelBackend(RedisBackend):
    """The same on whichever is the master."""

    name = "redis+sentinel"
    fixture = "redis_sentinel"
    server: RedisSentinelServers

    def masters(self) -> list[RedisServer]:
        return [self.server.master()]


class MemcachedBackend(Backend):
    """Goes by the instances' own clocks: here by one that stands still until it is told to move."""

    name = "memcached"
    fixture = "memcached_server"
    persistent = False

    def make(self, timeout_s: float) -> Store:
        # Imported here: the other backends are tested without its driver, too.
        from fungible.stores.memcached import MemcachedStore
        from fungible.stores.memcached.servers import parse_settings

        return MemcachedStore(parse_settings(parse_home_url(self.url), timeout_s=timeout_s), now=self.clock)

    def empty(self) -> None:
        super().empty()
        self.clock = Clock()

    def now(self) -> float:
        return self.clock()

    def advance(self, seconds: float) -> None:
        self.clock.time_s += seconds


class MemcachedUnixBackend(MemcachedBackend):
    """The same over a Unix socket."""

    name = "memcached+unix"
    unix = True
    fixture = "memcached_unix_server"


def make_tables(store: Store) -> None:
    """Sees that the tables are there before they are emptied or moved in time."""

    async def use() -> None:
        await store.ping()
        await store.aclose()

    asyncio.run(use())


def command(*words: str) -> bytes:
    """A command as Redis reads it."""
    return b"".join([b"*%d\r\n" % len(words), *(b"$%d\r\n%b\r\n" % (len(word), word.encode()) for word in words)])


BACKENDS: Final[dict[str, type[Backend]]] = {
    kind.name: kind
    for kind in (
        MemoryBackend,
        SQLiteBackend,
        PostgreSQLBackend,
        MySQLBackend,
        GaleraBackend,
        RedisBackend,
        RedisUnixBackend,
        RedisClusterBackend,
        RedisSentinelBackend,
        MemcachedBackend,
        MemcachedUnixBackend,
    )
}
EVERY: Final = tuple(BACKENDS)
RACED: Final = tuple(name for name in EVERY if name != "memory")
"""Those that several processes can share."""
SHARED: Final = tuple(name for name in RACED if name != "mysql+galera")
"""The same for what is built on the contract. A cluster may differ where the contract is kept: it is tested there."""
SERVED: Final = tuple(name for name in SHARED if BACKENDS[name].fixture)
"""Those with a server that can be hurt. What becomes of a cluster that loses a node is in `stores/mysql`."""
ONE_SERVER: Final = tuple(name for name in SERVED if name not in {"redis+cluster", "redis+sentinel"})


def make_backend(name: str, request: pytest.FixtureRequest) -> Backend:
    """The harness of a backend, with its server running."""
    kind = BACKENDS[name]
    return kind(request.getfixturevalue(kind.fixture) if kind.fixture else None)
