"""One connection for all: replies in pieces, callers that leave, servers that fall silent or talk nonsense."""

import asyncio
import os
import random
import socket
import threading
from collections.abc import Callable

import pytest
import uvloop
from redis_drills import Tap, clients, connection_of, impostor, opened, say, until
from servers import RedisServer

from fungible.stores import Rate, Store, StoreUnavailableError, open_store

HOURLY = Rate(limit=10**6, period_s=3600)
on_both_loops = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


@pytest.mark.parametrize("piece_bytes", [1, 2, 3, 7, 64, 1000])
def test_replies_may_arrive_in_pieces_of_any_size(server: RedisServer, piece_bytes: int) -> None:
    fields = {"a": bytes(range(256)), "b": b"\r\n$-1\r\n*0\r\n", "c": b"", "ä": b"-ERR no error\r\n"}

    async def run() -> None:
        async with Tap(server) as tap, opened(tap.url) as store:
            tap.piece_bytes = piece_bytes
            put = await store.put("s", fields, ttl_s=60)
            assert put.fields == fields
            found = await asyncio.gather(*(store.get("s" if number % 3 else "none") for number in range(30)))
            assert found == [put if number % 3 else None for number in range(30)]

    asyncio.run(run())


@on_both_loops
def test_thousands_of_cancellations_give_no_reply_to_another(url: str, run: Callable[..., None]) -> None:
    chance = random.Random(5)
    ended = {"right": 0, "wrong": 0, "cancelled": 0}

    async def ask(store: Store, number: int) -> None:
        try:
            async with asyncio.timeout(chance.choice([0, chance.uniform(0, 0.003), 10])):
                if number % 2:
                    record = await store.get(f"s{number}")
                    right = record is not None and record.fields == {"n": b"%d" % number}
                else:
                    # Numbers where others expect lists.
                    right = (await store.take(f"r{number}", HOURLY)).remaining > 1000
        except TimeoutError:
            ended["cancelled"] += 1
        else:
            ended["right" if right else "wrong"] += 1

    async def drill() -> None:
        async with opened(url) as store:
            for number in range(1, 40, 2):
                await store.put(f"s{number}", {"n": b"%d" % number}, ttl_s=60)

            async def worker() -> None:
                for _ in range(150):
                    await ask(store, chance.randrange(40))

            await asyncio.gather(*(worker() for _ in range(32)))
            for number in range(1, 40, 2):
                await ask(store, number)

    run(drill())
    assert ended["wrong"] == 0
    assert min(ended["right"], ended["cancelled"]) > 500, ended


@on_both_loops
def test_a_process_has_one_connection_however_many_callers(server: RedisServer, run: Callable[..., None]) -> None:
    async def calls() -> None:
        async with opened(server.url) as store:
            await asyncio.gather(*(store.put(f"s{number}", {}, ttl_s=60) for number in range(100)))
            await asyncio.gather(*(store.get(f"s{number}") for number in range(300)))
            assert len(clients(server)) == 1
        await until(lambda: clients(server) == [])

    run(calls())


def test_each_event_loop_has_a_connection_and_closes_its_own(server: RedisServer) -> None:
    store = open_store(server.url, timeout_s=10)
    entered, leave = threading.Event(), threading.Event()

    async def other() -> None:
        await store.ping()
        entered.set()
        await asyncio.to_thread(leave.wait)
        await store.ping()
        await store.aclose()

    async def main() -> None:
        thread = threading.Thread(target=asyncio.run, args=(other(),))
        await store.ping()
        thread.start()
        await asyncio.to_thread(entered.wait)
        assert len(clients(server)) == 2
        await store.aclose()
        await until(lambda: len(clients(server)) == 1)
        leave.set()
        await asyncio.to_thread(thread.join)
        await until(lambda: clients(server) == [])

    asyncio.run(main())


