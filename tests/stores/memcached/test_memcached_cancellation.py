"""Cancelled calls: no reply reaches the wrong caller, and the connection serves on."""

import asyncio
from typing import TYPE_CHECKING

from contracts.cancelled import CALLERS, KINDS, call, cancelled_calls, prepared
from memcached_drills import opened, run, servers_of, until

if TYPE_CHECKING:
    from servers import MemcachedServer

CALLS = 400


def test_thousands_of_cancelled_calls_give_nobody_anothers_answer(server: "MemcachedServer") -> None:
    async def drill() -> None:
        await until(lambda: server.connections() == 0)
        async with opened(server.url) as store:
            keys = await prepared(store)
            (only,) = servers_of(store)
            connection = only._connection
            assert await cancelled_calls(store, keys, each=CALLS, within_s=0.002) > CALLERS * CALLS // 3
            await asyncio.gather(*(call(store, key, kind) for key in keys for kind in KINDS))
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
