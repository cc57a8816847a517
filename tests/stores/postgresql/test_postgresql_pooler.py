"""A store behind PgBouncer in transaction mode, where each statement may go to another connection of the server."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import pytest
from servers import PgBouncer, PostgreSQLServer

from fungible.stores import ABSENT, ConflictError, Rate, StoreUnavailableError, open_store


@pytest.fixture
def pooler(server: PostgreSQLServer) -> Iterator[PgBouncer]:
    if missing := PgBouncer.missing():
        pytest.skip(missing)
    with PgBouncer(server) as pooler:
        yield pooler


def test_a_store_works_behind_a_pooler_in_transaction_mode(pooler: PgBouncer) -> None:
    async def run() -> None:
        stores = [
            open_store(f"{pooler.url}?statement_cache=0&migrate=auto&pool_size=8", timeout_s=30) for _ in range(3)
        ]

        async def add(store_number: int, name: str) -> None:
            store = stores[store_number]
            record = await store.get("record")
            assert record is not None
            await store.change(record, {name: b"1"})

        try:
            created = await asyncio.gather(
                *(store.put("record", {}, ttl_s=60, expect=ABSENT) for store in stores), return_exceptions=True
            )
            assert sum(isinstance(each, ConflictError) for each in created) == 2
            # Many more at once than the pooler has connections.
            await asyncio.gather(*(add(number % 3, f"field-{number}") for number in range(60)))
            record = await stores[0].get("record")
            assert record is not None
            assert len(record.fields) == 60
            taken = await asyncio.gather(*(stores[n % 3].take("t", Rate(limit=5, period_s=3600)) for n in range(30)))
            assert sum(each.allowed for each in taken) == 5
            for number in range(20):
                await stores[number % 3].append("feed", b"%d" % number, ttl_s=60)
            feed = await stores[1].since("feed")
            assert list(feed.items) == [b"%d" % number for number in range(20)]
            await stores[0].delete("record", tombstone_s=30)
            assert await stores[1].get("record") is None
        finally:
            for store in stores:
                await store.aclose()

    asyncio.run(run())


def test_a_cancelled_call_behind_a_pooler_gives_nobody_its_reply(pooler: PgBouncer) -> None:
    async def run() -> None:
        store = open_store(f"{pooler.url}?statement_cache=0&migrate=auto&pool_size=4", timeout_s=30)
        try:
            for number in range(20):
                await store.put(f"key-{number}", {"n": b"%d" % number}, ttl_s=60)

            async def read(number: int) -> None:
                record = await store.get(f"key-{number % 20}")
                assert record is not None
                assert record.fields == {"n": b"%d" % (number % 20)}

            for around in range(20):
                tasks = [asyncio.create_task(read(number)) for number in range(20)]
                for _ in range(around):
                    await asyncio.sleep(0)
                for task in tasks[::2]:
                    task.cancel()
                for task in tasks:
                    with suppress(asyncio.CancelledError):
                        await task
        finally:
            await store.aclose()

    asyncio.run(run())


def test_without_the_option_for_it_the_error_names_the_option(pooler: PgBouncer) -> None:
    async def run() -> None:
        store = open_store(pooler.url, timeout_s=30)
        try:
            with pytest.raises(StoreUnavailableError, match=r"\?statement_cache=0"):
                await store.get("key")
        finally:
            await store.aclose()

    asyncio.run(run())
