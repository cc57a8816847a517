"""Ours in transactional mode, on the drivers themselves: effects are rows of the same database, in one transaction with
the key's. `STORE_URL` says which.
"""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit

from fastapi import Request
from fastapi.responses import Response
from starlette.middleware import Middleware

from benchmarks.contestants.idempotency_app import Work, application
from fungible.idempotency import TransactionalIdempotency, attempt_of, create_table_sql

EFFECTS: Final = "CREATE TABLE IF NOT EXISTS effects (effect VARCHAR(64) NOT NULL)"
CONNECTIONS: Final = 60
"""As many as requests come at once, and more: each holds one for as long as it runs."""


class Database(Protocol):
    """What the application has of its driver."""

    def begin(self) -> AbstractAsyncContextManager[Any]:
        """A transaction: commits at the end of the block, rolls back where it raises."""
        ...

    async def add(self, connection: Any, effect: str) -> None:
        """Writes one effect."""
        ...

    async def count(self, effect: str) -> int:
        """How many are committed."""
        ...

    async def run(self, script: str) -> None:
        """Runs statements that end in semicolons."""
        ...


class PostgreSQL:
    """By asyncpg and its pool."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool: Any = None

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Any]:
        import asyncpg

        if self._pool is None:
            self._pool = asyncpg.create_pool(self._url, min_size=1, max_size=CONNECTIONS)
        await self._pool
        async with self._pool.acquire() as connection, connection.transaction():
            yield connection

    async def add(self, connection: Any, effect: str) -> None:
        await connection.execute("INSERT INTO effects VALUES ($1)", effect)

    async def count(self, effect: str) -> int:
        async with self.begin() as connection:
            return int(await connection.fetchval("SELECT COUNT(*) FROM effects WHERE effect = $1", effect))

    async def run(self, script: str) -> None:
        async with self.begin() as connection:
            await connection.execute(script)


class MySQL:
    """By asyncmy and its pool."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        self._where = {
            "host": where.hostname,
            "port": where.port,
            "user": unquote(where.username or ""),
            "password": unquote(where.password or ""),
            "db": where.path.lstrip("/"),
        }
        self._pool: Any = None

    async def _open(self) -> Any:
        import asyncmy

        if self._pool is None:
            self._pool = asyncio.ensure_future(asyncmy.create_pool(minsize=1, maxsize=CONNECTIONS, **self._where))
        return await asyncio.shield(self._pool)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Any]:
        pool = await self._open()
        async with pool.acquire() as connection:
            await connection.begin()
            try:
                yield connection
            except BaseException:
                await connection.rollback()
                raise
            await connection.commit()

    async def add(self, connection: Any, effect: str) -> None:
        async with connection.cursor() as cursor:
            await cursor.execute("INSERT INTO effects VALUES (%s)", (effect,))

    async def count(self, effect: str) -> int:
        async with self.begin() as connection, connection.cursor() as cursor:
            await cursor.execute("SELECT COUNT(*) FROM effects WHERE effect = %s", (effect,))
            return int((await cursor.fetchone())[0])

    async def run(self, script: str) -> None:
        async with self.begin() as connection, connection.cursor() as cursor:
            for statement in filter(None, map(str.strip, script.split(";"))):
                await cursor.execute(statement)


class SQLite:
    """By sqlite3, a connection for each transaction."""

    def __init__(self, url: str) -> None:
        self._file = f"/{url.partition(':///')[2].lstrip('/')}"

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Any]:
        connection = sqlite3.connect(self._file, isolation_level=None)
        try:
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")
        finally:
            # What was not committed is rolled back.
            connection.close()

    async def add(self, connection: Any, effect: str) -> None:
        connection.execute("INSERT INTO effects VALUES (?)", (effect,))

    async def count(self, effect: str) -> int:
        async with self.begin() as connection:
            return int(connection.execute("SELECT COUNT(*) FROM effects WHERE effect = ?", (effect,)).fetchone()[0])

    async def run(self, script: str) -> None:
        connection = sqlite3.connect(self._file)
        connection.executescript(f"PRAGMA journal_mode = WAL; {script}")
        connection.close()


KINDS: Final[dict[str, Callable[[str], Database]]] = {"postgresql": PostgreSQL, "mysql": MySQL, "sqlite": SQLite}


def _kind() -> str:
    return os.environ["STORE_URL"].partition(":")[0]


def middleware() -> Any:
    database = KINDS[_kind()](os.environ["STORE_URL"])

    async def run(request: Request, work: Work) -> Response:
        attempt = attempt_of(request)
        assert attempt is not None
        return await work(lambda effect: database.add(attempt.connection, effect))

    async def warm() -> None:
        await database.count("")

    guard = Middleware(TransactionalIdempotency, begin=database.begin, wait_s=float(os.environ["WAIT_S"]))
    return application(run=run, middleware=[guard], warm=warm, count=database.count)


def prepare() -> None:
    """Makes the tables."""
    database = KINDS[_kind()](os.environ["STORE_URL"])
    asyncio.run(database.run(f"{EFFECTS}; {create_table_sql(_kind())}"))