@on_both_loops
def test_a_forked_child_opens_its_own_connection_and_leaves_the_parents_alone(
    server: RedisServer, run: Callable[..., None]
) -> None:
    store = open_store(server.url, timeout_s=10)

    async def parent() -> None:
        await store.put("s", {"who": b"parent"}, ttl_s=60)
        before = clients(server)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = 0 if in_child() else 2
            finally:
                os._exit(status)
        # Both talk at the same time.
        for _ in range(200):
            record = await store.get("s")
            assert record is not None
            assert record.fields == {"who": b"parent"}
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert [line.split()[0] for line in clients(server)] == [line.split()[0] for line in before]
        await store.aclose()

    def in_child() -> bool:
        async def calls() -> bool:
            right = True
            for number in range(200):
                put = await store.put("child", {"n": b"%d" % number}, ttl_s=60)
                right = right and await store.get("child") == put
            await store.aclose()
            return right

        outcome: list[bool] = []

        # The child was forked in the midst of a running loop; a thread of its own has none.
        thread = threading.Thread(target=lambda: outcome.append(asyncio.run(calls())))
        thread.start()
        thread.join(30)
        return outcome == [True]

    run(parent())


@on_both_loops
def test_one_silent_reply_past_its_deadline_ends_the_connection_for_all_who_wait(
    server: RedisServer, run: Callable[..., None]
) -> None:
    async def calls() -> None:
        async with opened(server.url, timeout_s=0.3) as store:
            await store.put("s", {"a": b"1"}, ttl_s=60)
            (first,) = clients(server)
            server.pause()
            outcomes = await asyncio.gather(*(store.get("s") for _ in range(20)), return_exceptions=True)
            assert all(isinstance(outcome, StoreUnavailableError) for outcome in outcomes)
            assert "no reply within 0.3 s" in str(outcomes[0])
            server.resume()
            await until_there(store)
            (second,) = clients(server)
            assert first.split()[0] != second.split()[0]

    run(calls())


async def until_there(store: Store) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                return await store.ping()
            except StoreUnavailableError:
                await asyncio.sleep(0.01)


@on_both_loops
def test_an_event_loop_that_was_held_up_past_the_deadline_still_takes_the_replies(
    url: str, run: Callable[..., None]
) -> None:
    async def calls() -> None:
        async with opened(url, timeout_s=1) as store:
            put = await store.put("s", {"a": b"1"}, ttl_s=60)
            asked = asyncio.create_task(store.get("s"))
            await asyncio.sleep(0)
            # As an application does that computes in its event loop.
            threading.Event().wait(1.2)
            assert await asked == put

    run(calls())


def test_a_reply_that_drips_in_is_not_waited_for_past_the_deadline(server: RedisServer) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while b"slow" not in (heard := await reader.read(10_000)):
                writer.write(b"*0\r\n" if b"HGETALL" in heard else b"+OK\r\n+PONG\r\n")
            writer.write(b"*2\r\n$1\r\na\r\n$1000000\r\n")
            while not writer.is_closing():
                writer.write(b"a")
                await asyncio.sleep(0.01)
        finally:
            writer.close()

    async def run() -> None:
        slow = await asyncio.start_server(drip, "127.0.0.1")
        port = slow.sockets[0].getsockname()[1]
        async with opened(f"redis://127.0.0.1:{port}", timeout_s=0.3) as store:
            assert await store.get("fast") is None
            with pytest.raises(StoreUnavailableError, match=r"no reply within 0\.3 s"):
                await store.get("slow")
        slow.close()
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task is not asyncio.current_task()))

    asyncio.run(run())


def test_a_server_that_is_slow_and_not_silent_keeps_its_connection(server: RedisServer) -> None:
    async def run() -> None:
        async with Tap(server) as tap, opened(tap.url, timeout_s=0.3) as store:
            put = await store.put("s", {"a": b"1"}, ttl_s=60)
            calls = [asyncio.create_task(store.get("s")) for _ in range(200)]
            await asyncio.sleep(0)
            # Pieces so small that the last replies come too late, although something comes all the time.
            tap.piece_bytes, tap.pause_s = 60, 0.01
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert outcomes[0] == put
            assert isinstance(outcomes[-1], StoreUnavailableError)
            tap.piece_bytes, tap.pause_s = 65_536, 0
            await until_there(store)
            assert await store.get("s") == put
            assert tap.accepted == 1

    asyncio.run(run())


