"""Two nodes of a Galera cluster that both take writes: one feed, one state, whichever node is asked."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from mysql_drills import opened, returns, run

from fungible.stores import ConflictError, Rate, StoreUnavailableError
from fungible.stores.migrations import load_migrations
from fungible.stores.mysql import MySQLStore
from fungible.stores.mysql.connecting import Connection

if TYPE_CHECKING:
    from servers import GaleraServers

WANTED = [migration.number for migration in load_migrations("fungible.stores.mysql")]
HOURLY = Rate(limit=50, period_s=36_000)
WRITERS = 8
EACH = 120


@pytest.fixture
def galera(galera_servers: "GaleraServers") -> "GaleraServers":
    galera_servers.revive()
    galera_servers.reset()
    return galera_servers


@asynccontextmanager
async def both(galera: "GaleraServers") -> AsyncGenerator[tuple[MySQLStore, MySQLStore]]:
    """A store on each node."""
    async with opened(galera.first.url, timeout_s=30) as one, opened(galera.second.url, timeout_s=30) as other:
        await one.migrate()
        yield one, other


def test_every_item_that_was_acknowledged_through_either_node_is_in_the_feed(galera: "GaleraServers") -> None:
    async def drill() -> None:
        async with both(galera) as stores:

            async def writer(name: int) -> None:
                for number in range(EACH):
                    await stores[name % 2].append("t", b"%d %d" % (name, number), ttl_s=600)

            seen: list[bytes] = []
            cursor: str | None = None
            writing = asyncio.gather(*(writer(name) for name in range(2 * WRITERS)))
            # Read meanwhile, now here, now there: what a cursor has passed must not appear behind it.
            turn = 0
            while not writing.done():
                page = await stores[turn % 2].since("t", cursor)
                cursor, turn = page.cursor, turn + 1
                seen += page.items
            await writing
            seen += (await stores[0].since("t", cursor)).items
            assert len(seen) == len(set(seen)) == 2 * WRITERS * EACH
            assert list((await stores[1].since("t")).items) == seen

    run(drill())


def test_what_was_done_through_one_node_is_seen_through_the_other_at_once(galera: "GaleraServers") -> None:
    async def drill() -> None:
        async with both(galera) as stores:
            for turn in range(60):
                key = f"k{turn}"
                here, there = stores if turn % 2 else stores[::-1]
                put = await here.put(key, {"a": b"1"}, ttl_s=60)
                assert await there.get(key) == put
                changed = await there.change(put, {"a": b"2"})
                assert await here.get(key) == changed
                assert await there.touch(key, ttl_s=600) == await here.touch(key, ttl_s=500)
                await here.append("t", key.encode(), ttl_s=600)
                assert (await there.since("t")).items[-1] == key.encode()
                await here.put(f"{key} too", {"a": b"1"}, ttl_s=60)
                # A DELETE that finds no row does nothing: the record would live on.
                await there.delete(f"{key} too")
                assert await here.get(f"{key} too") is None

    run(drill())


def test_both_nodes_together_count_and_limit_as_one(galera: "GaleraServers") -> None:
    async def drill() -> None:
        async with both(galera) as stores:
            await stores[0].put("n", {"n": b"0"}, ttl_s=600)

            async def count(store: MySQLStore) -> int:
                for _ in range(20):
                    record = await store.get("n")
                    while True:
                        assert record is not None
                        try:
                            await store.change(record, {"n": b"%d" % (int(record.fields["n"]) + 1)})
                            break
                        except ConflictError as conflict:
                            record = conflict.current
                return sum([(await store.take("r", HOURLY)).allowed for _ in range(20)])

            allowed = await asyncio.gather(*(count(store) for store in stores * 2))
            record = await stores[1].get("n")
            assert record is not None
            assert record.fields == {"n": b"80"}
            assert sum(allowed) == 50

    run(drill())


def test_of_two_nodes_that_are_migrated_at_once_both_are(galera: "GaleraServers") -> None:
    async def drill() -> None:
        for _ in range(3):
            async with opened(galera.first.url) as one, opened(galera.second.url) as other:
                applied = await asyncio.gather(one.migrate(), other.migrate())
                assert sorted(applied) == [[], WANTED]
                await asyncio.gather(one.ping(), other.ping())
            galera.reset()

    run(drill())


def test_waiting_for_the_other_nodes_is_asked_for_where_there_are_some(galera: "GaleraServers") -> None:
    async def drill() -> None:
        async with both(galera) as (store, _):
            answer = await store._database.read(Connection.run, "SELECT @@wsrep_sync_wait")
            assert answer.rows[0][0] == 3

    run(drill())


def test_a_node_that_serves_nobody_is_unavailable_and_serves_again_by_itself(galera: "GaleraServers") -> None:
    async def drill() -> None:
        async with both(galera) as stores:
            put = await stores[1].put("k", {"a": b"1"}, ttl_s=600)
            # Error 1047 to all, as from a node that has lost its cluster, or is not yet in step with it.
            galera.second.run_sql("SET GLOBAL wsrep_reject_queries = ALL")
            for _ in range(2):
                with pytest.raises(StoreUnavailableError, match="Galera cluster"):
                    await stores[1].get("k")
            assert await stores[0].get("k") == put
            galera.second.run_sql("SET GLOBAL wsrep_reject_queries = NONE")
            await returns(stores[1])
            assert await stores[1].get("k") == put

    run(drill())


def test_a_cluster_that_loses_a_node_is_unavailable_for_a_while_and_goes_on_by_itself(galera: "GaleraServers") -> None:
    async def drill() -> None:
        async with both(galera) as (_, other), opened(galera.first.url, timeout_s=1) as store:
            put = await store.put("k", {"a": b"1"}, ttl_s=600)
            await asyncio.to_thread(galera.second.kill)
            with pytest.raises(StoreUnavailableError):
                await other.get("k")
            # Until the one that is left knows that the other has gone, nothing is answered that could be wrong.
            await returns(store)
            while True:
                try:
                    changed = await store.change(put, {"a": b"2"})
                    break
                except StoreUnavailableError:
                    # Done or not: it is read again.
                    await returns(store)
                except ConflictError as conflict:
                    changed = conflict.current
                    break
            assert changed.fields == {"a": b"2"}
            await asyncio.to_thread(galera.revive)
            await returns(other)
            assert await other.get("k") == changed

    run(drill())
