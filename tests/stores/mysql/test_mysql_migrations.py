"""Migrations: any number of instances at once, cut off anywhere, and an honest error where they were not run."""

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from mysql_drills import connected, opened, run

from fungible.stores import NotMigratedError
from fungible.stores.migrations import load_migrations

if TYPE_CHECKING:
    from servers import MariaDBServer

WANTED = [migration.number for migration in load_migrations("fungible.stores.mysql")]
MIGRATE = """
import asyncio, sys
from fungible.stores import open_store
async def main():
    store = open_store(sys.argv[1], timeout_s=20)
    sys.stdin.readline()
    applied = await (store.migrate() if sys.argv[2] == "migrate" else store.ping()) or []
    await store.put(sys.argv[3], {}, ttl_s=60)
    await store.aclose()
    print(*applied)
asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["migrate", "auto"])
def test_of_five_processes_at_once_one_migrates_and_all_go_on(server: "MariaDBServer", url: str, how: str) -> None:
    where = server.url if how == "migrate" else url
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MIGRATE, where, how, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(5)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    ended = [process.communicate(timeout=60) for process in processes]
    assert [(process.returncode, errors) for process, (_, errors) in zip(processes, ended, strict=True)] == [
        (0, "")
    ] * 5
    if how == "migrate":
        assert sorted(out.split() for out, _ in ended) == [[], [], [], [], [str(number) for number in WANTED]]
    assert server.run_sql("SELECT COUNT(*) FROM fungible_records") == "5"
    assert server.run_sql("SELECT COUNT(*) FROM fungible_migrations") == str(len(WANTED))


def test_without_its_tables_every_verb_says_what_to_run(server: "MariaDBServer") -> None:
    async def drill() -> None:
        async with opened(server.url) as store:
            for verb in (store.get("k"), store.put("k", {}, ttl_s=1), store.since("t"), store.ping()):
                with pytest.raises(NotMigratedError, match="fungible storage migrate") as raised:
                    await verb
                assert (raised.value.found, raised.value.wanted) == (0, WANTED[-1])
            assert await store.applied() == 0
            assert await store.migrate() == WANTED
            assert await store.migrate() == []
            assert await store.applied() == WANTED[-1]
            await store.put("k", {}, ttl_s=60)
            server.reset()
            with pytest.raises(NotMigratedError):
                await store.get("k")

    run(drill())


def test_a_migration_that_was_cut_off_is_done_again(server: "MariaDBServer", url: str) -> None:
    async def drill() -> None:
        async with opened(server.url) as store, connected(url) as other:
            await store.migrate()
            await store.put("k", {"a": b"1"}, ttl_s=600)
            # As if the process had died after the second statement.
            await other.run("DROP TABLE fungible_topics, fungible_items")
            await other.run("DELETE FROM fungible_migrations")
            with pytest.raises(NotMigratedError):
                await store.ping()
            assert await store.migrate() == WANTED
            await store.append("t", b"1", ttl_s=60)
            assert await store.get("k") is not None

    run(drill())


def test_many_first_calls_of_one_process_migrate_once(server: "MariaDBServer", url: str) -> None:
    async def drill() -> None:
        async with opened(url) as store:
            await asyncio.gather(*(store.put(f"k{number}", {}, ttl_s=60) for number in range(50)))
        assert server.run_sql("SELECT COUNT(*) FROM fungible_migrations") == str(len(WANTED))

    run(drill())


def test_a_store_that_migrates_by_itself_does_so_again_in_an_emptied_database(
    server: "MariaDBServer", url: str
) -> None:
    async def drill() -> None:
        async with opened(url) as store:
            await store.put("k", {"a": b"1"}, ttl_s=600)
            server.reset()
            assert await store.get("k") is None
            await store.put("k", {"a": b"1"}, ttl_s=600)

    run(drill())


def test_tables_of_a_later_release_are_used(server: "MariaDBServer", url: str) -> None:
    async def drill() -> None:
        async with opened(server.url) as store, connected(url) as other:
            await store.migrate()
            await other.run("INSERT INTO fungible_migrations VALUES (9999, 'later', 0)")
            await store.ping()
            assert await store.migrate() == []

    run(drill())
