"""The tables: made once, by whoever comes first, whole or not at all."""

import asyncio
import subprocess
import sys
from contextlib import AsyncExitStack

import pytest
from postgresql_drills import opened
from servers import PostgreSQLServer

from fungible.core.errors import SettingError
from fungible.stores import StoreUnavailableError
from fungible.stores.postgresql import tables

TABLES = "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'fungible%'"
STARTING = """
import asyncio, sys
from fungible.stores import open_store

async def main():
    store = open_store(sys.argv[1], timeout_s=60)
    sys.stdin.readline()
    print(await store.migrate() if sys.argv[2] == "migrate" else await store.ping())
    await store.put(sys.argv[2], {}, ttl_s=60)
    await store.aclose()

asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["migrate", "first use"])
def test_of_five_processes_that_start_at_once_one_makes_the_tables(
    server: PostgreSQLServer, url: str, how: str
) -> None:
    command = [sys.executable, "-c", STARTING, server.url if how == "migrate" else url, how]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(5)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60) for process in started]
    assert [errors for _, errors in answers] == [""] * 5
    if how == "migrate":
        assert sorted(output.strip() for output, _ in answers) == [*["[1]"], *["[]"] * 4]
    assert server.run_sql("SELECT number, name FROM fungible_migrations") == "1|records"


def test_where_the_lock_keeps_nobody_apart_the_tables_are_made_once_all_the_same(
    server: PostgreSQLServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As in engines that give an advisory lock to everybody who asks.
    monkeypatch.setattr(tables, "TAKE_LOCK", "SELECT $1::bigint")

    async def run() -> None:
        for _ in range(5):
            async with AsyncExitStack() as stack:
                stores = [await stack.enter_async_context(opened(server.url)) for _ in range(5)]
                applied = await asyncio.gather(*(store.migrate() for store in stores))
                assert sorted(applied) == [[], [], [], [], [1]]
                await stores[0].put("key", {}, ttl_s=60)
            server.reset()

    asyncio.run(run())


def test_a_migration_that_fails_leaves_nothing_behind(server: PostgreSQLServer) -> None:
    server.run_sql("CREATE TABLE fungible_items (mine integer)")

    async def run() -> None:
        async with opened(server.url) as store:
            with pytest.raises(StoreUnavailableError, match="already exists"):
                await store.migrate()
            assert await store.applied() == 0
            assert server.run_sql(TABLES) == "1"
            server.run_sql("DROP TABLE fungible_items")
            assert await store.migrate() == [1]
            assert await store.applied() == 1

    asyncio.run(run())


def test_tables_of_a_newer_release_will_do(server: PostgreSQLServer, url: str) -> None:
    async def run() -> None:
        async with opened(url) as store:
            await store.ping()
        server.run_sql("INSERT INTO fungible_migrations (number, name) VALUES (2, 'from tomorrow')")
        async with opened(url) as store:
            assert await store.migrate() == []
            assert await store.applied() == 2
            await store.ping()
            await store.put("key", {}, ttl_s=60)

    asyncio.run(run())


def test_a_first_use_that_is_cut_off_does_not_keep_others_from_theirs(server: PostgreSQLServer, url: str) -> None:
    async def run() -> None:
        async with opened(url) as store:
            first = asyncio.create_task(store.get("key"))
            others = [asyncio.create_task(store.get("key")) for _ in range(5)]
            await asyncio.sleep(0)
            first.cancel()
            assert await asyncio.gather(*others) == [None] * 5

    asyncio.run(run())


def test_a_database_that_can_not_hold_every_key_is_refused(server: PostgreSQLServer) -> None:
    server.run_sql("DROP DATABASE IF EXISTS latin", database="postgres")
    server.run_sql("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0", database="postgres")

    async def run() -> None:
        async with opened(f"{server.url.rpartition('/')[0]}/latin") as store:
            with pytest.raises(SettingError, match="LATIN1"):
                await store.migrate()

    asyncio.run(run())
    server.run_sql("DROP DATABASE latin WITH (FORCE)", database="postgres")
