"""The connection by itself: whatever pieces the replies come in, each request gets its own."""

import asyncio
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fungible.stores.memcached.connection import Connection, Item, LostError, Reply, SilentError

VALUES = st.one_of(
    st.binary(max_size=20), st.sampled_from([b"\r\n", b"END\r\n", b"\r\nEND\r\n", b"VALUE a 0 1 1\r\nx\r\nEND\r\n"])
)
REPLIES = st.lists(st.one_of(VALUES, st.sampled_from(["END", "STORED", "EXISTS", "VERSION 1"])), max_size=12)


class Sink(asyncio.Transport):
    """Where the requests go."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def abort(self) -> None:
        self.aborted = True


def wire(reply: bytes | str) -> bytes:
    """As the server sends it: a value, or a line."""
    if isinstance(reply, str):
        return reply.encode() + b"\r\n"
    return b"VALUE name 0 %d 42\r\n%b\r\nEND\r\n" % (len(reply), reply)


def connected() -> tuple[Connection, Sink]:
    connection, sink = Connection(), Sink()
    connection.connection_made(sink)
    return connection, sink


@given(REPLIES, st.lists(st.integers(1, 30), min_size=1))
def test_replies_in_any_pieces_reach_their_requests_in_order(replies: list[bytes | str], sizes: list[int]) -> None:
    async def drill() -> None:
        connection, sink = connected()
        deadline = asyncio.get_running_loop().time() + 60
        asked = [asyncio.create_task(connection.ask(b"%d;" % number, deadline)) for number in range(len(replies))]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert bytes(sink.written) == b"".join(b"%d;" % number for number in range(len(replies)))
        stream, turn = b"".join(wire(reply) for reply in replies), 0
        while stream:
            size = sizes[turn % len(sizes)]
            connection.data_received(stream[:size])
            stream, turn = stream[size:], turn + 1
        wanted: list[Reply] = [
            reply.encode() if isinstance(reply, str) else Item(b"name", reply, b"42") for reply in replies
        ]
        assert await asyncio.gather(*asked) == wanted
        assert not connection.closed

    asyncio.run(drill())


def test_whoever_has_gone_leaves_its_reply_to_nobody() -> None:
    async def drill() -> None:
        connection, _ = connected()
        loop = asyncio.get_running_loop()
        gone = asyncio.create_task(connection.ask(b"a", loop.time() + 60))
        late = asyncio.create_task(connection.ask(b"b", loop.time() + 0.05))
        here = asyncio.create_task(connection.ask(b"c", loop.time() + 60))
        await asyncio.sleep(0)
        gone.cancel()
        connection.data_received(wire("EXISTS"))
        await asyncio.wait([late])
        connection.data_received(wire("NOT_FOUND"))
        connection.data_received(wire("STORED"))
        assert await here == b"STORED"
        with pytest.raises(asyncio.CancelledError):
            await gone
        with pytest.raises(SilentError):
            await late

    asyncio.run(drill())


def test_a_server_that_answers_others_is_slow_and_one_that_answers_nobody_is_away() -> None:
    async def drill() -> None:
        loop = asyncio.get_running_loop()
        connection, sink = connected()
        slow = asyncio.create_task(connection.ask(b"a", loop.time() + 60))
        second = asyncio.create_task(connection.ask(b"b", loop.time() + 0.05))
        await asyncio.sleep(0)
        connection.data_received(wire("STORED"))
        assert await slow == b"STORED"
        with pytest.raises(SilentError):
            await second
        assert not connection.closed
        connection.data_received(wire("STORED"))
        last = asyncio.create_task(connection.ask(b"c", loop.time() + 60))
        with pytest.raises(SilentError):
            await connection.ask(b"d", loop.time() + 0.05)
        assert connection.closed
        assert sink.aborted
        with pytest.raises(LostError):
            await last

    asyncio.run(drill())


def test_a_server_that_does_not_read_is_not_written_to_without_end() -> None:
    async def drill() -> None:
        loop = asyncio.get_running_loop()
        connection, sink = connected()
        connection.pause_writing()
        with pytest.raises(SilentError):
            await connection.ask(b"a", loop.time() + 0.02)
        assert connection.closed
        assert sink.written == b""
        connection, sink = connected()
        connection.pause_writing()
        asked = asyncio.create_task(connection.ask(b"a", loop.time() + 60))
        await asyncio.sleep(0)
        connection.resume_writing()
        # Woken, then asked, then sent.
        for _ in range(5):
            await asyncio.sleep(0)
        assert sink.written == b"a"
        connection.data_received(wire("STORED"))
        assert cast(bytes, await asked) == b"STORED"

    asyncio.run(drill())
