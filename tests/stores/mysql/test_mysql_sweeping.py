"""Sweeping: what has expired goes, what lives stays, and feeds go on where they were."""

import asyncio
from typing import TYPE_CHECKING

from mysql_drills import connected, opened, run

from fungible.stores import Rate
from fungible.stores.mysql import database, sweeping

if TYPE_CHECKING:
    import pytest
    from servers import MariaDBServer

TABLES = ("fungible_records", "fungible_rates", "fungible_topics", "fungible_items")
PAST = "UPDATE fungible_{table} SET {column} = {column} - 200000000000 WHERE {key} LIKE 'old%%'"


def test_what_has_expired_is_deleted_and_what_lives_stays(server: "MariaDBServer", url: str) -> None:
    async def drill() -> None:
        async with opened(url) as store, connected(url) as other:
            many = sweeping.BATCH + 20
            await asyncio.gather(*(store.put(f"old{number}", {}, ttl_s=1) for number in range(many)))
            for name in ("old", "new"):
                await store.put(name, {"a": b"1"}, ttl_s=600)
                await store.delete(f"{name} buried", tombstone_s=600)
                await store.take(name, Rate(limit=1, period_s=600))
                await store.append(name, b"1", ttl_s=600)
            # Touched since it was filed: the sweep comes to it, and files it anew.
            await store.put("kept", {"a": b"1"}, ttl_s=1)
            await store.touch("kept", ttl_s=600)
            await other.run("UPDATE fungible_records SET sweep_us = sweep_us - 2000000 WHERE record_key = 'kept'")
            for table, key, column in (
                ("records", "record_key", "expires_us"),
                ("rates", "rate_key", "tat_us"),
                ("topics", "topic", "expires_us"),
                ("items", "topic", "expires_us"),
            ):
                for moved in {column, "sweep_us" if table != "items" else column}:
                    await other.run(PAST.format(table=table, key=key, column=moved), {})
            await store._database.sweep()
            left = server.run_sql("SELECT record_key FROM fungible_records ORDER BY record_key").splitlines()
            assert left == ["kept", "new", "new buried"]
            for table, key in (("rates", "rate_key"), ("topics", "topic"), ("items", "topic")):
                assert server.run_sql(f"SELECT {key} FROM fungible_{table}") == "new"
            filed = "SELECT COUNT(*) FROM fungible_records WHERE sweep_us = expires_us"
            assert server.run_sql(filed) == "3"
            assert await store.get("kept") is not None

    run(drill())


def test_a_store_in_use_sweeps_by_itself(server: "MariaDBServer", url: str, monkeypatch: "pytest.MonkeyPatch") -> None:
    monkeypatch.setattr(database, "SWEEP_EVERY_S", 0.0)

    async def drill() -> None:
        async with opened(url) as store:
            await store.put("old", {}, ttl_s=1e-6)
            while server.run_sql("SELECT COUNT(*) FROM fungible_records") != "0":
                await store.get("anything")

    run(drill())


def test_a_topic_that_was_forgotten_goes_on_above_its_old_items(url: str) -> None:
    async def drill() -> None:
        async with opened(url) as store, connected(url) as other:
            await store.append("t", b"old", ttl_s=600)
            cursor = (await store.since("t")).cursor
            for table in ("topics", "items"):
                await other.run(f"DELETE FROM fungible_{table}")
            assert (await store.since("t", cursor)).items == ()
            await store.append("t", b"new", ttl_s=600)
            assert (await store.since("t", cursor)).items == (b"new",)

    run(drill())


def test_a_clock_that_was_set_back_does_not_hide_new_items(url: str) -> None:
    async def drill() -> None:
        async with opened(url) as store, connected(url) as other:
            await store.append("t", b"old", ttl_s=600)
            # As if the server's clock had been an hour ahead then.
            for table, column in (("topics", "last_number"), ("items", "number")):
                await other.run(f"UPDATE fungible_{table} SET {column} = {column} + 3600000000")
            cursor = (await store.since("t")).cursor
            await store.append("t", b"new", ttl_s=600)
            assert (await store.since("t", cursor)).items == (b"new",)

    run(drill())
