"""Real databases with a table of effects, and the ways in which applications connect to them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fungible.idempotency import IdempotencyKeys, create_table_sql

Begin = Callable[[], AbstractAsyncContextManager[Any]]
EFFECT = "INSERT INTO effects (name) VALUES ('mug')"
WAYS = {
    "sqlite": ("sqlite3", "alchemy-connection", "alchemy-session"),
    "postgresql": ("asyncpg", "alchemy-async-connection", "alchemy-async-session"),
    "mysql": ("asyncmy", "alchemy-async-connection"),
}
EVERY_WAY = [(dialect, way) for dialect, ways in WAYS.items() for way in ways]


class Database:
    """One database, as one instance of the application connects to it."""

    def __init__(self, dialect: str, way: str, url: str) -> None:
        self.dialect = dialect
        self.way = way
        self.url = url
        self._engine: Any = None
        self._pool: Any = None

    def begin(self) -> AbstractAsyncContextManager[Any]:
        """A transaction, begun."""
        return getattr(self, f"_begin_{self.way.replace('-', '_')}")()

    async def execute(self, connection: Any, statement: str = EFFECT) -> None:
        """What a handler does on the connection."""
        if self.way == "asyncmy":
            async with connection.cursor() as cursor:
                await cursor.execute(statement)
            return
        if self.way.startswith("alchemy"):
            from sqlalchemy import text

            done = connection.execute(text(statement))
        else:
            done = connection.execute(statement)
        if asyncio.iscoroutine(done):
            await done

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()
        if self._engine is not None and "async" in self.way:
            await self._engine.dispose()
        elif self._engine is not None:
            self._engine.dispose()

    @asynccontextmanager
    async def _begin_sqlite3(self) -> AsyncIterator[Any]:
        connection = sqlite3.connect(self.url)
        try:
            with connection:
                yield connection
        finally:
            connection.close()

    @asynccontextmanager
    async def _begin_asyncpg(self) -> AsyncIterator[Any]:
        import asyncpg

        if self._pool is None:
            self._pool = await asyncpg.create_pool(self.url, min_size=0)
        async with self._pool.acquire() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def _begin_asyncmy(self) -> AsyncIterator[Any]:
        import asyncmy

        at = urlsplit(self.url)
        connection = await asyncmy.connect(
            host=at.hostname, port=at.port, user=at.username, password=at.password, db=at.path[1:]
        )
        try:
            await connection.begin()
            try:
                yield connection
            except BaseException:
                await connection.rollback()
                raise
            await connection.commit()
        finally:
            await connection.ensure_closed()

    def engine(self) -> Any:
        """SQLAlchemy's, made once."""
        if self._engine is None:
            from sqlalchemy import create_engine
            from sqlalchemy.ext.asyncio import create_async_engine

            if self.dialect == "sqlite":
                self._engine = create_engine(f"sqlite:///{self.url}")
            else:
                driver = {"postgresql": "postgresql+asyncpg", "mysql": "mysql+asyncmy"}[self.dialect]
                self._engine = create_async_engine(self.url.replace(self.dialect, driver, 1))
        return self._engine

    def _begin_alchemy_async_connection(self) -> Any:
        return self.engine().begin()

    def _begin_alchemy_async_session(self) -> Any:
        from sqlalchemy.ext.asyncio import async_sessionmaker

        return async_sessionmaker(self.engine()).begin()

    @asynccontextmanager
    async def _begin_alchemy_connection(self) -> AsyncIterator[Any]:
        with self.engine().begin() as connection:
            yield connection

    @asynccontextmanager
    async def _begin_alchemy_session(self) -> AsyncIterator[Any]:
        from sqlalchemy.orm import Session

        with Session(self.engine()) as session, session.begin():
            yield session


class Kept:
    """The database itself, seen from outside."""

    def __init__(self, dialect: str, url: str, run: Callable[[str], str]) -> None:
        self.dialect = dialect
        self.url = url
        self.run = run

    def effects(self) -> int:
        return int(self.run("SELECT COUNT(*) FROM effects"))

    def rows(self) -> int:
        return int(self.run("SELECT COUNT(*) FROM fungible_idempotency"))


def sqlite_at(path: Path) -> Kept:
    def run(statements: str) -> str:
        connection = sqlite3.connect(path, timeout=30, isolation_level=None)
        try:
            last: Any = None
            for statement in statements.split(";"):
                last = connection.execute(statement).fetchone() or last
            return "" if last is None else str(last[0])
        finally:
            connection.close()

    run("PRAGMA journal_mode = WAL")
    return Kept("sqlite", str(path), run)


def prepare(kept: Kept) -> None:
    """Empty tables: of effects, and of keys."""
    kept.run("DROP TABLE IF EXISTS effects; DROP TABLE IF EXISTS fungible_idempotency")
    engine = " ENGINE=InnoDB" if kept.dialect == "mysql" else ""
    kept.run(f"CREATE TABLE effects (name VARCHAR(40) NOT NULL){engine}")
    kept.run(create_table_sql(kept.dialect).rstrip("; \n"))


async def made_by_keys(database: Database) -> None:
    """The table of keys, made by the API."""
    async with database.begin() as connection:
        await IdempotencyKeys().create_table(connection)
