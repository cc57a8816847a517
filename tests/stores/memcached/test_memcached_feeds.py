"""Feeds that are larger than an item of Memcached's."""

import asyncio

import pytest
from memcached_drills import opened, run
from servers import MemcachedServer

from fungible.stores import RecordTooLargeError


def test_a_feed_takes_more_than_an_item_does(server: MemcachedServer) -> None:
    async def drill() -> None:
        async with opened(server.url) as one, opened(server.url) as two, opened(server.url) as later:
            cursor = (await two.since("f")).cursor
            items = [bytes([number]) * 300_000 for number in range(8)]
            seen: list[bytes] = []
            for number, item in enumerate(items):
                await (one if number % 2 else two).append("f", item, ttl_s=60)
                if number in (1, 5):
                    page = await two.since("f", cursor)
                    seen += page.items
                    cursor = page.cursor
            page = await two.since("f", cursor)
            assert [*seen, *page.items] == items
            assert (await two.since("f", page.cursor)).items == ()
            # Who comes later sees all that is live, in order.
            assert list((await later.since("f")).items) == items

    run(drill())


def test_of_what_many_append_at_once_nothing_is_lost(server: MemcachedServer) -> None:
    async def drill() -> None:
        async with opened(server.url) as one, opened(server.url) as two, opened(server.url) as three:
            items = {bytes([number]) * 120_000 for number in range(30)}
            await asyncio.gather(*((one, two, three)[item[0] % 3].append("f", item, ttl_s=60) for item in items))
            found = (await one.since("f")).items
            assert (len(found), set(found)) == (30, items)

    run(drill())


def test_what_has_expired_makes_room(server: MemcachedServer) -> None:
    async def drill() -> None:
        moment_s = 1_000_000.0
        async with opened(server.url, now=lambda: moment_s) as store:
            for number in range(6):
                await store.append("f", bytes([number]) * 400_000, ttl_s=60)
            moment_s += 50
            await store.append("f", b"late", ttl_s=60)
            moment_s += 20
            assert (await store.since("f")).items == (b"late",)

    run(drill())


def test_what_is_too_large_by_itself_is_refused_and_hurts_nothing(server: MemcachedServer) -> None:
    async def drill() -> None:
        async with opened(server.url) as store:
            await store.append("f", b"x" * 500_000, ttl_s=60)
            with pytest.raises(RecordTooLargeError):
                await store.append("f", b"y" * 1_000_001, ttl_s=60)
            await store.append("f", b"z" * 999_000, ttl_s=60)
            assert [len(item) for item in (await store.since("f")).items] == [500_000, 999_000]

    run(drill())
