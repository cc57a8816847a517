"""Redis Cluster: whose slot a key has, keys that are on the move, masters that fail."""

import asyncio
import itertools

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis_drills import clients, opened, say, until
from servers import RedisClusterServers, RedisServer
from servers.redis import CLUSTER_RIGHTS, LOGIN, RIGHTS, user

from fungible.stores import Rate, StoreUnavailableError
from fungible.stores.redis.cluster import SLOTS, Redirection, owners_of, redirection, slot_of
from fungible.stores.redis.connection import UnsentError

HOURLY = Rate(limit=1000, period_s=3600)


@pytest.fixture
def cluster(redis_cluster: RedisClusterServers) -> RedisClusterServers:
    redis_cluster.reset()
    return redis_cluster


def identity(server: RedisServer) -> str:
    return say(server, "CLUSTER", "MYID").decode()


def owner(cluster: RedisClusterServers, key: str) -> RedisServer:
    """The master that has a key's slot, as the cluster says."""
    for first, last, (_, port, *_), *_ in say(cluster.masters()[0], "CLUSTER", "SLOTS"):
        if first <= slot_of(key) <= last:
            return next(server for server in cluster.servers if server.port == port)
    raise AssertionError(f"nobody has the slot of {key!r}")


def key_at(cluster: RedisClusterServers, server: RedisServer) -> str:
    """A name whose record is kept by a server."""
    return next(name for name in map(str, itertools.count()) if owner(cluster, f"fungible:r:{name}") is server)


@given(
    before=st.text("ab}", max_size=3), tag=st.text("ab{ä", min_size=1, max_size=4), after=st.text("ab{}", max_size=4)
)
def test_a_slot_depends_on_what_is_in_the_first_braces_alone(before: str, tag: str, after: str) -> None:
    assert slot_of(f"{before}{{{tag}}}{after}") == slot_of(f"{{{tag}}}")
    assert 0 <= slot_of(after) < SLOTS


def test_the_server_agrees_on_every_slot(cluster: RedisClusterServers) -> None:
    keys = [
        "",
        "a",
        "{a}",
        "x{a}y{b}",
        "{}{a}",
        "{{a}}",
        "a}b{c",
        "{",
        "}",
        "ä{ö}",
        "123456789",
        "fungible:r:" + "k" * 500,
    ]
    assert [say(cluster.servers[0], "CLUSTER", "KEYSLOT", key) for key in keys] == [slot_of(key) for key in keys]


def test_every_verb_finds_the_server_that_has_its_key_over_one_connection_each(cluster: RedisClusterServers) -> None:
    async def run() -> None:
        async with opened(cluster.url) as store:
            await store.ping()
            for number in range(60):
                put = await store.put(f"s{number}", {"n": b"%d" % number}, ttl_s=60)
                changed = await store.change(put, {"m": b"1"})
                assert await store.get(f"s{number}") == changed
                assert (await store.take(f"r{number}", HOURLY)).remaining == 999
                await store.append(f"t{number}", b"1", ttl_s=60)
                assert (await store.since(f"t{number}")).items == (b"1",)
            await asyncio.gather(*(store.get(f"s{number}") for number in range(300)))
            masters = cluster.masters()
            assert [len(clients(server)) for server in masters] == [1, 1, 1]
            assert all(say(server, "DBSIZE") > 20 for server in masters)
            # Replicas were named in the URL, perhaps, and are not talked to.
            await until(lambda: sum(len(clients(server)) for server in cluster.servers) == 3)

    asyncio.run(run())


def test_one_node_that_answers_is_enough_to_find_all(cluster: RedisClusterServers) -> None:
    replica = next(server for server in cluster.servers if server not in cluster.masters())

    async def run() -> None:
        # The first is a port where nobody is, the second a replica.
        async with opened(f"redis+cluster://127.0.0.1:1,127.0.0.1:{replica.port}") as store:
            for number in range(20):
                await store.put(f"s{number}", {}, ttl_s=60)

    asyncio.run(run())


def test_a_cluster_that_is_not_there_is_unavailable_and_says_why() -> None:
    async def run() -> None:
        async with opened("redis+cluster://127.0.0.1:1,127.0.0.1:2", timeout_s=0.4) as store:
            for call in (store.get("s"), store.ping(), store.put("s", {}, ttl_s=60)):
                with pytest.raises(StoreUnavailableError, match=r"nothing listens at 127\.0\.0\.1"):
                    await call

    asyncio.run(run())


def test_a_single_server_is_not_taken_for_a_cluster_nor_the_other_way_round(
    cluster: RedisClusterServers, redis_server: RedisServer
) -> None:
    async def run() -> None:
        async with opened(f"redis+cluster://127.0.0.1:{redis_server.port}", timeout_s=0.4) as store:
            with pytest.raises(StoreUnavailableError, match="cluster support disabled"):
                await store.get("s")
        stranger = next(server for server in cluster.masters() if server is not owner(cluster, "fungible:r:s"))
        async with opened(stranger.url) as store:
            with pytest.raises(StoreUnavailableError, match=r"use redis\+cluster:"):
                await store.get("s")

    asyncio.run(run())


