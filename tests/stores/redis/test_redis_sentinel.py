"""Redis Sentinel: who is master, who was, and sentinels that are away."""

import asyncio
from typing import Any

import pytest
from redis_drills import clients, impostor, opened, say, until
from servers import RedisSentinelServers, RedisServer
from servers.redis_fleets import MASTER_NAME, Sentinel

from fungible.stores import Store, StoreUnavailableError
from fungible.stores.redis import sentinel as sentinel_module


@pytest.fixture
def sentinel(redis_sentinel: RedisSentinelServers) -> RedisSentinelServers:
    redis_sentinel.reset()
    return redis_sentinel


def other(sentinel: RedisSentinelServers) -> RedisServer:
    """The replica of now."""
    master = sentinel.master()
    return next(server for server in (sentinel.first, sentinel.replica) if server is not master)


async def written(store: Store, value: bytes) -> None:
    """Writes as soon as it can be written."""
    while True:
        try:
            await store.put("s", {"a": value}, ttl_s=600)
            return
        except StoreUnavailableError:
            await asyncio.sleep(0.02)


def test_commands_go_to_the_master_over_one_connection(sentinel: RedisSentinelServers) -> None:
    async def run() -> None:
        async with opened(f"{sentinel.url}?db=3") as store:
            await store.ping()
            await asyncio.gather(*(store.put(f"s{number}", {}, ttl_s=60) for number in range(50)))
            assert [len(clients(server)) for server in (sentinel.master(), other(sentinel))] == [1, 0]
            assert all(len(clients(server)) <= 1 for server in sentinel.sentinels)
            assert b"db3:keys=50" in say(sentinel.master(), "INFO", "keyspace")

    asyncio.run(run())


def test_after_a_failover_writes_go_to_the_new_master(sentinel: RedisSentinelServers) -> None:
    async def run() -> None:
        async with opened(sentinel.url) as store:
            await store.put("s", {"a": b"before"}, ttl_s=600)
            old, new = sentinel.master(), other(sentinel)
            assert await asyncio.to_thread(say, old, "WAIT", 1, 5000) == 1
            assert say(sentinel.sentinels[0], "SENTINEL", "FAILOVER", MASTER_NAME) == b"OK"
            await until(lambda: say(new, "ROLE")[0] == b"master" and say(old, "ROLE")[0] == b"slave")
            await written(store, b"after")
            assert clients(old) == []
            flat = say(new, "HGETALL", "fungible:r:s")
            assert dict(zip(flat[::2], flat[1::2], strict=True))[b"a"] == b"after"
            record = await store.get("s")
            assert record is not None
            assert record.fields == {"a": b"after"}

    asyncio.run(run())


def test_sentinels_that_are_away_do_not_matter_while_one_answers(sentinel: RedisSentinelServers) -> None:
    answering = sentinel.sentinels[2].port

    async def run() -> None:
        # A closed port and a black hole before it.
        sentinel.sentinels[1].pause()
        hosts = f"127.0.0.1:1,127.0.0.1:{sentinel.sentinels[1].port},127.0.0.1:{answering}"
        async with opened(f"redis+sentinel://{hosts}/{MASTER_NAME}") as store:
            await store.ping()

    try:
        asyncio.run(run())
    finally:
        sentinel.sentinels[1].resume()


def test_what_no_sentinel_knows_or_tells_is_an_error_that_says_so(
    sentinel: RedisSentinelServers, redis_server: RedisServer
) -> None:
    ports = [server.port for server in sentinel.sentinels]

    async def run(url: str, words: str) -> None:
        async with opened(url, timeout_s=0.4) as store:
            for call in (store.get("s"), store.put("s", {}, ttl_s=60)):
                with pytest.raises(StoreUnavailableError, match=words):
                    await call

    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    asyncio.run(run(f"redis+sentinel://{hosts}/unheard-of", "know no master named 'unheard-of'"))
    asyncio.run(run(f"redis+sentinel://127.0.0.1:1/{MASTER_NAME}", "nothing listens at 127.0.0.1:1"))
    asyncio.run(run(f"redis+sentinel://127.0.0.1:{redis_server.port}/{MASTER_NAME}", "unknown command .SENTINEL"))


