"""Point F1: a connection that commits each statement is refused before the handler runs, wherever that was set."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from servers import MariaDBServer, PostgreSQLServer

from fungible.idempotency import IdempotencyKeys, TransactionalIdempotency, TransactionError
from idempotency.calling import Shop, call_raw, is_problem, order
from idempotency.databases import Database, Kept, prepare, sqlite_at

AUTOCOMMIT = {"isolation_level": "AUTOCOMMIT"}
SQLITE_WAYS = ("alchemy-connection", "alchemy-session")
ASYNC_WAYS = ("alchemy-async-connection", "alchemy-async-session")


def with_engine(make: Callable[[Any, Any], Any]) -> Callable[[Database], Any]:
    """What begins a transaction of a database on another engine than its own."""

    def prepared(database: Database) -> Any:
        database._engine = make(database.engine(), database)
        return database.begin

    return prepared


def engine_again(engine: Any, **options: Any) -> Any:
    if hasattr(engine, "sync_engine"):
        from sqlalchemy.ext.asyncio import create_async_engine

        return create_async_engine(engine.url, **options)
    from sqlalchemy import create_engine

    return create_engine(engine.url, **options)


def on_the_connection(database: Database) -> Any:
    """A connection or session whose own option it is."""

    @asynccontextmanager
    async def begin() -> AsyncIterator[Any]:
        is_async, is_session = "async" in database.way, database.way.endswith("session")
        if is_session and is_async:
            from sqlalchemy.ext.asyncio import AsyncSession

            async with AsyncSession(database.engine()) as asynchronous:
                await asynchronous.connection(execution_options=AUTOCOMMIT)
                yield asynchronous
        elif is_session:
            from sqlalchemy.orm import Session

            with Session(database.engine()) as session:
                session.connection(execution_options=AUTOCOMMIT)
                yield session
        elif is_async:
            async with database.engine().connect() as connection:
                yield await connection.execution_options(**AUTOCOMMIT)
        else:
            with database.engine().connect() as connection:
                yield connection.execution_options(**AUTOCOMMIT)

    return begin


SEATS: dict[str, Callable[[Database], Any]] = {
    "of the engine": with_engine(lambda engine, _: engine_again(engine, **AUTOCOMMIT)),
    "of a copy of the engine": with_engine(lambda engine, _: engine.execution_options(**AUTOCOMMIT)),
    "among the engine's execution options": with_engine(
        lambda engine, _: engine_again(engine, execution_options=AUTOCOMMIT)
    ),
    "of the connection": on_the_connection,
}


async def refused(database: Database, begin: Any) -> None:
    shop = Shop()
    app = TransactionalIdempotency(shop, begin=begin, sweep_every_s=0)
    answer = await order(app)
    assert is_problem(answer, 500, "idempotency_transaction"), answer.text
    assert "AUTOCOMMIT" in answer.text
    assert shop.effects == 0
    async with begin() as connection:
        with pytest.raises(TransactionError, match="AUTOCOMMIT"):
            async with IdempotencyKeys().transaction(SCOPE, connection, body=b""):
                pass
    await database.close()


SCOPE: Any = {
    "type": "http",
    "method": "POST",
    "path": "/orders",
    "headers": [(b"idempotency-key", b"k"), (b"authorization", b"Bearer ada")],
}


@pytest.mark.parametrize("seat", SEATS)
@pytest.mark.parametrize("way", SQLITE_WAYS)
async def test_f1_autocommit_is_refused_on_sqlite(seat: str, way: str, tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy")
    kept = sqlite_at(tmp_path / "shop.db")
    prepare(kept)
    database = Database("sqlite", way, kept.url)
    await refused(database, SEATS[seat](database))
    assert (kept.effects(), kept.rows()) == (0, 0)


@pytest.mark.parametrize("seat", SEATS)
@pytest.mark.parametrize("way", ASYNC_WAYS)
async def test_f1_autocommit_is_refused_on_postgresql(seat: str, way: str, postgresql_server: PostgreSQLServer) -> None:
    pytest.importorskip("sqlalchemy")
    kept = Kept("postgresql", postgresql_server.url, postgresql_server.run_sql)
    prepare(kept)
    database = Database("postgresql", way, kept.url)
    await refused(database, SEATS[seat](database))
    assert (kept.effects(), kept.rows()) == (0, 0)


@pytest.mark.parametrize("seat", [*SEATS, "of the driver"])
@pytest.mark.parametrize("way", ASYNC_WAYS)
async def test_f1_autocommit_is_refused_on_mariadb(seat: str, way: str, mariadb_server: MariaDBServer) -> None:
    pytest.importorskip("sqlalchemy")
    kept = Kept("mysql", mariadb_server.url, mariadb_server.run_sql)
    prepare(kept)
    database = Database("mysql", way, kept.url)
    at_the_driver = with_engine(lambda engine, _: engine_again(engine, connect_args={"autocommit": True}))
    await refused(database, SEATS.get(seat, at_the_driver)(database))
    assert (kept.effects(), kept.rows()) == (0, 0)


async def test_f1_a_connection_of_asyncmy_that_commits_each_statement_needs_a_transaction(
    mariadb_server: MariaDBServer,
) -> None:
    kept = Kept("mysql", mariadb_server.url, mariadb_server.run_sql)
    prepare(kept)
    database = Database("mysql", "asyncmy", kept.url)
    async with database.begin() as connection:
        await connection.rollback()
        await connection.autocommit(True)
        with pytest.raises(TransactionError, match=r"connection\.begin"):
            async with IdempotencyKeys().transaction(SCOPE, connection, body=b""):
                pass
        await connection.begin()
        async with IdempotencyKeys().transaction(SCOPE, connection, body=b"") as attempt:
            attempt.finish((200, [], b""))
    assert kept.rows() == 1


async def test_f1_a_connection_of_asyncpg_needs_a_transaction(postgresql_server: PostgreSQLServer) -> None:
    import asyncpg

    connection = await asyncpg.connect(postgresql_server.url)
    with pytest.raises(TransactionError, match=r"connection\.transaction"):
        async with IdempotencyKeys().transaction(SCOPE, connection, body=b""):
            pass
    await connection.close()


@pytest.mark.parametrize("way", SQLITE_WAYS)
async def test_f1_an_engine_that_begins_by_itself_is_taken_although_its_driver_would_not(
    way: str, tmp_path: Path
) -> None:
    """The recipe of SQLAlchemy's documentation for pysqlite: BEGIN is sent by an event of the engine."""
    sqlalchemy = pytest.importorskip("sqlalchemy")
    kept = sqlite_at(tmp_path / "shop.db")
    prepare(kept)
    database = Database("sqlite", way, kept.url)

    @sqlalchemy.event.listens_for(database.engine(), "connect")
    def connected(connection: sqlite3.Connection, _: Any) -> None:
        connection.isolation_level = None

    @sqlalchemy.event.listens_for(database.engine(), "begin")
    def begun(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")

    shop = Shop()
    app = TransactionalIdempotency(shop, begin=database.begin, sweep_every_s=0)
    assert [(await order(app)).text for _ in range(2)] == ["order 1", "order 1"]
    assert kept.rows() == 1
    await database.close()


async def test_f1_another_level_on_an_engine_that_commits_each_statement_is_taken(tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy")
    kept = sqlite_at(tmp_path / "shop.db")
    prepare(kept)
    database = Database("sqlite", "alchemy-connection", kept.url)
    database._engine = engine_again(database.engine(), **AUTOCOMMIT).execution_options(isolation_level="SERIALIZABLE")
    app = TransactionalIdempotency(Shop(), begin=database.begin, sweep_every_s=0)
    sent = await call_raw(app, [(b"idempotency-key", b"k")])
    assert (sent[0]["status"], kept.rows()) == (201, 1)
    await database.close()