def test_a_key_that_moves_is_followed_while_it_moves_and_after(cluster: RedisClusterServers) -> None:
    source, target, *_ = cluster.masters()
    key = key_at(cluster, source)
    name, slot = f"fungible:r:{key}", slot_of(f"fungible:r:{key}")
    here, there = identity(source), identity(target)

    async def run() -> None:
        async with opened(cluster.url) as store:
            old = await store.put(key, {"a": b"1"}, ttl_s=60)
            say(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", here)
            say(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", there)
            # Still at the source: as before. Then at the target, which is asked for it although it is not its own.
            assert await store.get(key) == old
            say(target, "SCRIPT", "FLUSH")
            assert say(source, "MIGRATE", "127.0.0.1", target.port, name, 0, 5000) == b"OK"
            changed = await store.change(old, {"a": b"2"})
            found = await asyncio.gather(*(store.get(key) for _ in range(50)))
            assert found == [changed] * 50
            await store.delete(key)
            assert await store.put(key, {"b": b"1"}, ttl_s=60) == await store.get(key)
            for server in (target, source, *cluster.masters()):
                say(server, "CLUSTER", "SETSLOT", slot, "NODE", there)
            # And for good: the first one is told, the others know.
            assert (await store.get(key)) is not None
            await asyncio.gather(*(store.touch(key, ttl_s=60) for _ in range(50)))
            assert owner(cluster, name) is target
            assert say(target, "EXISTS", name) == 1
            assert all(len(clients(server)) <= 1 for server in cluster.masters())

    asyncio.run(run())


def test_a_replica_that_is_made_master_is_found_by_those_who_wait(cluster: RedisClusterServers) -> None:
    async def run() -> None:
        async with opened(cluster.url, timeout_s=20) as store:
            for number in range(30):
                await store.put(f"s{number}", {"n": b"0"}, ttl_s=600)
            replica = next(server for server in cluster.servers if server not in cluster.masters())
            done = asyncio.Event()
            outcomes = {"written": 0, "unavailable": 0}

            async def write(worker: int) -> None:
                number = 0
                while not done.is_set():
                    try:
                        await store.put(f"s{worker}", {"n": b"%d" % number}, ttl_s=600)
                        outcomes["written"] += 1
                    except StoreUnavailableError:
                        # Sent, and its connection cut: whether it was written nobody knows.
                        outcomes["unavailable"] += 1
                    number += 1

            writers = [asyncio.create_task(write(worker)) for worker in range(30)]
            assert await asyncio.to_thread(say, replica, "CLUSTER", "FAILOVER") == b"OK"
            await asyncio.to_thread(leads, replica)
            before = outcomes["written"]
            await until(lambda: outcomes["written"] > before + 300)
            done.set()
            await asyncio.gather(*writers)
            assert replica in cluster.masters()
            await until(lambda: sum(len(clients(server)) for server in cluster.servers) == 3)

    asyncio.run(run())


def leads(server: RedisServer) -> None:
    while say(server, "ROLE")[0] != b"master":
        pass


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("MOVED 3999 10.0.0.7:6381", Redirection("MOVED", ("10.0.0.7", 6381))),
        ("ASK 3999 node-3.example:6381", Redirection("ASK", ("node-3.example", 6381))),
        ("MOVED 3999 :6381", Redirection("MOVED", ("asked", 6381))),
        ("MOVED 3999 fd00::7:6381", Redirection("MOVED", ("fd00::7", 6381))),
        ("MOVED 3999 [fd00::7]:6381", Redirection("MOVED", ("fd00::7", 6381))),
        ("CLUSTERDOWN The cluster is down", None),
        ("ERR MOVED 1 2", None),
    ],
)
def test_a_redirection_is_read_as_the_specification_has_it(text: str, found: Redirection | None) -> None:
    assert redirection(hiredis.ReplyError(text), ("asked", 1)) == found
    assert redirection(UnsentError(home="redis:", reason=text), ("asked", 1)) is None


def test_slots_may_have_no_owner_and_owners_no_host() -> None:
    reply = [
        [0, 1, [b"10.0.0.7", 1, b"id", []], [b"10.0.0.8", 2, b"id", []]],
        [3, 3, [None, 3, b"id", []]],
        [5, SLOTS - 1, [b"", 4, b"id"]],
    ]
    owners = owners_of(reply, ("asked", 9))
    assert owners[:6] == [("10.0.0.7", 1), ("10.0.0.7", 1), None, ("asked", 3), None, ("asked", 4)]
    assert len(owners) == SLOTS
    assert owners[-1] == ("asked", 4)


@pytest.mark.parametrize("right", [*CLUSTER_RIGHTS, "+xadd"])
def test_a_missing_right_is_named_at_the_first_ping(cluster: RedisClusterServers, right: str) -> None:
    name, *words = user(*(other for other in (*RIGHTS, *CLUSTER_RIGHTS) if other != right))
    for server in cluster.servers:
        assert say(server, "ACL", "SETUSER", name, "reset", *words) == b"OK"

    async def run() -> str:
        async with opened(cluster.bare_url) as store:
            with pytest.raises(StoreUnavailableError) as error:
                await store.ping()
            return str(error.value)

    try:
        assert f"give it {right}" in asyncio.run(run())
    finally:
        name, *words = user(*RIGHTS, *CLUSTER_RIGHTS)
        for server in cluster.servers:
            say(server, "ACL", "SETUSER", LOGIN.partition(":")[0], "reset", *words)