def test_callers_wait_their_turn_while_the_server_reads_more_slowly_than_they_write(server: RedisServer) -> None:
    async def run() -> None:
        async with opened(server.url) as store:
            await store.ping()
            server.pause()
            values = [os.urandom(900_000) for _ in range(12)]
            writes = [
                asyncio.create_task(store.put(f"s{number}", {"v": value}, ttl_s=60))
                for number, value in enumerate(values)
            ]
            # More than all buffers on the way hold.
            connection = connection_of(store)
            assert connection is not None
            await until(lambda: not connection.usable)
            assert connection.lost is None
            waiting = connection._transport.get_write_buffer_size()
            writes.append(asyncio.create_task(store.put("one more", {"v": b"1"}, ttl_s=60)))
            for _ in range(5):
                await asyncio.sleep(0)
            assert connection._transport.get_write_buffer_size() == waiting
            server.resume()
            await asyncio.gather(*writes)
            for number, value in enumerate(values):
                record = await store.get(f"s{number}")
                assert record is not None
                assert record.fields["v"] == value
            assert len(clients(server)) == 1

    asyncio.run(run())


@pytest.mark.parametrize(
    ("speech", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak Redis' protocol"),
        (b"+OK\r\n" * 10, "a reply that no command was waiting for"),
        (b"-ERR max number of clients reached\r\n", "raise maxclients"),
        (b"", "it closed the connection"),
    ],
)
def test_who_does_not_speak_as_redis_does_is_unavailable(speech: bytes, words: str) -> None:
    async def run() -> None:
        async with (
            impostor(lambda _: speech, hangs_up=True) as address,
            opened(f"redis://{address}", timeout_s=0.5) as store,
        ):
            with pytest.raises(StoreUnavailableError, match=words):
                await store.get("s")

    asyncio.run(run())


def test_a_reply_that_nobody_asked_for_is_never_taken_for_somebodys(server: RedisServer) -> None:
    async def run() -> None:
        async with Tap(server) as tap, opened(tap.url) as store:
            await store.put("s", {"a": b"1"}, ttl_s=60)
            for line in tap.lines_to_clients():
                line.write(b"*2\r\n$1\r\na\r\n$1\r\n2\r\n")
            await until(lambda: not tap.lines_to_clients())
            record = await store.get("s")
            assert record is not None
            assert record.fields == {"a": b"1"}
            assert tap.accepted == 2

    asyncio.run(run())


def test_a_host_without_address_and_a_port_without_listener_are_named() -> None:
    with socket.socket() as taken:
        # Bound, and not listening: nobody else can, either.
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]

        async def run(url: str, words: str) -> None:
            async with opened(url, timeout_s=0.2) as store:
                with pytest.raises(StoreUnavailableError, match=words):
                    await store.ping()

        asyncio.run(run(f"redis://127.0.0.1:{port}", f"nothing listens at 127.0.0.1:{port}"))
        asyncio.run(run("redis://no-such-host.invalid", "'no-such-host.invalid' can't be resolved"))
        asyncio.run(run("redis://a..b", "the host name 'a..b' can't be"))


def test_the_keys_of_two_prefixes_and_of_two_databases_are_apart(server: RedisServer) -> None:
    async def run() -> None:
        urls = (server.url, f"{server.url}?prefix=other:", f"redis://127.0.0.1:{server.port}/1")
        for number, url in enumerate(urls):
            async with opened(url) as store:
                assert await store.get("s") is None
                await store.put("s", {"n": b"%d" % number}, ttl_s=60)
        assert sorted(say(server, "KEYS", "*")) == [b"fungible:r:s", b"other:r:s"]

    asyncio.run(run())
