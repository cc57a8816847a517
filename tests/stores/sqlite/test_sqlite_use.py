"""SQLite: its tables, its lock, its thread, and what is cleared away."""

import asyncio
import gc
import random
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from contracts.clock import Clock
from sqlite_drills import PATIENCE_S, get_one, put_one, rows, run

from fungible.stores import (
    ABSENT,
    ConflictError,
    InvalidRecordError,
    NotMigratedError,
    Rate,
    StoreUnavailableError,
)
from fungible.stores.sqlite import SQLiteStore


def test_migrate_tells_what_it_has_run(tmp_path: Path) -> None:
    assert run(SQLiteStore.migrate, SQLiteStore(tmp_path / "a.db")) == [1]
    assert run(SQLiteStore.migrate, SQLiteStore(tmp_path / "a.db")) == []


def test_many_who_start_at_once_make_the_tables_once(tmp_path: Path) -> None:
    async def start() -> list[int]:
        stores = [SQLiteStore(tmp_path / "a.db", timeout_s=PATIENCE_S) for _ in range(12)]
        ran = await asyncio.gather(*(store.migrate() for store in stores))
        await asyncio.gather(*(store.aclose() for store in stores))
        return [number for numbers in ran for number in numbers]

    assert asyncio.run(start()) == [1]


def test_the_tables_of_a_later_release_are_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    run(put_one, SQLiteStore(path))
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("UPDATE fungible_versions SET version = 99")
    for work in (put_one, get_one, SQLiteStore.ping, SQLiteStore.migrate):
        with pytest.raises(NotMigratedError, match="at version 99, and this release needs 1: a newer release"):
            run(work, SQLiteStore(path))
    assert rows(path)["fungible_records"] == 1


def test_the_tables_of_others_in_the_same_file_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("PRAGMA user_version = 7")
        file.execute("CREATE TABLE records (key TEXT)")
        file.execute("INSERT INTO records VALUES ('theirs')")
    run(put_one, SQLiteStore(path))
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT key FROM records").fetchall() == [("theirs",)]
        assert file.execute("PRAGMA user_version").fetchone() == (7,)


def test_while_another_process_holds_the_lock_reads_go_on_and_writes_keep_their_deadline(tmp_path: Path) -> None:
    async def work(store: SQLiteStore) -> None:
        await put_one(store)
        with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as file:
            file.execute("BEGIN IMMEDIATE")
            tries = (store.put("s", {"a": b"2"}, ttl_s=60), store.take("r", Rate(limit=1, period_s=1)), store.ping())
            tasks = [asyncio.create_task(attempt) for attempt in tries]
            while not all(task.done() for task in tasks):
                assert (await store.get("s")).fields == {"a": b"1"}  # type: ignore[union-attr]
            for task in tasks:
                with pytest.raises(StoreUnavailableError, match="another process holds its lock"):
                    task.result()
            patient = SQLiteStore(tmp_path / "a.db", timeout_s=PATIENCE_S)
            waiting = asyncio.create_task(patient.put("s", {"a": b"3"}, ttl_s=60))
            assert await patient.get("s") is not None
            assert not waiting.done()
            file.execute("COMMIT")
        await waiting
        # Those that gave up have not been written later.
        assert (await store.get("s")).fields == {"a": b"3"}  # type: ignore[union-attr]
        assert (await store.take("r", Rate(limit=1, period_s=1))).allowed
        await patient.aclose()

    run(work, SQLiteStore(tmp_path / "a.db", timeout_s=0.3))


def test_writes_that_share_a_transaction_have_errors_of_their_own(tmp_path: Path) -> None:
    async def work(store: SQLiteStore) -> None:
        await store.put("taken", {"a": b"1"}, ttl_s=60)
        puts = [store.put(key, {"n": b"1"}, ttl_s=60, expect=ABSENT) for key in ("x", "taken", "y", "x", "z", "taken")]
        outcomes = await asyncio.gather(*puts, return_exceptions=True)
        assert [type(outcome) is ConflictError for outcome in outcomes] == [False, True, False, True, False, True]
        assert isinstance(outcomes[3], ConflictError)
        assert outcomes[3].current == outcomes[0]
        assert rows(tmp_path / "a.db")["fungible_records"] == 4

    run(work, SQLiteStore(tmp_path / "a.db"))


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "fungible-sqlite"}


