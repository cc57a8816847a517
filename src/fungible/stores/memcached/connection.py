"""One connection to one server, shared by all callers of an event loop.

Requests are sent in the order in which they are made, those of one round of the event loop together, and the server
answers in that order. A caller that is cancelled, or whose time is over, leaves its place in the queue: its reply is
read and dropped when it comes.

aiomcache (0.8.2) is not used. When a call is cancelled it gives the connection back with the reply still to come, so that
the next caller reads it (its issue 489); when the server goes away in the middle of a line it reads the end of the stream
over and over, and the event loop stands still; it has no deadlines, and takes a connection for each call under way.

Source: the text protocol, doc/protocol.txt of Memcached.
"""

import asyncio
from collections import deque
from functools import partial
from typing import Final, NamedTuple, cast

from fungible.core.forks import let_go, tell_children

VALUE: Final = b"VALUE "
END: Final = b"END"
LONGEST_LINE: Final = 2048
ANSWERS: Final = frozenset({b"STORED", b"NOT_STORED", b"EXISTS", b"NOT_FOUND", END})
LINES: Final = (b"SERVER_ERROR", b"VERSION")
TOO_LARGE: Final = b"SERVER_ERROR object too large for cache"


class LostError(Exception):
    """The connection has ended before the reply came: whether the request was carried out is not known."""


class SilentError(Exception):
    """No reply came in time."""


class Item(NamedTuple):
    """What the server has under a name."""

    name: bytes
    value: bytes
    token: bytes
    """What `cas` compares: different after each write."""


Reply = Item | bytes
Waiter = asyncio.Future[Reply]


class Connection(asyncio.Protocol):
    """Sends requests and gives each its reply."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[Waiter] = deque()
        self._outgoing: list[bytes] = []
        self._received = bytearray()
        self._heard_at = 0.0
        self._writable = asyncio.Event()
        self._writable.set()
        self.closed = False
        self._forked = False
        tell_children(self)

    async def ask(self, request: bytes, deadline: float) -> Reply:
        """The reply to a request: the item that was asked for, or a line.

        Args:
            deadline: By the event loop's clock.
        Raises:
            SilentError: it did not come by then.
            LostError: the connection has ended.
        """
        if not self._writable.is_set():
            await self._until_writable(deadline)
        if self.closed:
            raise LostError("the connection is closed")
        waiter: Waiter = self._loop.create_future()
        self._waiting.append(waiter)
        if not self._outgoing:
            self._loop.call_soon(self._send)
        self._outgoing.append(request)
        asked_at = self._loop.time()
        timer = self._loop.call_at(deadline, _give_up, waiter)
        try:
            return await waiter
        except SilentError:
            # A server that has said nothing to anybody meanwhile will not answer those who wait behind this one either.
            if self._heard_at < asked_at:
                self.close("no reply in time")
            raise
        finally:
            timer.cancel()

    def close(self, reason: str) -> None:
        """Ends the connection at once; those who wait are told why."""
        if self.closed:
            return
        self.closed = True
        self._writable.set()
        if self._transport is not None:
            self._transport.abort()
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(LostError(reason))
        self._waiting.clear()
        self._outgoing.clear()

    def forked(self) -> None:
        """In the child of a fork: the socket is the parent's, also where it has not come into being yet."""
        self._forked = True
        if self._transport is not None:
            let_go(self._transport, self._loop, partial(self.close, "the process was forked"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        # Not an instance of it on uvloop, whose transports only look like one.
        self._transport = cast(asyncio.Transport, transport)
        if self._forked:
            self.forked()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self.close(f"the connection was lost: {exc}" if exc else "the server has closed the connection")

    def pause_writing(self) -> None:
        """Called by the event loop."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Called by the event loop."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        self._heard_at = self._loop.time()
        self._received += data
        start = 0
        while not self.closed and start < len(self._received):
            parsed = _parse(self._received, start)
            if parsed is None:
                break
            reply, start = parsed
            self._answer(reply)
        del self._received[:start]

    def _answer(self, reply: Reply) -> None:
        if isinstance(reply, bytes) and reply not in ANSWERS and not reply.startswith(LINES):
            # The server and we do not speak of the same thing any more: what it says next could be anybody's.
            self.close(f"not an answer of Memcached's: {reply[:80]!r}")
            return
        if not self._waiting:
            self.close("a reply to no request")
            return
        waiter = self._waiting.popleft()
        if not waiter.done():
            waiter.set_result(reply)

    def _send(self) -> None:
        requests, self._outgoing = self._outgoing, []
        if self._transport is not None and requests:
            self._transport.write(b"".join(requests))

    async def _until_writable(self, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await self._writable.wait()
        except TimeoutError:
            self.close("the server does not read")
            raise SilentError from None


def _give_up(waiter: Waiter) -> None:
    if not waiter.done():
        waiter.set_exception(SilentError())


def _parse(received: bytearray, start: int) -> tuple[Reply, int] | None:
    """The reply that starts there, and where the next one does; None if it is not all there yet."""
    end = received.find(b"\r\n", start, start + LONGEST_LINE)
    if end < 0:
        return None if len(received) - start < LONGEST_LINE else (b"a line without an end", len(received))
    line = bytes(received[start:end])
    if not line.startswith(VALUE):
        return line, end + 2
    words = line.split(b" ")
    if len(words) != 5 or not words[3].isdigit():
        return line, end + 2
    _, name, _, size, token = words
    value_at = end + 2
    value_end = value_at + int(size)
    # After the value come its own end of line, and a line that says that there are no more.
    if len(received) < value_end + 7:
        return None
    if not received.startswith(b"\r\nEND\r\n", value_end):
        return b"a value without an end", value_end
    return Item(name, bytes(received[value_at:value_end]), token), value_end + 7
