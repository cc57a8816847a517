"""Feeds: every live item, in order, at least once, on every instance."""

import asyncio
from collections.abc import Callable

import pytest

from contracts.backends import RACED, Backend
from contracts.processes import Processes
from contracts.racers import read_all
from fungible.stores import RecordTooLargeError, Store

Open = Callable[[], Store]


async def test_every_instance_sees_every_item_in_order(open_store: Open) -> None:
    store, other = open_store(), open_store()
    items = [f"{number}".encode() for number in range(30)]
    for number, item in enumerate(items):
        await (store, other)[number % 2].append("t", item, ttl_s=60)
    for reader in (store, other, open_store()):
        assert list((await reader.since("t")).items) == items


async def test_a_cursor_goes_on_where_the_page_ended(open_store: Open) -> None:
    store, other = open_store(), open_store()
    await store.append("t", b"1", ttl_s=60)
    first = await other.since("t")
    await store.append("t", b"2", ttl_s=60)
    await store.append("t", b"3", ttl_s=60)
    second = await other.since("t", first.cursor)
    assert (first.items, second.items) == ((b"1",), (b"2", b"3"))
    # A cursor is a place in the feed, the same one for every instance.
    assert (await store.since("t", first.cursor)).items == (b"2", b"3")
    third = await other.since("t", second.cursor)
    assert third.items == ()
    await store.append("t", b"4", ttl_s=60)
    assert (await other.since("t", third.cursor)).items == (b"4",)
    assert (await other.since("t", second.cursor)).items == (b"4",)


async def test_a_cursor_from_before_the_first_item_misses_nothing(open_store: Open) -> None:
    store, other = open_store(), open_store()
    empty = await other.since("t")
    assert empty.items == ()
    await store.append("t", b"1", ttl_s=60)
    assert (await other.since("t", empty.cursor)).items == (b"1",)


async def test_equal_items_are_items_of_their_own(open_store: Open) -> None:
    store = open_store()
    for _ in range(3):
        await store.append("t", b"same", ttl_s=60)
    assert (await store.since("t")).items == (b"same",) * 3


async def test_feeds_are_apart(open_store: Open) -> None:
    store = open_store()
    await store.append("t", b"t", ttl_s=60)
    await store.append("T", b"T", ttl_s=60)
    await store.append("t ", b"t ", ttl_s=60)
    for topic in ("t", "T", "t "):
        assert (await store.since(topic)).items == (topic.encode(),)


async def test_an_item_is_live_for_its_time(open_store: Open, backend: Backend) -> None:
    store = open_store()
    await store.append("t", b"short", ttl_s=60)
    await store.append("t", b"long", ttl_s=600)
    await store.append("t", b"short too", ttl_s=60)
    before = await store.since("t")
    backend.advance(61)
    assert (await store.since("t")).items == (b"long",)
    await store.append("t", b"next", ttl_s=60)
    assert (await store.since("t")).items == (b"long", b"next")
    assert (await store.since("t", before.cursor)).items == (b"next",)


async def test_a_feed_whose_items_have_all_expired_goes_on(open_store: Open, backend: Backend) -> None:
    store, other = open_store(), open_store()
    await store.append("t", b"1", ttl_s=60)
    cursor = (await other.since("t")).cursor
    backend.advance(100_000)
    assert (await store.since("t")).items == ()
    idle = await other.since("t", cursor)
    assert idle.items == ()
    await store.append("t", b"2", ttl_s=60)
    for since in (cursor, idle.cursor, None):
        assert (await other.since("t", since)).items == (b"2",)


async def test_an_item_may_be_large_and_no_larger(open_store: Open) -> None:
    store = open_store()
    await store.append("t", bytes(store.guarantees.max_record_bytes - 100), ttl_s=60)
    with pytest.raises(RecordTooLargeError):
        await store.append("t", bytes(store.guarantees.max_record_bytes + 1), ttl_s=60)
    assert [len(item) for item in (await store.since("t")).items] == [store.guarantees.max_record_bytes - 100]


async def test_many_writers_at_once_lose_no_item(open_store: Open) -> None:
    stores = [open_store() for _ in range(3)]
    items = {f"{number}".encode() for number in range(90)}
    await asyncio.gather(*(stores[index % 3].append("t", item, ttl_s=60) for index, item in enumerate(sorted(items))))
    page = await stores[0].since("t")
    assert len(page.items) == 90
    assert set(page.items) == items


@pytest.mark.parametrize("backend", RACED, indirect=True)
async def test_readers_see_one_order_while_several_processes_write(
    open_store: Open, backend: Backend, processes: Processes
) -> None:
    # Three who read while it is written: two here, one in another process.
    here = asyncio.gather(*(read_all(open_store(), "t", 200) for _ in range(2)))
    there = await processes.race(backend.urls, "follow", topic="t", items=50)
    orders = [*await here, there[0], list((await open_store().since("t")).items)]
    assert orders[0] == orders[1] == orders[2] == orders[3]
    for stream in (b"1.0", b"1.1", b"2.0", b"2.1"):
        numbers = [int(item.split()[1]) for item in orders[0] if item.startswith(stream)]
        assert numbers == list(range(50))


async def test_items_that_live_shortly_end_behind_one_that_lives_long(open_store: Open, backend: Backend) -> None:
    store = open_store()
    await store.append("t", b"long", ttl_s=3600)
    for _ in range(3):
        for number in range(20):
            await store.append("t", b"short %d" % number, ttl_s=60)
        backend.advance(61)
        assert (await store.since("t")).items == (b"long",)
    cursor = (await store.since("t")).cursor
    await store.append("t", b"new", ttl_s=60)
    assert b"new" in (await store.since("t", cursor)).items
    assert (await store.since("t")).items == (b"long", b"new")