def test_closing_a_store_ends_its_thread_and_so_does_dropping_it(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "a.db")
    before = threads()
    asyncio.run(put_one(store))
    [first] = threads() - before
    asyncio.run(store.aclose())
    first.join(PATIENCE_S)
    asyncio.run(put_one(store))
    [second] = threads() - before
    del store
    gc.collect()
    second.join(PATIENCE_S)
    assert not first.is_alive()
    assert not second.is_alive()


def test_a_cancelled_call_disturbs_no_other(tmp_path: Path) -> None:
    async def work(store: SQLiteStore) -> None:
        chance, cancelled = random.Random(7), 0

        async def drill(number: int) -> None:
            nonlocal cancelled
            for turn in range(60):
                fields = {"n": b"%d %d" % (number, turn)}
                try:
                    async with asyncio.timeout(chance.choice([0, 1e-4, 1e-3, 1.0]) * chance.random()):
                        put = await store.put(f"s{number}", fields, ttl_s=60)
                        assert put.fields == fields
                        assert await store.get(f"s{number}") == put
                except TimeoutError:
                    cancelled += 1

        await asyncio.gather(*(drill(number) for number in range(40)))
        assert cancelled > 300
        await put_one(store)
        assert await get_one(store) is not None

    run(work, SQLiteStore(tmp_path / "a.db", timeout_s=PATIENCE_S))


def test_a_call_that_is_cancelled_when_its_answer_is_on_its_way_takes_no_other_answer_with_it(tmp_path: Path) -> None:
    async def work(store: SQLiteStore) -> None:
        await store.ping()
        tasks = [asyncio.create_task(store.put(f"s{number}", {"a": b"1"}, ttl_s=60)) for number in range(20)]
        await asyncio.sleep(0)
        # The event loop stands still meanwhile: all is written, and none of the answers has been taken.
        while rows(tmp_path / "a.db")["fungible_records"] < 20:
            pass
        for task in tasks[::2]:
            task.cancel()
        assert [record.key for record in await asyncio.gather(*tasks[1::2])] == [f"s{n}" for n in range(1, 20, 2)]

    run(work, SQLiteStore(tmp_path / "a.db"))


def test_what_has_expired_leaves_the_file_while_others_write(tmp_path: Path) -> None:
    clock = Clock()
    old = 400

    async def work(store: SQLiteStore) -> None:
        rate = Rate(limit=10, period_s=10)
        await asyncio.gather(*(store.put(f"old {number}", {"a": b"1"}, ttl_s=60) for number in range(old)))
        await asyncio.gather(*(store.delete(f"dead {number}", tombstone_s=60) for number in range(old)))
        await asyncio.gather(*(store.take(f"rate {number}", rate) for number in range(old)))
        await asyncio.gather(*(store.append("t", b"1", ttl_s=60) for _ in range(old)))
        await store.put("lives", {"a": b"1"}, ttl_s=6000)
        await store.append("t", b"lives", ttl_s=6000)
        clock.time_s += 61
        written = 0
        # A sweep takes more than what is written between two, so this ends.
        while sum(rows(tmp_path / "a.db").values()) > 3:
            await store.put("lives", {"a": b"2"}, ttl_s=6000)
            await store.take("live rate", Rate(limit=1000, period_s=100_000))
            written += 2
            assert written < 4 * old
        assert await store.get("lives") is not None
        assert (await store.since("t")).items == (b"lives",)

    run(work, SQLiteStore(tmp_path / "a.db", now=clock))


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", "1 ", "٣", "9" * 30])
def test_a_cursor_from_elsewhere_is_refused(tmp_path: Path, cursor: str) -> None:
    async def work(store: SQLiteStore) -> None:
        with pytest.raises(InvalidRecordError):
            await store.since("t", cursor)

    run(work, SQLiteStore(tmp_path / "a.db"))