def naming(heard: bytes, port: int) -> bytes:
    """What a sentinel says to our greeting, and then to the question who is master."""
    if b"SENTINEL" not in heard:
        return b"+OK\r\n+PONG\r\n"
    named = b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%d\r\n" % (len(str(port)), port)
    return named * heard.count(b"SENTINEL")


def test_a_server_that_is_named_as_master_and_is_none_is_not_used(sentinel: RedisSentinelServers) -> None:
    replica = other(sentinel)

    async def run() -> None:
        # As by a sentinel that has not heard of a failover yet.
        async with (
            impostor(lambda heard: naming(heard, replica.port)) as address,
            opened(f"redis+sentinel://{address}/{MASTER_NAME}", timeout_s=0.4) as store,
        ):
            # It would answer reads, and they would be old.
            with pytest.raises(StoreUnavailableError, match="named as master is none"):
                await store.get("s")

    asyncio.run(run())


def test_a_master_that_was_replaced_and_does_not_know_it_is_left(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentinel_module, "ASK_AGAIN_S", 0)
    redis_server.reset()

    async def run(new: RedisServer) -> None:
        master = {"late": redis_server.port, "early": redis_server.port}
        async with (
            impostor(lambda heard: naming(heard, master["late"])) as late,
            impostor(lambda heard: naming(heard, master["early"])) as early,
            opened(f"redis+sentinel://{late},{early}/{MASTER_NAME}") as store,
        ):
            await store.put("s", {"a": b"1"}, ttl_s=60)
            # While they disagree, it stays with the connection it has.
            (before,) = clients(redis_server)
            master["early"] = new.port
            for _ in range(20):
                await store.put("s", {"a": b"1"}, ttl_s=60)
            assert [line.split()[0] for line in clients(redis_server)] == [before.split()[0]]
            assert clients(new) == []
            master["late"] = new.port
            async with asyncio.timeout(60):
                while not say(new, "EXISTS", "fungible:r:s"):
                    # None of them fails: both servers take writes.
                    await store.put("s", {"a": b"2"}, ttl_s=60)
            await until(lambda: (len(clients(redis_server)), len(clients(new))) == (0, 1))

    with RedisServer() as new:
        asyncio.run(run(new))


class OwnPassword(Sentinel):
    """A sentinel that wants another password than the master it watches."""

    def prepare(self) -> None:
        super().prepare()
        config = (self.folder / "sentinel.conf").read_text(encoding="utf-8")
        own = f"requirepass sent%nel\nsentinel auth-pass {MASTER_NAME} m@ster\n"
        self.write("sentinel.conf", config + own)

    def ready(self) -> bool:
        return self.ask(b"PING\r\n").startswith(b"-NOAUTH")


class OfMaster(RedisServer):
    """A master with a password."""

    options = ("--requirepass", "m@ster")

    def ready(self) -> bool:
        return self.ask(b"PING\r\n").startswith(b"-NOAUTH")


def test_sentinels_have_a_password_of_their_own() -> None:
    if missing := RedisServer.missing():
        pytest.skip(missing)

    async def use(url: str, **options: Any) -> None:
        async with opened(url, **options) as store:
            await store.put("s", {"a": b"1"}, ttl_s=60)

    def refused(url: str) -> str:
        with pytest.raises(StoreUnavailableError) as error:
            asyncio.run(use(url, timeout_s=1))  # sentinels are asked until the deadline: another may let us in
        return str(error.value)

    with OfMaster() as master, OwnPassword(master, quorum=1) as sentinel:
        where = f"127.0.0.1:{sentinel.port}/{MASTER_NAME}"
        asyncio.run(use(f"redis+sentinel://:m%40ster@{where}?sentinel_password=sent%25nel"))
        assert "password" in refused(f"redis+sentinel://{where}")
        assert "password" in refused(f"redis+sentinel://:m%40ster@{where}")
        for login, own in (("m%40ster", "s3cret"), ("s3cret", "sent%25nel")):
            told = refused(f"redis+sentinel://:{login}@{where}?sentinel_password={own}")
            assert "password" in told
            assert not any(secret in told for secret in ("s3cret", "m@ster", "sent%nel"))
