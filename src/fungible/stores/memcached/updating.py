"""Changing an item: read, decide, and write if nobody else has written meanwhile; else again."""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from fungible.stores.errors import RecordTooLargeError, StoreUnavailableError
from fungible.stores.loops import PerLoop
from fungible.stores.memcached.connection import TOO_LARGE, Item, LostError, Reply, SilentError
from fungible.stores.memcached.servers import Server, Servers, Settings
from fungible.stores.memcached.values import LONGEST_VALUE_BYTES

LONGEST_PAUSE_S: Final = 0.02


class Write(NamedTuple):
    """What to keep, and until when."""

    value: bytes
    exptime: int


Decide = Callable[[bytes | None], Write | None]
"""What to write, from what stands; None for nothing. It may raise, and is asked again when another was first."""


class Turns:
    """One task of an event loop at a time for each name: the others would only lose the race to it."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, deque[asyncio.Future[None]]] = {}

    def begin(self, name: bytes) -> bool:
        """Takes the turn, if nobody has it."""
        if name in self._waiting:
            return False
        self._waiting[name] = deque()
        return True

    async def wait(self, name: bytes) -> None:
        """Waits for the turn, and takes it."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[name].append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            # It may have come up in the very moment when its wait was ended.
            if turn.done() and not turn.cancelled():
                self.end(name)
            raise

    def end(self, name: bytes) -> None:
        """Passes the turn on."""
        queue = self._waiting[name]
        while queue:
            turn = queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._waiting[name]


class Here:
    """What one event loop has of a store."""

    def __init__(self, settings: Settings) -> None:
        self.servers = Servers(settings)
        self.turns = Turns()


class Items:
    """The items on the servers, within a deadline. The errors that leave it are ours."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loops = PerLoop(lambda: Here(settings))
        self._late = f"no answer within {settings.timeout_s:g} s"

    async def read(self, name: bytes) -> bytes | None:
        """The value under a name."""
        deadline = self._deadline()
        server = self._loops.here().servers.of(name)
        item = await self._get(server, name, deadline)
        return None if item is None else item.value

    async def update(self, key: str, name: bytes, decide: Decide) -> None:
        """Changes the value under a name.

        Raises:
            RecordTooLargeError: the server takes no item of this size.
        """
        deadline = self._deadline()
        here = self._loops.here()
        server = here.servers.of(name)
        if not here.turns.begin(name):
            try:
                async with asyncio.timeout_at(deadline):
                    await here.turns.wait(name)
            except TimeoutError:
                raise server.unavailable(f"{self._late}: others are writing the same") from None
        try:
            await self._update(server, key, name, decide, deadline)
        finally:
            here.turns.end(name)

    async def ping(self) -> None:
        """Raises an error unless all servers answer."""
        deadline = self._deadline()
        servers = self._loops.here().servers.all
        replies = await asyncio.gather(*(self._ask(server, b"version\r\n", deadline, tries=2) for server in servers))
        for server, reply in zip(servers, replies, strict=True):
            if not isinstance(reply, bytes) or not reply.startswith(b"VERSION"):
                raise server.unavailable(f"not an answer of Memcached's: {reply!r}")

    async def aclose(self) -> None:
        """Closes the connections of this event loop."""
        here = self._loops.taken_out()
        if here is not None:
            await here.servers.aclose()

    async def _update(self, server: Server, key: str, name: bytes, decide: Decide, deadline: float) -> None:
        pause_s = 0.0005
        while True:
            item = await self._get(server, name, deadline)
            write = decide(None if item is None else item.value)
            if write is None:
                return
            if len(write.value) > LONGEST_VALUE_BYTES:
                raise RecordTooLargeError(key=key, size_bytes=len(write.value), max_bytes=LONGEST_VALUE_BYTES)
            reply = await self._ask(server, _writing(name, item, write), deadline)
            if reply == b"STORED":
                return
            if reply not in (b"EXISTS", b"NOT_FOUND", b"NOT_STORED"):
                raise self._refused(server, key, write, reply)
            # Another instance was first. Not at the same time again.
            await asyncio.sleep(random.uniform(0, pause_s))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _get(self, server: Server, name: bytes, deadline: float) -> Item | None:
        reply = await self._ask(server, b"gets %b\r\n" % name, deadline, tries=2)
        if isinstance(reply, Item):
            if reply.name == name:
                return reply
            (await server.connection(deadline)).close("a reply to another request")
        elif reply == b"END":
            return None
        raise server.unavailable(f"an answer to another question: {reply[0]!r}")

    async def _ask(self, server: Server, request: bytes, deadline: float, *, tries: int = 1) -> Reply:
        """The reply to a request; `tries` is 2 for one that changes nothing, and may be sent again."""
        while True:
            tries -= 1
            try:
                return await (await server.connection(deadline)).ask(request, deadline)
            except LostError as error:
                if not tries:
                    raise server.unavailable(str(error)) from None
            except (SilentError, TimeoutError):
                raise server.unavailable(self._late) from None

    def _refused(
        self, server: Server, key: str, write: Write, reply: Reply
    ) -> RecordTooLargeError | StoreUnavailableError:
        if reply != TOO_LARGE:
            return server.unavailable(f"it refused to store: {reply!r}")
        error = RecordTooLargeError(key=key, size_bytes=len(write.value), max_bytes=len(write.value) - 1)
        error.add_note("The server takes even less: its largest item is set by its option -I.")
        return error

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._settings.timeout_s


def _writing(name: bytes, item: Item | None, write: Write) -> bytes:
    if item is None:
        return b"add %b 0 %d %d\r\n%b\r\n" % (name, write.exptime, len(write.value), write.value)
    return b"cas %b 0 %d %d %b\r\n%b\r\n" % (name, write.exptime, len(write.value), item.token, write.value)
