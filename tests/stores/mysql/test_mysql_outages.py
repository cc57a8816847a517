"""Servers that are silent, dead, restarted, or locked: an honest error within the deadline, and service by itself."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import pytest
from mysql_drills import connected, opened, pool_of, returns, run, until

from fungible.stores import Rate, StoreUnavailableError
from fungible.stores.mysql import MySQLStore
from fungible.stores.mysql.connecting import Connection

if TYPE_CHECKING:
    from servers import MariaDBServer

HOURLY = Rate(limit=1000, period_s=3600)
DEADLINE_S = 0.3


def verbs(store: MySQLStore) -> list[Callable[[], Coroutine[Any, Any, Any]]]:
    return [
        lambda: store.get("k"),
        lambda: store.put("k", {"a": bytes(500_000)}, ttl_s=60),
        lambda: store.touch("k", ttl_s=60),
        lambda: store.delete("k", tombstone_s=60),
        lambda: store.take("k", HOURLY),
        lambda: store.append("k", bytes(500_000), ttl_s=60),
        lambda: store.since("k"),
        lambda: store.ping(),
        lambda: store.applied(),
        lambda: store.migrate(),
    ]


def test_a_silent_server_costs_each_call_its_deadline_and_the_connection_is_closed(
    server: "MariaDBServer", url: str
) -> None:
    async def drill() -> None:
        await until(lambda: server.connections() == 0)
        async with opened(url, timeout_s=DEADLINE_S) as store:
            await returns(store)
            await asyncio.gather(*(store.get("k") for _ in range(10)), return_exceptions=True)
            server.pause()
            for verb in verbs(store):
                with pytest.raises(StoreUnavailableError, match=f"no answer within {DEADLINE_S:g} s"):
                    await verb()
            answers = await asyncio.gather(*(verb() for verb in verbs(store) * 5), return_exceptions=True)
            assert {type(answer) for answer in answers} == {StoreUnavailableError}
            assert pool_of(store).connections == 0
            server.resume()
            await returns(store)
            assert pool_of(store).connections == pool_of(store).idle == 1
            await until(lambda: server.connections() == 1)

    run(drill())


def test_the_first_call_after_a_restart_is_answered(server: "MariaDBServer", url: str) -> None:
    async def drill() -> None:
        async with opened(url) as store:
            put = await store.put("k", {"a": b"1"}, ttl_s=600)
            await asyncio.gather(*(store.get("k") for _ in range(10)))
            assert pool_of(store).idle == 10
            # In a thread, as elsewhere in the world: meanwhile the event loop hears that the connections have ended.
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            assert (await store.change(put, {"a": b"2"})).fields == {"a": b"2"}
            assert await store.get("k") is not None
            # The other nine had ended with the server.
            await asyncio.gather(*(store.get("k") for _ in range(10)))

    run(drill())


def test_an_idle_connection_that_the_server_has_ended_is_not_used(url: str) -> None:
    async def drill() -> None:
        async with opened(url) as store, connected(url) as other:
            put = await store.put("k", {"a": b"1"}, ttl_s=600)
            ended = await store._database.read(Connection.run, "SELECT CONNECTION_ID()")
            await other.run(f"KILL {ended.rows[0][0]}")
            assert (await store.change(put, {"a": b"2"})).fields == {"a": b"2"}

    run(drill())


def test_a_call_that_waits_for_a_lock_ends_at_its_deadline_on_the_server_too(url: str) -> None:
    async def drill() -> None:
        async with opened(url, timeout_s=1) as store, connected(url) as other:
            put = await store.put("k", {"a": b"1"}, ttl_s=600)
            await other.run("BEGIN")
            await other.run("SELECT * FROM fungible_records FOR UPDATE")
            with pytest.raises(StoreUnavailableError):
                await store.change(put, {"a": b"2"})
            waiting = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'UPDATE fungible_records%%'"

            # No thread of the server stays behind, to wait for a lock on nobody's behalf.
            async def none_waits() -> bool:
                return (await other.run(waiting)).rows[0][0] == 0

            await until(none_waits)
            await other.run("COMMIT")
            assert (await store.change(put, {"a": b"3"})).fields == {"a": b"3"}

    run(drill())


def test_what_a_deadlock_has_rolled_back_is_done_again(url: str) -> None:
    async def drill() -> None:
        tries: list[str] = []
        locked: list[str] = []

        async with opened(url) as store:
            both = asyncio.Event()
            await store.put("a", {"n": b""}, ttl_s=600)
            await store.put("b", {"n": b""}, ttl_s=600)

            async def crosswise(connection: Connection, name: str, first: str, second: str) -> None:
                tries.append(name)
                add = "UPDATE fungible_records SET sweep_us = sweep_us + 1 WHERE record_key = %(key)s"
                await connection.run("BEGIN")
                await connection.run(add, {"key": first.encode()})
                locked.append(first)
                if len(locked) == 2:
                    both.set()
                await both.wait()
                await connection.run(add, {"key": second.encode()})
                await connection.run("COMMIT")

            await asyncio.gather(
                store._database.write(crosswise, "left", "a", "b"), store._database.write(crosswise, "right", "b", "a")
            )
            assert sorted(tries[:2]) == ["left", "right"]
            assert len(tries) == 3
            assert pool_of(store).idle == pool_of(store).connections

    run(drill())


def test_when_the_server_lets_no_more_connections_in_the_open_ones_serve_everybody(url: str) -> None:
    async def drill() -> None:
        async with connected(url) as other, opened(url) as store:
            await store.put("k", {"a": b"1"}, ttl_s=600)
            await asyncio.gather(store.get("k"), store.get("k"))
            most = (await other.run("SELECT @@max_connections")).rows[0][0]
            # Ten is the least it can be set to; one more is let in where its user is an administrator.
            await other.run("SET GLOBAL max_connections = 10")
            try:
                async with opened(f"{url}&pool_size=20") as crowded:
                    answers = await asyncio.gather(*(crowded.get("k") for _ in range(200)))
                    assert all(answer is not None for answer in answers)
            finally:
                await other.run(f"SET GLOBAL max_connections = {most}")

    run(drill())


def test_a_connection_that_lost_its_database_is_replaced(server: "MariaDBServer", url: str) -> None:
    async def drill() -> None:
        async with opened(url) as store:
            await store.put("k", {"a": b"1"}, ttl_s=600)
            server.reset()
            await store.migrate()
            assert await store.get("k") is None
            await store.put("k", {"a": b"1"}, ttl_s=600)

    run(drill())
