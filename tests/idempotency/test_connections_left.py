"""Point F1 for the application's own connection: it is left as it was found, however a claim on it ends."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from servers import MariaDBServer

from fungible.idempotency import IdempotencyKeys, TransactionError, Unfinished
from fungible.idempotency.sql.connections import adapter_of
from idempotency.databases import EFFECT, Database, Kept, prepare, sqlite_at
from idempotency.test_handler_transactions import scope

WAITING = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'INSERT IGNORE%'"


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    found = sqlite_at(tmp_path / "shop.db")
    prepare(found)
    return found


async def test_f1_a_claim_cancelled_while_it_waits_for_the_lock_leaves_the_connection_as_it_was(kept: Kept) -> None:
    other = sqlite3.connect(kept.url, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    mine = sqlite3.connect(kept.url, isolation_level=None, timeout=5)
    mine.execute("BEGIN")
    asked = asyncio.Event()
    mine.set_trace_callback(lambda statement: asked.set() if statement.startswith("INSERT") else None)

    async def claim() -> None:
        async with IdempotencyKeys(lock_wait_s=60).transaction(scope(), mine, body=b""):
            pass

    waiting = asyncio.create_task(claim())
    await asked.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert mine.execute("PRAGMA busy_timeout").fetchone() == (5000,)
    mine.close()
    other.close()


def test_f1_a_claim_interrupted_while_it_waits_for_the_lock_leaves_the_connection_as_it_was(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = sqlite3.connect(kept.url, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    mine = sqlite3.connect(kept.url, timeout=5)

    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupted)
    with pytest.raises(KeyboardInterrupt), IdempotencyKeys().transaction(scope(), mine, body=b""):
        pass
    assert mine.execute("PRAGMA busy_timeout").fetchone() == (5000,)
    mine.close()
    other.close()


@pytest.mark.parametrize("way", ["asyncmy", "alchemy-async-connection"])
async def test_f1_a_claim_cancelled_on_mariadb_leaves_the_connection_as_it_was_or_closed(
    mariadb_server: MariaDBServer, way: str
) -> None:
    kept = Kept("mysql", mariadb_server.url, mariadb_server.run_sql)
    prepare(kept)
    first, second = (Database("mysql", way, kept.url) for _ in range(2))
    async with first.begin() as holding:
        async with IdempotencyKeys().transaction(scope(), holding, body=b"") as held:
            held.finish((200, [], b""))
        # Closed by now, or lost: then its block can't end well.
        with contextlib.suppress(Exception):
            async with second.begin() as connection:
                waiting = asyncio.create_task(claimed_on(connection))
                while await asyncio.to_thread(kept.run, WAITING) == "0":
                    pass
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                assert adapter_of(connection).broken()
    await first.close()
    await second.close()


async def claimed_on(connection: Any) -> None:
    async with IdempotencyKeys(wait_s=60).transaction(scope(), connection, body=b""):
        pass


async def test_f1_a_claim_that_fails_on_mariadb_leaves_the_connection_as_it_was(mariadb_server: MariaDBServer) -> None:
    kept = Kept("mysql", mariadb_server.url, mariadb_server.run_sql)
    prepare(kept)
    kept.run("DROP TABLE fungible_idempotency")
    database = Database("mysql", "asyncmy", kept.url)
    async with database.begin() as connection:
        with pytest.raises(Exception, match="exist"):
            await claimed_on(connection)
        async with connection.cursor() as cursor:
            await cursor.execute("SELECT @@innodb_lock_wait_timeout = @@global.innodb_lock_wait_timeout")
            assert await cursor.fetchone() == (1,)
    await database.close()


def test_f1_a_transaction_that_has_read_before_it_claims_is_refused_at_once(kept: Kept) -> None:
    mine = sqlite3.connect(kept.url, isolation_level=None)
    mine.execute("BEGIN")
    mine.execute("SELECT COUNT(*) FROM effects").fetchone()
    other = sqlite3.connect(kept.url, isolation_level=None)
    other.execute(EFFECT)
    claims: list[str] = []
    mine.set_trace_callback(lambda statement: claims.append(statement) if statement.startswith("INSERT") else None)
    # What it has read is old, and stays so however long it waits.
    with pytest.raises(Unfinished), IdempotencyKeys(lock_wait_s=60).transaction(scope(), mine, body=b""):
        pass
    assert len(claims) == 1
    mine.close()
    other.close()


@pytest.mark.parametrize(
    ("autocommit", "isolation_level", "begun", "taken"),
    [
        (True, "", False, False),
        (True, "", True, True),
        (False, "", False, True),
        (False, None, False, True),
        (-1, "", False, True),
        (-1, None, False, False),
        (-1, None, True, True),
    ],
)
def test_f1_sqlite_autocommit_of_later_pythons_is_no_transaction(
    kept: Kept, autocommit: Any, isolation_level: Any, begun: bool, taken: bool
) -> None:
    class Connection(sqlite3.Connection):
        """As Python 3.12 has it."""

    Connection.autocommit = autocommit  # type: ignore[attr-defined, unused-ignore]
    connection = sqlite3.connect(kept.url, isolation_level=isolation_level, factory=Connection)
    if begun:
        connection.execute("BEGIN")
    adapter = adapter_of(connection)
    if taken:
        adapter.check()
    else:
        with pytest.raises(TransactionError, match="BEGIN"):
            adapter.check()
    connection.close()
