"""Cancelled calls: no reply reaches the wrong caller, and the connection serves on."""

import asyncio
import os
import random
from contextlib import suppress
from typing import TYPE_CHECKING

from memcached_drills import opened, run, servers_of, until

from fungible.stores import ConflictError, Rate
from fungible.stores.memcached import MemcachedStore

if TYPE_CHECKING:
    from servers import MemcachedServer

CALLERS, CALLS = 16, 400
RATE = Rate(limit=1_000_000, period_s=1)


async def call(store: MemcachedStore, key: str, kind: int) -> None:
    """One call, whose answer can only be its own."""
    if kind == 0:
        assert set((await store.since(key)).items) <= {key.encode()}
        return
    if kind == 1:
        await store.append(key, key.encode(), ttl_s=5)
        return
    if kind == 2:
        assert (await store.take("everybody's", RATE)).allowed
        return
    record = await store.get(key)
    assert record is not None
    assert record.fields["mine"] == key.encode() * 100
    if kind == 3:
        with suppress(ConflictError):
            changed = await store.change(record, {"drawn": os.urandom(6)})
            assert changed.fields["mine"] == key.encode() * 100


async def caller(store: MemcachedStore, key: str, chance: random.Random) -> int:
    """Many calls, most of them cancelled: before they start, while they wait for their turn, or for an answer."""
    cancelled = 0
    for _ in range(CALLS):
        task = asyncio.create_task(call(store, key, chance.randrange(8)))
        if chance.random() < 0.7:
            await asyncio.sleep(chance.choice([0, 0, chance.uniform(0, 0.002)]))
            task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            cancelled += 1
    return cancelled


def test_thousands_of_cancelled_calls_give_nobody_anothers_answer(server: "MemcachedServer") -> None:
    async def drill() -> None:
        chance = random.Random(3)
        await until(lambda: server.connections() == 0)
        async with opened(server.url) as store:
            keys = [f"key{number}" for number in range(CALLERS)]
            for key in keys:
                await store.put(key, {"mine": key.encode() * 100}, ttl_s=600)
            (only,) = servers_of(store)
            connection = only._connection
            cancelled = await asyncio.gather(*(caller(store, key, chance) for key in keys))
            assert sum(cancelled) > CALLERS * CALLS // 3
            await asyncio.gather(*(call(store, key, kind) for key in keys for kind in range(8)))
            # One connection did it all: a cancelled call does not cost it.
            assert only._connection is connection
            assert server.connections() == 1
            assert store._items._loops.here().turns._waiting == {}
        await until(lambda: server.connections() == 0)

    run(drill())


def test_a_call_cancelled_while_the_connection_opens_leaves_it_to_the_others(server: "MemcachedServer") -> None:
    async def drill() -> None:
        async with opened(server.url) as store:
            first = asyncio.create_task(store.get("k"))
            others = [asyncio.create_task(store.get("k")) for _ in range(10)]
            await asyncio.sleep(0)
            first.cancel()
            assert await asyncio.gather(*others) == [None] * 10
            assert first.cancelled()

    run(drill())
