"""One connection to one server. Commands go out as they come; the order of the replies says whose they are."""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, Final, TypeAlias, cast

import hiredis

from fungible.core.forks import let_go, tell_children
from fungible.stores.errors import StoreUnavailableError

Word: TypeAlias = str | bytes | int
Command: TypeAlias = tuple[Word, ...]
# By the protocol: bytes, int, None, a list of replies, or a `hiredis.ReplyError`, which is a value and not raised.
Reply: TypeAlias = Any

pack = cast(Callable[[Command], bytes], hiredis.pack_command)  # pyright: ignore[reportUnknownMemberType]
"""The bytes that say a command."""

GRACE_S: Final = 0.05
"""Once a deadline has passed, the event loop gets this long to read what has arrived: it may have been held up."""
NOT_YET: Final = object()


class UnsentError(StoreUnavailableError):
    """The server could not be reached and has seen nothing of the command: it may be sent elsewhere."""


class Connection(asyncio.Protocol):
    """A socket, the futures that wait for its replies, and one timer, for the oldest of them.

    A caller that is cancelled leaves its future behind: the reply is taken off the stream and dropped. Silence past the
    oldest deadline ends the connection, for nothing behind that reply can arrive either.
    """

    def __init__(self, *, home: str, timeout_s: float) -> None:
        self.usable = False
        """Whether `send` may be called: the server has let us in, and takes what we write."""
        self.lost: str | None = None
        """Why it has ended."""
        self.made_at = monotonic()
        self._home = home
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._finishing: str | None = None
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._drained: asyncio.Future[None] | None = None
        self._pending: deque[tuple[float, asyncio.Future[Reply]]] = deque()
        self._unsent: list[bytes] = []
        self._reader = hiredis.Reader(notEnoughData=NOT_YET)
        self._timer: asyncio.TimerHandle | None = None
        self._overdue_at: float | None = None
        """When the oldest was first seen to be too late."""
        self._heard = False
        """Whether anything has arrived since."""
        self._transport: asyncio.Transport
        self._forked = False
        tell_children(self)

    def send(self, command: bytes, deadline: float) -> asyncio.Future[Reply]:
        """Sends a packed command.

        Args:
            deadline: By `time.monotonic`; about `timeout_s` ahead, for silence past it ends the connection.
        Returns:
            Its reply, or `StoreUnavailableError` if the connection ends before: the command may have been carried out.
        """
        future = self._loop.create_future()
        # Alone, a command is written at once. While replies are out there will be more to write in this turn of the
        # event loop, and one system call for all of them costs as much as for one.
        if not self._pending:
            self._transport.write(command)
        else:
            if not self._unsent:
                self._loop.call_soon(self._flush)
            self._unsent.append(command)
        self._pending.append((deadline, future))
        if self._timer is None:
            self._timer = self._loop.call_later(deadline - monotonic(), self._look_at_oldest)
        return future

    async def until_usable(self) -> None:
        """Waits while the server reads more slowly than we write; returns, too, when that will never be over."""
        while not self.usable and self.lost is None and self._finishing is None:
            if self._drained is None:
                self._drained = self._loop.create_future()
            await asyncio.shield(self._drained)

    def finish(self, reason: str) -> None:
        """Ends it as soon as nobody waits for a reply any more."""
        self.usable = False
        self._finishing = reason
        self._wake()
        if not self._pending:
            self.end(reason)

    def end(self, reason: str) -> None:
        """Ends it now: all who wait get `StoreUnavailableError`."""
        if self.lost is not None:
            return
        self.lost = reason
        self.usable = False
        if self._timer is not None:
            self._timer.cancel()
        self._wake()
        self._transport.abort()
        self._unsent.clear()
        while self._pending:
            _, future = self._pending.popleft()
            if not future.done():
                future.set_exception(StoreUnavailableError(home=self._home, reason=reason))

    async def aclose(self) -> None:
        """Ends it, and waits until the socket is closed."""
        self.end("the store was closed")
        await asyncio.shield(self._gone)

    def forked(self) -> None:
        """In the child of a fork: the socket is the parent's, also where it has not come into being yet."""
        self._forked = True
        if hasattr(self, "_transport"):
            let_go(self._transport, self._loop, partial(self.end, "the process was forked"))

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """There is a socket."""
        self._transport = cast(asyncio.Transport, transport)
        if self._forked:
            self.forked()

    def data_received(self, data: bytes) -> None:
        """Hands out the replies that have become complete."""
        gets, pending = self._reader.gets, self._pending
        self._heard = True
        try:
            self._reader.feed(data)
            while (reply := gets()) is not NOT_YET:
                _, future = pending.popleft()
                if not future.done():
                    future.set_result(reply)
        except hiredis.ProtocolError as error:
            self.end(f"it does not speak Redis' protocol: {error}")
        except IndexError:
            # Handing anything on after a reply that nobody asked for could give a caller another's.
            self.end("it sent a reply that no command was waiting for")
        if self._finishing is not None and not pending:
            self.end(self._finishing)

    def eof_received(self) -> None:
        """The server says no more: what is written from now on would be lost."""
        self.usable = False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self.end("it closed the connection" if exc is None else f"the connection broke: {exc}")
        if not self._gone.done():
            self._gone.set_result(None)

    def pause_writing(self) -> None:
        """Too much is waiting to be sent."""
        self.usable = False

    def resume_writing(self) -> None:
        """Enough has gone out."""
        self.usable = not self._transport.is_closing() and self._finishing is None
        self._wake()

    def _flush(self) -> None:
        if self._unsent:
            self._transport.write(b"".join(self._unsent))
            self._unsent.clear()

    def _wake(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def _look_at_oldest(self) -> None:
        self._timer = None
        now = monotonic()
        if not self._pending or self._pending[0][0] > now:
            self._overdue_at = None
        elif self._overdue_at is None or self._heard:
            # The server is there, but slow: callers are given up, one by one, and their replies will be dropped.
            self._give_up(self._overdue_at)
            self._overdue_at, self._heard = now, False
        else:
            self.end(f"no reply within {self._timeout_s:g} s")
            return
        if self._pending:
            wait_s = max(GRACE_S, self._pending[0][0] - now)
            self._timer = self._loop.call_later(wait_s, self._look_at_oldest)

    def _give_up(self, overdue_at: float | None) -> None:
        for deadline, future in self._pending:
            if overdue_at is None or deadline > overdue_at:
                return
            if not future.done():
                reason = f"no reply within {self._timeout_s:g} s"
                future.set_exception(StoreUnavailableError(home=self._home, reason=reason))
