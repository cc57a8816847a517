"""Connections that are lost: what is sent again and what never is, who waits and who tries."""

import asyncio
from time import monotonic

import pytest
from redis_drills import Tap, clients, connection_of, impostor, link_of, opened, say, until
from servers import RedisServer

from fungible.stores import Rate, Store, StoreUnavailableError
from fungible.stores.redis import link
from fungible.stores.redis.link import LONGEST_WAIT_S, Outage

HOURLY = Rate(limit=100, period_s=3600)


async def lost_before_the_reply(tap: Tap, call: "asyncio.Task[object]") -> None:
    """The server carries the command out; its reply never arrives."""
    await tap.arrived.wait()
    tap.cut()
    tap.passing.set()
    await asyncio.wait([call])


@pytest.mark.parametrize("verb", ["put", "change", "delete", "touch", "take", "append"])
def test_a_write_whose_reply_is_lost_is_an_error_and_is_never_sent_again(server: RedisServer, verb: str) -> None:
    async def run() -> None:
        async with Tap(server) as tap, opened(tap.url) as store:
            record = await store.put("s", {"a": b"1"}, ttl_s=60)
            await store.take("warm", HOURLY)
            verbs = {
                "put": store.put("s", {"a": b"2"}, ttl_s=60),
                "change": store.change(record, {"a": b"2"}),
                "delete": store.delete("s"),
                "touch": store.touch("s", ttl_s=600),
                "take": store.take("r", HOURLY),
                "append": store.append("t", b"item", ttl_s=60),
            }
            wanted = asyncio.ensure_future(verbs.pop(verb))
            for other in verbs.values():
                other.close()
            tap.heard.clear()
            tap.arrived.clear()
            tap.passing.clear()
            await lost_before_the_reply(tap, wanted)
            assert isinstance(wanted.exception(), StoreUnavailableError)
            # The next call opens a connection, and finds what was done once.
            assert (await store.take("r", HOURLY)).remaining == (98 if verb == "take" else 99)
            assert len((await store.since("t")).items) == (1 if verb == "append" else 0)

    # A script that the server does not know is sent twice, and run once: here each is known already.
    asyncio.run(warmed(server))
    asyncio.run(run())


async def warmed(server: RedisServer) -> None:
    """Every script is known to the server."""
    async with opened(server.url) as store:
        record = await store.put("warm", {}, ttl_s=60)
        await store.change(record, {"a": b"1"})
        await store.touch("warm", ttl_s=60)
        await store.delete("warm")
        await store.take("warm", HOURLY)
        await store.append("warm", b"", ttl_s=60)
        await store.since("warm")


def test_a_read_whose_reply_is_lost_is_sent_once_more(server: RedisServer) -> None:
    async def run() -> None:
        async with Tap(server) as tap, opened(tap.url) as store:
            put = await store.put("s", {"a": b"1"}, ttl_s=60)
            await store.append("t", b"item", ttl_s=60)
            for read in (store.get("s"), store.since("t")):
                tap.arrived.clear()
                tap.passing.clear()
                call = asyncio.ensure_future(read)
                await lost_before_the_reply(tap, call)
                found = call.result()
                assert found == put or getattr(found, "items", ()) == (b"item",)
            assert tap.accepted == 3

    asyncio.run(run())


def test_a_read_that_is_lost_twice_is_an_error(server: RedisServer) -> None:
    async def run() -> None:
        async with Tap(server) as tap, opened(tap.url) as store:
            await store.put("s", {"a": b"1"}, ttl_s=60)
            tap.cut_on = b"HGETALL"
            with pytest.raises(StoreUnavailableError):
                await store.get("s")
            assert tap.heard.count(b"HGETALL") == 2

    asyncio.run(run())


def test_a_connection_lost_while_nobody_waits_is_replaced_without_an_error(server: RedisServer) -> None:
    async def run() -> None:
        async with opened(server.url) as store:
            put = await store.put("s", {"a": b"1"}, ttl_s=60)
            for _ in range(3):
                say(server, "CLIENT", "KILL", "TYPE", "normal")
                await until(lambda: clients(server) == [])
                await until(lambda: lost(store))
                assert await store.touch("s", ttl_s=1) == put.expires_at

    asyncio.run(run())


def test_an_outage_shorter_than_the_deadline_is_a_delay_and_no_error(server: RedisServer) -> None:
    async def run() -> None:
        async with opened(server.url, timeout_s=20) as store:
            put = await store.put("s", {"a": b"1"}, ttl_s=600)
            server.kill()
            await until(lambda: lost(store))
            waiting = [asyncio.ensure_future(call) for call in (store.get("s"), store.touch("s", ttl_s=1))]
            await asyncio.sleep(0)
            await asyncio.to_thread(server.start)
            assert await asyncio.gather(*waiting) == [put, put.expires_at]

    asyncio.run(run())


def lost(store: Store) -> bool:
    """Whether the store has noticed that its connection is lost."""
    connection = connection_of(store)
    return connection is None or connection.lost is not None


def test_many_callers_of_a_dead_server_make_few_attempts(server: RedisServer) -> None:
    async def run() -> None:
        async with Tap(server) as tap, opened(tap.url, timeout_s=0.5) as store:
            await store.ping()
            server.kill()
            tap.cut()
            before = tap.accepted
            for _ in range(3):
                outcomes = await asyncio.gather(*(store.get("s") for _ in range(300)), return_exceptions=True)
                assert all(isinstance(outcome, StoreUnavailableError) for outcome in outcomes)
            assert tap.accepted - before < 30

    asyncio.run(run())


