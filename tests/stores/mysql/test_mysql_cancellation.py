"""Cancelled calls: no reply reaches the wrong caller, no connection leaks, nothing stays locked."""

import asyncio
from typing import TYPE_CHECKING

from contracts.cancelled import CALLERS, call, cancelled_calls, prepared
from mysql_drills import connected, opened, pool_of, run, until

if TYPE_CHECKING:
    from servers import MariaDBServer

CALLS = 250


def test_thousands_of_cancelled_calls_give_nobody_anothers_answer_and_leak_no_connection(
    server: "MariaDBServer", url: str
) -> None:
    async def drill() -> None:
        await until(lambda: server.connections() == 0)
        async with opened(f"{url}&pool_size=4") as store:
            keys = await prepared(store)
            assert await cancelled_calls(store, keys, each=CALLS, within_s=0.003) > CALLERS * CALLS // 3
            pool = pool_of(store)
            assert pool.connections == pool.idle <= 4
            await asyncio.gather(*(call(store, key, 4) for key in keys))
            assert pool.connections == pool.idle == 4
            await until(lambda: server.connections() == 4)
        await until(lambda: server.connections() == 0)

    run(drill())


def test_who_is_cancelled_while_waiting_for_a_connection_passes_its_turn_on(url: str) -> None:
    async def drill() -> None:
        async with opened(f"{url}&pool_size=1") as store, connected(url) as other:
            await store.put("k", {"a": b"1"}, ttl_s=600)
            await other.run("BEGIN")
            await other.run("SELECT * FROM fungible_records FOR UPDATE")
            holder = asyncio.create_task(store.touch("k", ttl_s=700))
            await until(lambda: pool_of(store).idle == 0)
            waiting = [asyncio.create_task(store.get("k")) for _ in range(10)]
            await asyncio.sleep(0)
            await other.run("COMMIT")
            assert await holder is not None
            # The first one's turn has come, and it is cancelled before it can take it.
            for task in waiting[:9]:
                task.cancel()
            assert (await waiting[9]) is not None
            assert pool_of(store).idle == pool_of(store).connections == 1

    run(drill())


def test_a_cancelled_append_leaves_its_topic_unlocked(url: str) -> None:
    async def drill() -> None:
        async with opened(url) as store:
            await store.append("t", b"first", ttl_s=600)
            for turn in range(200):
                task = asyncio.create_task(store.append("t", b"cancelled", ttl_s=600))
                await asyncio.sleep(0 if turn % 2 else 0.0005)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            await store.append("t", b"last", ttl_s=600)
            items = (await store.since("t")).items
            assert items[0] == b"first"
            assert items[-1] == b"last"
            assert set(items[1:-1]) <= {b"cancelled"}

    run(drill())
