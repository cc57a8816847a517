"""Servers that are silent, dead, restarted, one of several, or something else: an honest error, and service again."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from memcached_drills import opened, returns, run, until
from servers import MemcachedServer

from fungible.stores import GoneError, Rate, StoreUnavailableError
from fungible.stores.memcached import MemcachedStore
from fungible.stores.memcached.values import RECORD, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

HOURLY = Rate(limit=1000, period_s=3600)
DEADLINE_S = 0.3


def verbs(store: MemcachedStore) -> list[Callable[[], Coroutine[Any, Any, Any]]]:
    return [
        lambda: store.get("k"),
        lambda: store.put("k", {"a": bytes(500_000)}, ttl_s=60),
        lambda: store.touch("k", ttl_s=60),
        lambda: store.delete("k", tombstone_s=60),
        lambda: store.take("k", HOURLY),
        lambda: store.append("k", bytes(500_000), ttl_s=60),
        lambda: store.since("k"),
        lambda: store.ping(),
    ]


def test_a_silent_server_costs_each_call_its_deadline_and_the_connection_is_closed(server: MemcachedServer) -> None:
    async def drill() -> None:
        await until(lambda: server.connections() == 0)
        async with opened(server.url, timeout_s=DEADLINE_S) as store:
            await returns(store)
            server.pause()
            for verb in verbs(store):
                with pytest.raises(StoreUnavailableError, match=f"no answer within {DEADLINE_S:g} s"):
                    await verb()
            answers = await asyncio.gather(*(verb() for verb in verbs(store) * 20), return_exceptions=True)
            assert {type(answer) for answer in answers} == {StoreUnavailableError}
            server.resume()
            await returns(store)
            # Whatever was opened meanwhile is closed, but for the one that serves now.
            await until(lambda: server.connections() == 1)

    run(drill())


def test_a_reply_that_comes_too_late_is_nobodys(server: MemcachedServer) -> None:
    async def drill() -> None:
        async with opened(server.url, timeout_s=DEADLINE_S) as store, opened(server.url) as patient:
            for key in ("a", "b"):
                await patient.put(key, {"mine": key.encode()}, ttl_s=600)
            await returns(store)
            server.pause()
            with pytest.raises(StoreUnavailableError):
                await store.get("a")
            waiting = asyncio.create_task(patient.get("b"))
            server.resume()
            for key in ("b", "a", "b"):
                record = await patient.get(key)
                assert record is not None
                assert record.fields == {"mine": key.encode()}
            assert await waiting is not None

    run(drill())


def test_a_restarted_server_has_forgotten_and_nothing_comes_back(server: MemcachedServer) -> None:
    async def drill() -> None:
        async with opened(server.url) as store:
            put = await store.put("k", {"a": b"1"}, ttl_s=600)
            await store.append("t", b"old", ttl_s=600)
            cursor = (await store.since("t")).cursor
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            assert await store.get("k") is None
            with pytest.raises(GoneError):
                await store.change(put, {"a": b"2"})
            # Whoever has read the old feed to its end sees the new one from its beginning.
            assert (await store.since("t", cursor)).items == ()
            await store.append("t", b"new", ttl_s=600)
            assert (await store.since("t", cursor)).items == (b"new",)

    run(drill())


@pytest.fixture
def three() -> "Iterator[list[MemcachedServer]]":
    if missing := MemcachedServer.missing():
        pytest.skip(missing)
    with ExitStack() as stack:
        yield [stack.enter_context(MemcachedServer()) for _ in range(3)]


def test_of_several_servers_the_one_that_is_away_takes_only_its_own_keys_with_it(three: list[MemcachedServer]) -> None:
    hosts = [f"127.0.0.1:{server.port}" for server in three]

    async def drill() -> None:
        # Another order names the same servers.
        async with (
            opened(f"memcached://{','.join(hosts)}") as store,
            opened(f"memcached://{','.join(reversed(hosts))}") as other,
        ):
            keys = [f"key{number}" for number in range(60)]
            for key in keys:
                await store.put(key, {"mine": key.encode()}, ttl_s=600)
                assert await other.get(key) is not None
            place = store._items._loops.here().servers
            homes = {key: hosts.index(place.of(name_of(RECORD, key)).name) for key in keys}
            assert all(list(homes.values()).count(number) > 5 for number in range(3))
            three[1].kill()
            for key, home in homes.items():
                if home == 1:
                    with pytest.raises(StoreUnavailableError, match=hosts[1]):
                        await store.put(key, {}, ttl_s=600)
                    with pytest.raises(StoreUnavailableError):
                        await other.get(key)
                else:
                    assert await store.get(key) is not None
            with pytest.raises(StoreUnavailableError, match=hosts[1]):
                await store.ping()
            three[1].start()
            await returns(store)
            # It has forgotten its keys, and no other server has any of them.
            assert {key for key in keys if await store.get(key) is None} == {key for key in keys if homes[key] == 1}

    run(drill())


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"ERROR Too many open connections\r\n",
        b"VALUE fungible:r:other 0 1 7\r\nx\r\nEND\r\n",
        b"VALUE fungible:r:k 0 ? 7\r\nx\r\nEND\r\n",
        b"VALUE fungible:r:k 0 1 7\r\nxxx\r\nEND\r\n",
        b"VALUE fungible:r:k 0 1 7\r\nx\r\nVALUE fungible:r:k 0 1 7\r\nx\r\nEND\r\n",
        b"END\r\nEND\r\n",
        b"SERVER_ERROR out of memory\r\n",
        b"CLIENT_ERROR bad\r\n",
        b"x" * 100_000,
        b"",
    ],
)
def test_a_server_that_says_something_else_is_unavailable(said: bytes) -> None:
    async def drill() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            writer.write(said)
            writer.close()

        elsewhere = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = elsewhere.sockets[0].getsockname()[1]
        async with elsewhere, opened(f"memcached://127.0.0.1:{port}", timeout_s=5) as store:
            for _ in range(3):
                if said == b"END\r\nEND\r\n":
                    # The first is an answer. What comes after it is nobody's, and the connection is not used again.
                    assert await store.get("k") is None
                else:
                    with pytest.raises(StoreUnavailableError):
                        await store.get("k")

    run(drill())