def test_in_an_outage_that_lasts_only_the_one_who_tries_waits() -> None:
    async def run() -> None:
        # A black hole: it takes what is said, and says nothing.
        async with (
            impostor(lambda _: b"") as address,
            opened(f"redis://{address}", timeout_s=0.3) as store,
        ):
            for _ in range(3):
                with pytest.raises(StoreUnavailableError):
                    await store.get("s")
            link = link_of(store)
            await until(lambda: link._attempt is None and link._outage.wait_s(monotonic()) == 0)
            first = asyncio.create_task(store.get("s"))
            await asyncio.sleep(0)
            with pytest.raises(StoreUnavailableError):
                await store.get("s")
            assert not first.done()
            with pytest.raises(StoreUnavailableError):
                await first

    asyncio.run(run())


def test_after_a_failover_the_next_write_goes_to_who_is_master_now(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "SETTLED_S", 0)

    async def run(other: RedisServer) -> None:
        # As behind a name, or an address, that moves from one server to another.
        async with Tap(server) as tap, opened(tap.url) as store:
            await store.put("s", {"a": b"1"}, ttl_s=60)
            reads = [asyncio.create_task(store.get("s")) for _ in range(20)]
            say(server, "REPLICAOF", "127.0.0.1", other.port)
            tap.server = other
            with pytest.raises(StoreUnavailableError, match="it is a replica, which takes no writes"):
                await store.put("s", {"a": b"2"}, ttl_s=60)
            # Nobody else lost a reply by it.
            await asyncio.gather(*reads)
            await store.put("s", {"a": b"2"}, ttl_s=60)
            assert say(other, "EXISTS", "fungible:r:s") == 1
            assert tap.accepted == 2

    with RedisServer() as other:
        try:
            asyncio.run(run(other))
        finally:
            say(server, "REPLICAOF", "NO", "ONE")


def test_a_server_that_is_always_a_replica_is_not_dialled_for_every_write(server: RedisServer) -> None:
    async def run() -> None:
        async with Tap(server) as tap, opened(tap.url) as store:
            await store.ping()
            say(server, "REPLICAOF", "127.0.0.1", 1)
            for _ in range(50):
                with pytest.raises(StoreUnavailableError, match="replica"):
                    await store.put("s", {"a": b"2"}, ttl_s=60)
            assert tap.accepted < 10

    try:
        asyncio.run(run())
    finally:
        say(server, "REPLICAOF", "NO", "ONE")


def test_a_server_without_memory_says_so(server: RedisServer) -> None:
    async def run() -> None:
        async with opened(server.url) as store:
            put = await store.put("s", {"a": b"1"}, ttl_s=60)
            say(server, "CONFIG", "SET", "maxmemory", 1)
            with pytest.raises(StoreUnavailableError, match="maxmemory is reached, and the policy is noeviction"):
                await store.put("new", {"a": b"2"}, ttl_s=60)
            with pytest.raises(StoreUnavailableError, match="maxmemory is reached"):
                await store.change(put, {"a": b"2"})
            assert await store.get("s") == put
            # What frees memory is still done.
            await store.delete("s", tombstone_s=60)
            assert await store.get("s") is None

    try:
        asyncio.run(run())
    finally:
        say(server, "CONFIG", "SET", "maxmemory", 0)


def test_the_first_attempts_after_a_loss_come_soon_and_the_later_ones_ever_later() -> None:
    outage = Outage(patience_s=2, draw=lambda: 1.0)
    waits: list[float] = []
    now = 100.0
    for _ in range(10):
        outage.failed(now, "away")
        waits.append(outage.wait_s(now))
        now += waits[-1]
    assert waits[0] < 0.05
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_WAIT_S


def test_instances_that_lost_a_server_together_do_not_return_together() -> None:
    waits: set[float] = set()
    for chance in (0.0, 0.25, 0.5, 1.0):
        outage = Outage(patience_s=2, draw=lambda chance=chance: chance)
        outage.failed(100, "away")
        waits.add(outage.wait_s(100))
    assert len(waits) == 4


def test_callers_wait_for_a_server_for_as_long_as_its_outage_may_be_a_restart() -> None:
    outage = Outage(patience_s=2, draw=lambda: 0.5)
    assert not outage.hopeless(100)
    outage.failed(100, "away")
    assert not outage.hopeless(101.9)
    outage.failed(101.9, "away")
    assert outage.hopeless(102)
    assert outage.reason == "away"
    outage.over()
    assert not outage.hopeless(102)


def test_who_is_refused_does_not_wait_at_all() -> None:
    outage = Outage(patience_s=2, draw=lambda: 0.5)
    outage.failed(100, "wrong password", refused=True)
    assert outage.hopeless(100)


def test_what_was_known_of_a_server_long_ago_says_nothing_about_now() -> None:
    outage = Outage(patience_s=2, draw=lambda: 0.5)
    outage.failed(100, "away")
    outage.failed(103, "away")
    assert outage.hopeless(103)
    assert not outage.hopeless(4000)
    outage.failed(4000, "away")
    assert not outage.hopeless(4001)
    assert outage.wait_s(4000) < 0.05
